# SPDX-License-Identifier: Apache-2.0
"""futurist: the context travels with each submitted item; thread and green executors are measured.

nova submits through `spawn_on`, which ends in `submit`. Its delaying executor takes an item in one thread and submits
it in another, so there the context is taken along at the first step.
"""

from __future__ import annotations

from typing import Any

from otel_openstack import tracing
from otel_openstack.instrumentation import futures_pools
from otel_openstack.instrumentation.futures import Arguments, Marked, carried, count_pools
from otel_openstack.instrumentation.futures_pools import GREEN, THREAD, Entry, Reading
from otel_openstack.patching import Patch


def read_threads(pool: Any, entry: Entry) -> Reading | None:
    """Read a thread pool by its workers' own flags; `get_num_idle_workers` would take the shutdown's lock."""
    workers = list(pool._workers)
    used = sum(not worker.idle for worker in workers)
    if pool._shutdown and not entry.running:
        return None
    return Reading(used, pool._max_workers, len(pool._work_queue.queue))


def read_green(pool: Any, _entry: Entry) -> Reading | None:
    """Read a green executor: the green pool inside, and what is put off until one of its workers is free."""
    green = pool._pool
    if pool._shutdown and not green.running():
        return None
    return Reading(green.running(), pool._max_workers, len(pool._delayed_work.queue) + green.waiting())


class Pooled:
    """Registers an executor when it is made."""

    def __init__(self, kind: str, read: Any) -> None:
        self._kind = kind
        self._read = read

    def before(self, pool: Any, *args: Any, **kwargs: Any) -> Any:
        return pool

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None:
            futures_pools.register(state, self._kind, self._read)


def submitted_to_threads(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Put the item's carrier before the function that is submitted to a thread pool."""
    entry = futures_pools.entry_of(args[0]) or futures_pools.register(args[0], THREAD, read_threads)
    return carried(entry, args, kwargs)


def submitted_to_green(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Put the item's carrier before the function that is submitted to a green executor."""
    return carried(futures_pools.entry_of(args[0]), args, kwargs)


def delayed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Bind the function of `submit_with_delay(self, fn, ...)` to the context of its caller."""
    captured = tracing.capture()
    if captured is None or len(args) < len(("self", "fn")):
        return args, kwargs
    return (args[0], captured.run, *args[1:]), kwargs


class AwaitedGreen:
    """futurist's own wait for green futures; for others it calls `concurrent.futures.wait`."""

    def __init__(self, every: bool) -> None:
        self._every = every

    def before(self, fs: Any, timeout: float | None = None) -> Any:
        return True if timeout is not None else None

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None and result.not_done and (self._every or not result.done):
            count_pools(result.not_done)


_FUTURES = "futurist._futures"
_WAITERS = "futurist.waiters"
_DELAYING = "StaticallyDelayingCancellableTaskExecutorWrapper.submit_with_delay"


def _patch(name: str, module: str, attribute: str, group: str = "pool", **how: Any) -> Patch:
    return Patch(f"futurist.{name}", module=module, attribute=attribute, group=group, **how)


PATCHES: tuple[Patch, ...] = (
    _patch("pool", _FUTURES, "ThreadPoolExecutor.__init__", hook=Pooled(THREAD, read_threads), always=True),
    _patch("submit", _FUTURES, "ThreadPoolExecutor.submit", rewrite=submitted_to_threads, group="threads"),
    _patch("mark", _FUTURES, "ThreadPoolExecutor.submit", hook=Marked),
    _patch("green.pool", _FUTURES, "GreenThreadPoolExecutor.__init__", hook=Pooled(GREEN, read_green), always=True),
    _patch("green.submit", _FUTURES, "GreenThreadPoolExecutor.submit", rewrite=submitted_to_green, group="threads"),
    _patch("green.mark", _FUTURES, "GreenThreadPoolExecutor.submit", hook=Marked),
    _patch("wait.all", _WAITERS, "_wait_for_all_green", hook=AwaitedGreen(every=True)),
    _patch("wait.any", _WAITERS, "_wait_for_any_green", hook=AwaitedGreen(every=False)),
    Patch(
        "nova.submit_with_delay",
        module="nova.thread_pool_factory",
        attribute=_DELAYING,
        group="threads",
        rewrite=delayed,
    ),
)
