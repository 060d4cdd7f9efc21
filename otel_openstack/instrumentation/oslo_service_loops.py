# SPDX-License-Identifier: Apache-2.0
"""Looping calls and timers of oslo.service, on both backends: each turn is a root span `loop {function}`.

Heartbeats, report_state and neutron's periodic workers are such loops. A turn that did nothing that is traced (no
database, RPC, HTTP or cache call, no child span) leaves no span: most turns of most timers. A loop that a request
started and that is still at work for it (a driver that polls until an instance runs, a retry decorator) belongs to
that request: its turns get no root of their own as long as the request is open.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_openstack import tracing
from otel_openstack.instrumentation import background
from otel_openstack.instrumentation.background import Turn, function_name
from otel_openstack.patching import Guard, Patch, guard
from otel_openstack.tracing.totals import Totals

RUN = "oslo_service.looping_call"

# On a looping call: for whom it was started.
STARTER = "_otel_openstack_starter"


class Starter(NamedTuple):
    """The request that started a loop."""

    captured: tracing.Captured
    totals: Totals

    def waits(self) -> bool:
        """Return whether that request is still open."""
        return self.totals.alive() is not None


class Start:
    """Notes the request that starts a loop: its thread is the library's and carries no context."""

    def before(self, loop: Any, *_args: Any, **_kwargs: Any) -> None:
        totals, captured = background.request(), tracing.capture()
        setattr(loop, STARTER, Starter(captured, totals) if totals is not None and captured is not None else None)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Nothing: `before` has done it."""


def _turn(function: Callable[..., Any], starter: Starter | None, watch: Guard) -> Callable[..., Any]:
    name = function_name(function)

    @functools.wraps(function)
    def turn(*args: Any, **kwargs: Any) -> Any:
        if starter is not None and starter.waits():
            with starter.captured:
                return function(*args, **kwargs)
        opened = None
        with watch:
            if watch.on:
                opened = Turn("loop", name)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            with watch:
                if opened is not None:
                    opened.finish_unless_idle(None if _done(error) else error)
            raise
        with watch:
            if opened is not None:
                opened.finish_unless_idle()
        return result

    return turn


def _done(error: BaseException) -> bool:
    from oslo_service.backend._common import loopingcall

    return isinstance(error, loopingcall.LoopingCallDone)


def replace_run_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `_run_loop`, which reads the looped function once, at its start, from `self.f`."""
    watch = guard(RUN)

    @functools.wraps(original)
    def _run_loop(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = self.f
        with watch:
            self.f = _turn(function, getattr(self, STARTER, None), watch)
        try:
            return original(self, *args, **kwargs)
        finally:
            self.f = function

    return _run_loop


_COMMON = "oslo_service.backend._common.loopingcall"

PATCHES: tuple[Patch, ...] = (
    Patch(f"{RUN}.start", _COMMON, "LoopingCallBase._start", group="periodic", hook=Start),
    Patch(RUN, _COMMON, "LoopingCallBase._run_loop", group="periodic", replace=replace_run_loop),
    # The threading backend has its own loop, which does not call the common one.
    Patch(
        f"{RUN}.threading",
        "oslo_service.backend._threading.loopingcall",
        "LoopingCallBase._run_loop",
        group="periodic",
        replace=replace_run_loop,
    ),
)
