# SPDX-License-Identifier: Apache-2.0
"""The connection pools of oslo.messaging: used, idle, limit, callers that wait.

Read at collection, in the export thread, without the pool's lock (in a green process that is a green lock): each value
is one read of an int or a len(). Only connections that send are pooled; those that listen are outside.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

from otel_openstack import metrics
from otel_openstack.instrumentation import oslo_messaging_names as names
from otel_openstack.patching import Patch

Point = tuple[float, tuple[Any, ...]]

POOL_NAME = "oslo.messaging"

# A list, since appending and copying one is atomic; a WeakSet changes while another thread iterates over it.
_pools: list[weakref.ref[Any]] = []


class NewPool:
    """Remembers a pool when it has been made."""

    def before(self, pool: Any, *_args: Any, **_kwargs: Any) -> Any:
        return pool

    def finish(self, pool: Any, result: Any, error: BaseException | None) -> None:
        if error is None:
            _pools[:] = [known for known in _pools if known() is not None]
            _pools.append(weakref.ref(pool))


class EmptiedPool:
    """Forgets a pool whose transport was cleaned up: its count of connections stays as it was."""

    def before(self, pool: Any) -> None:
        _pools[:] = [known for known in _pools if known() is not pool]

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Nothing: `before` has done it."""


def pools() -> list[Any]:
    """Return the pools of this process that are still in use."""
    return [pool for known in list(_pools) if (pool := known()) is not None]


def _labels(pool: Any) -> tuple[str, str | None]:
    url = getattr(pool, "url", None)
    hosts = getattr(url, "hosts", None)
    return names.broker_of(url), hosts[0].hostname if hosts else None


def connections() -> Iterator[Point]:
    """Yield the number of connections, used and idle. What several pools say of one broker is added up."""
    for pool in pools():
        idle = len(pool._items)
        yield max(0, pool._current_size - idle), (*_labels(pool), "used")
        yield idle, (*_labels(pool), "idle")


def limits() -> Iterator[Point]:
    """Yield the most connections of each pool."""
    for pool in pools():
        yield pool._max_size, _labels(pool)


def waiters() -> Iterator[Point]:
    """Yield the number of callers that wait for a connection."""
    for pool in pools():
        yield len(pool._cond._waiters), ("connection", POOL_NAME)


OBSERVED: tuple[tuple[str, Callable[[], Iterator[Point]]], ...] = (
    ("openstack.messaging.client.connection.count", connections),
    ("openstack.messaging.client.connection.max", limits),
    ("openstack.pool.pending_requests", waiters),
)

_handles: list[Any] = []


def install() -> None:
    """Let the gauges be read at collection."""
    _handles.extend(metrics.observe(name, callback) for name, callback in OBSERVED)


def uninstall() -> None:
    """Stop reading the gauges, forget the pools."""
    _pools.clear()
    while _handles:
        _handles.pop().close()


PATCHES: tuple[Patch, ...] = (
    Patch(
        "oslo_messaging.pool",
        "oslo_messaging._drivers.pool",
        "ConnectionPool.__init__",
        group="rpc",
        hook=NewPool,
        always=True,
    ),
    Patch(
        "oslo_messaging.pool.emptied",
        "oslo_messaging._drivers.pool",
        "ConnectionPool.empty",
        group="rpc",
        hook=EmptiedPool,
        always=True,
    ),
)
