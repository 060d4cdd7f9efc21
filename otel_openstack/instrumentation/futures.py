# SPDX-License-Identifier: Apache-2.0
"""concurrent.futures: the context travels with each submitted item; thread pools are measured, timeouts counted."""

from __future__ import annotations

import functools
import sys
from typing import Any

from otel_openstack.instrumentation import futures_pools
from otel_openstack.instrumentation.futures_items import item_for
from otel_openstack.instrumentation.futures_pools import THREAD, Entry, Reading
from otel_openstack.patching import Patch

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

MARK = "_otel_openstack_pool"
"""Attribute of a future that says which pool it comes from."""
_FINISHED = ("CANCELLED", "CANCELLED_AND_NOTIFIED", "FINISHED")


class Pooled:
    """Registers a thread pool when it is made."""

    def before(self, pool: Any, *args: Any, **kwargs: Any) -> Any:
        return pool

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None:
            futures_pools.register(state, THREAD, read)


def read(pool: Any, entry: Entry) -> Reading | None:
    """Read a thread pool. Its own count of idle workers is too high with a backlog, so running items are counted."""
    used = len(entry.running)
    if pool._shutdown:  # the queue's last item then is the sign to end
        return Reading(used, pool._max_workers, max(0, pool._work_queue.qsize() - 1)) if used else None
    return Reading(used, pool._max_workers, pool._work_queue.qsize())


def submitted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Put the item's carrier before the function that is submitted."""
    pool = args[0]
    interpreters: Any = sys.modules.get("concurrent.futures.interpreter")
    if interpreters is not None and isinstance(pool, interpreters.InterpreterPoolExecutor):
        return args, kwargs  # its items are pickled for another interpreter
    entry = futures_pools.entry_of(pool) or futures_pools.register(pool, THREAD, read)
    return carried(entry, args, kwargs)


def carried(entry: Entry | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Return the arguments of `submit(pool, function, ...)` with the carrier as the function."""
    if len(args) > 1:
        return (args[0], item_for(entry, args[1]), *args[1:]), kwargs
    if "fn" in kwargs:
        function = kwargs["fn"]
        return args, {**kwargs, "fn": functools.partial(item_for(entry, function), function)}
    return args, kwargs


class Marked:
    """Tells a future its pool, so that a timeout of a wait on it can be counted there."""

    def before(self, pool: Any, *args: Any, **kwargs: Any) -> Entry | None:
        return futures_pools.entry_of(pool)

    def finish(self, state: Entry, result: Any, error: BaseException | None) -> None:
        if error is None:
            setattr(result, MARK, state)


class AwaitedOne:
    """`future.result(timeout)` and `future.exception(timeout)`."""

    def before(self, future: Any, timeout: float | None = None) -> Any:
        return future if timeout is not None and hasattr(future, MARK) else None

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        # An error of the same class can be the item's own result.
        if type(error).__name__ == "TimeoutError" and state._state not in _FINISHED:
            futures_pools.timed_out(getattr(state, MARK))


class AwaitedMany:
    """`wait(futures, timeout, return_when)`: one timeout for each pool that did not deliver in time."""

    def before(self, fs: Any, timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        return return_when if timeout is not None else None

    def finish(self, state: str, result: Any, error: BaseException | None) -> None:
        if error is not None or not result.not_done:
            return
        if state == "ALL_COMPLETED" or not result.done:
            count_pools(result.not_done)


def count_pools(futures: Any) -> None:
    """Count one timeout for each pool that one of `futures` belongs to."""
    pools = {id(entry): entry for entry in (getattr(future, MARK, None) for future in futures) if entry is not None}
    for entry in pools.values():
        futures_pools.timed_out(entry)


_THREAD = "concurrent.futures.thread"
_BASE = "concurrent.futures._base"


def _patch(name: str, module: str, attribute: str, group: str = "pool", **how: Any) -> Patch:
    return Patch(f"concurrent.futures.{name}", module=module, attribute=attribute, group=group, **how)


PATCHES: tuple[Patch, ...] = (
    _patch("pool", _THREAD, "ThreadPoolExecutor.__init__", hook=Pooled, always=True),
    _patch("submit", _THREAD, "ThreadPoolExecutor.submit", rewrite=submitted, group="threads"),
    _patch("mark", _THREAD, "ThreadPoolExecutor.submit", hook=Marked),
    _patch("result", _BASE, "Future.result", hook=AwaitedOne),
    _patch("exception", _BASE, "Future.exception", hook=AwaitedOne),
    _patch("wait", "concurrent.futures", "wait", hook=AwaitedMany),
)
