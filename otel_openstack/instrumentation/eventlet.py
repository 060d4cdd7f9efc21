# SPDX-License-Identifier: Apache-2.0
"""eventlet: context follows work into green threads and tpool; green pools are measured, timeouts counted.

All patches wait for the package itself, not for its submodules: at that time its names `spawn` and so on are still the
submodules' functions, so each place gets its own wrapper and gets its own original back.
"""

from __future__ import annotations

import functools
from time import perf_counter
from typing import Any

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import futures_pools
from otel_openstack.instrumentation.futures_items import ran
from otel_openstack.instrumentation.futures_pools import GREEN, Entry, Reading
from otel_openstack.instrumentation.threads_infrastructure import serves
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, guarded
from otel_openstack.semconv import instruments

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def carry(args: tuple[Any, ...], kwargs: dict[str, Any], position: int) -> Arguments:
    """Let the function that stands at `position` of `args` run in the context of the caller."""
    if len(args) <= position or serves(args[position]):
        return args, kwargs
    captured = tracing.capture()
    if captured is None:
        return args, kwargs
    return (*args[:position], captured.run, *args[position:]), kwargs


def first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """For `f(function, ...)`."""
    return carry(args, kwargs, 0)


def second(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """For `f(seconds, function, ...)` and methods."""
    return carry(args, kwargs, 1)


def mapped(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """For `starmap(pool, function, iterable)`: the function runs many times, from a green thread of eventlet's own."""
    captured = tracing.capture()
    if captured is None or len(args) < len(("pool", "function", "iterable")) or args[1] is None:
        return args, kwargs
    return (args[0], functools.partial(captured.run, args[1]), *args[2:]), kwargs


def read(pool: Any, _entry: Entry) -> Reading | None:
    """Read a green pool."""
    return Reading(pool.running(), pool.size, pool.waiting())


class Pooled:
    """Registers a green pool when it is made; that inside a futurist executor is measured as the executor."""

    def before(self, pool: Any, *args: Any, **kwargs: Any) -> Any:
        return pool

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None and not futures_pools.made_by("futurist"):
            futures_pools.register(state, GREEN, read)


class TimedOut:
    """Counts a service's `Timeout` when it fires, by the pool whose green thread it hits.

    Those that eventlet makes inside its locks, queues and events are how idle workers wait: they are not counted.
    """

    def before(self, timeout: Any) -> Any:
        return None if futures_pools.made_by("eventlet", "eventlet.timeout") else timeout

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        timer = state.timer
        if error is None and timer is not None:
            throw, args, kwargs = timer.tpl
            timer.tpl = functools.partial(_fire, throw), args, kwargs


def _fire(throw: Any, *args: Any) -> None:
    _count_timeout(throw)
    throw(*args)


@guarded("eventlet.timeout")
def _count_timeout(throw: Any) -> None:
    hit = throw.__self__
    for entry in futures_pools.entries():
        pool = entry.ref()
        green = getattr(pool, "_pool", pool)
        if hit in getattr(green, "coroutines_running", ()):
            futures_pools.timed_out(entry)
            return
    metrics.counter(instruments.OPENSTACK_POOL_TIMEOUTS).add(1, GREEN, "eventlet")  # in no pool


def carried_work(function: Any, args: tuple[Any, ...]) -> Any:
    """Return the function that is meant: the first argument where a carrier of the context stands before it."""
    return args[0] if args and getattr(function, "__func__", None) is tracing.Captured.run else function


class FunctionTime:
    """The time of what a green thread runs, its waits included."""

    def __init__(self, position: int) -> None:
        self._position = position

    def before(self, *args: Any, **kwargs: Any) -> Any:
        function = carried_work(args[self._position], args[self._position + 1])
        return None if serves(function) else (perf_counter(), function)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        started, function = state
        ran(GREEN, False, function, perf_counter() - started)


def timed_natively(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Let tpool's thread measure the function that it runs; the wait for a thread is not part of it."""
    return (_native, *args), kwargs


def _native(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    started = perf_counter()
    try:
        return function(*args, **kwargs)
    finally:
        _ran_natively(carried_work(function, args), perf_counter() - started)


@guarded("eventlet.tpool.function")
def _ran_natively(function: Any, seconds: float) -> None:
    ran("eventlet", True, function, seconds)


def _carried(attribute: str, rewrite: Any) -> Patch:
    return Patch(f"eventlet.{attribute}", module="eventlet", attribute=attribute, group="threads", rewrite=rewrite)


PATCHES: tuple[Patch, ...] = (
    _carried("spawn", first),
    _carried("spawn_n", first),
    _carried("spawn_after", second),
    _carried("greenthread.spawn", first),
    _carried("greenthread.spawn_n", first),
    _carried("greenthread.spawn_after", second),
    _carried("greenthread.spawn_after_local", second),
    _carried("greenpool.GreenPool.spawn_n", second),
    _carried("greenpool.GreenPool.starmap", mapped),
    Patch(
        "eventlet.tpool.function",
        module="eventlet.tpool",
        attribute="execute",
        level=Level.DEEP,
        group="event_loop",
        rewrite=timed_natively,
    ),
    Patch("eventlet.tpool.execute", module="eventlet.tpool", attribute="execute", group="threads", rewrite=first),
    Patch(
        "eventlet.pool",
        module="eventlet",
        attribute="greenpool.GreenPool.__init__",
        group="pool",
        hook=Pooled,
        always=True,
    ),
    Patch("eventlet.timeout", module="eventlet", attribute="timeout.Timeout.start", group="pool", hook=TimedOut),
    Patch(
        "eventlet.function",
        module="eventlet",
        attribute="greenthread.GreenThread.main",
        level=Level.DEEP,
        group="event_loop",
        hook=FunctionTime(1),
    ),
    Patch(
        "eventlet.pool.function",
        module="eventlet",
        attribute="greenpool.GreenPool._spawn_n_impl",
        level=Level.DEEP,
        group="event_loop",
        hook=FunctionTime(1),
    ),
)
