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
from otel_openstack.patching.patch import Replace
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


def replace_start(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `_start`, to note the request that starts a loop: its thread is the library's and carries no context."""
    watch = guard(f"{RUN}.start")

    @functools.wraps(original)
    def _start(self: Any, *args: Any, **kwargs: Any) -> Any:
        with watch:
            totals, captured = background.request(), tracing.capture()
            starter = Starter(captured, totals) if totals is not None and captured is not None else None
            setattr(self, STARTER, starter)
        return original(self, *args, **kwargs)

    return _start


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
    # By name: where the class stands differs between releases.
    return any(kind.__name__ == "LoopingCallDone" for kind in type(error).__mro__)


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


def before_backends(replace: Replace) -> Replace:
    """Apply `replace` where the class is defined in `oslo_service.loopingcall` itself: before 4.2, without backends."""
    return lambda original: replace(original) if original.__module__ == _BEFORE_BACKENDS else original


_COMMON = "oslo_service.backend._common.loopingcall"
_THREADING = "oslo_service.backend._threading.loopingcall"  # has its own loop, which does not call the common one
_BEFORE_BACKENDS = "oslo_service.loopingcall"

PLACES: tuple[tuple[str, str, str, Replace], ...] = (
    (f"{RUN}.start", _COMMON, "_start", replace_start),
    (RUN, _COMMON, "_run_loop", replace_run_loop),
    (f"{RUN}.threading", _THREADING, "_run_loop", replace_run_loop),
    (f"{RUN}.start.before_4.2", _BEFORE_BACKENDS, "_start", before_backends(replace_start)),
    (f"{RUN}.before_4.2", _BEFORE_BACKENDS, "_run_loop", before_backends(replace_run_loop)),
)

PATCHES: tuple[Patch, ...] = tuple(
    Patch(name, module, f"LoopingCallBase.{method}", group="periodic", replace=replace)
    for name, module, method, replace in PLACES
)
