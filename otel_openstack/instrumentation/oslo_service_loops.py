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
from typing import Any

from otel_openstack.instrumentation.background import Turn, function_name, in_request
from otel_openstack.patching import Guard, Patch, guard

RUN = "oslo_service.looping_call"


def _turn(function: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    name = function_name(function)

    @functools.wraps(function)
    def turn(*args: Any, **kwargs: Any) -> Any:
        opened = None
        with watch:
            if watch.on and not in_request():
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
            self.f = _turn(function, watch)
        try:
            return original(self, *args, **kwargs)
        finally:
            self.f = function

    return _run_loop


PATCHES: tuple[Patch, ...] = (
    Patch(
        RUN,
        "oslo_service.backend._common.loopingcall",
        "LoopingCallBase._run_loop",
        group="periodic",
        replace=replace_run_loop,
    ),
    # The threading backend has its own loop, which does not call the common one.
    Patch(
        f"{RUN}.threading",
        "oslo_service.backend._threading.loopingcall",
        "LoopingCallBase._run_loop",
        group="periodic",
        replace=replace_run_loop,
    ),
)
