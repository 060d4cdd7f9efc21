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
from otel_openstack.patching import Guard, Patch, finished, guard
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


def _replace_start(original: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    """Wrap `_start`, to note the request that starts a loop: its thread is the library's and carries no context."""

    @functools.wraps(original)
    def _start(*args: Any, **kwargs: Any) -> Any:
        if watch.on:
            with watch:
                totals, captured = background.request(), tracing.capture()
                starter = Starter(captured, totals) if totals is not None and captured is not None else None
                setattr(args[0], STARTER, starter)
        return original(*args, **kwargs)

    return _start


def _turn(function: Callable[..., Any], starter: Starter | None, watch: Guard) -> Callable[..., Any]:
    name = function_name(function)

    @functools.wraps(function)
    def turn(*args: Any, **kwargs: Any) -> Any:
        opened: Turn | _Carried | None = None
        if watch.on:
            with watch:
                waits = starter is not None and starter.waits()
                opened = _Carried(starter.captured) if starter is not None and waits else Turn("loop", name)
        if opened is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            finished(watch, opened, _raised, opened, error)
            raise
        finished(watch, opened, opened.finish_unless_idle)
        return result

    return turn


class _Carried:
    """A turn that is work for the request that started the loop."""

    def __init__(self, captured: tracing.Captured) -> None:
        self._captured: tracing.Captured | None = captured
        captured.__enter__()

    def finish_unless_idle(self, error: BaseException | None = None) -> None:
        self.let_go()

    def let_go(self) -> None:
        captured, self._captured = self._captured, None
        if captured is not None:
            captured.__exit__(None, None, None)


def _raised(opened: Turn | _Carried, error: BaseException) -> None:
    # By name: where the class stands differs between releases.
    done = any(kind.__name__ == "LoopingCallDone" for kind in type(error).__mro__)
    opened.finish_unless_idle(None if done else error)


def _replace_run_loop(original: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    """Wrap `_run_loop`, which reads the looped function once, at its start, from `self.f`."""

    @functools.wraps(original)
    def _run_loop(*args: Any, **kwargs: Any) -> Any:
        function: Any = None
        if watch.applies():  # a loop may run as long as the process
            with watch:
                loop = args[0]
                looped = loop.f
                loop.f, function = _turn(looped, getattr(loop, STARTER, None), watch), looped
        if function is None:
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            loop.f = function

    return _run_loop


Make = Callable[[Callable[..., Any], Guard], Callable[..., Any]]


def _patch(name: str, module: str, method: str, make: Make) -> Patch:
    watch = guard(name)

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        # In this module the class is defined before 4.2 only, when there were no backends.
        moved = module == _BEFORE_BACKENDS and original.__module__ != _BEFORE_BACKENDS
        return original if moved else make(original, watch)

    return Patch(name, module, f"LoopingCallBase.{method}", group="periodic", replace=replace)


_COMMON = "oslo_service.backend._common.loopingcall"
_THREADING = "oslo_service.backend._threading.loopingcall"  # has its own loop, which does not call the common one
_BEFORE_BACKENDS = "oslo_service.loopingcall"

PATCHES: tuple[Patch, ...] = (
    _patch(f"{RUN}.start", _COMMON, "_start", _replace_start),
    _patch(RUN, _COMMON, "_run_loop", _replace_run_loop),
    _patch(f"{RUN}.threading", _THREADING, "_run_loop", _replace_run_loop),
    _patch(f"{RUN}.start.before_4.2", _BEFORE_BACKENDS, "_start", _replace_start),
    _patch(f"{RUN}.before_4.2", _BEFORE_BACKENDS, "_run_loop", _replace_run_loop),
)
