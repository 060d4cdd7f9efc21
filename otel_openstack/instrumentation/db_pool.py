# SPDX-License-Identifier: Apache-2.0
"""Database connection pools: connections in use and idle, waits, creation and use times, errors, failed pings.

Counts are read from the pools themselves when they are collected, so they cannot drift, not even over a fork; a pool
that keeps no count (NullPool, StaticPool) has none here. Class-level pool events and `handle_error` see every engine
and cost the statements of an engine nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from otel_openstack import levels, metrics
from otel_openstack.instrumentation import db_engines
from otel_openstack.instrumentation.db_engines import Database
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, guarded, when_imported
from otel_openstack.semconv import instruments

USED, IDLE = "used", "idle"
CONNECT, PING, USE = "connect", "ping", "use"
SINCE = "_otel_openstack_since"

# Sets, not numbers: adding to a set is atomic where += on a shared number loses updates between threads.
_waiting: dict[str, set[object]] = {}
_close: list[Callable[[], None]] = []


def _pool_name(pool: Any) -> str:
    """Return the name of `pool`; the engine left it there, on the creator that every recreated pool keeps."""
    name: str | None = getattr(getattr(pool, "_dialect", None), "_otel_openstack_pool", None)
    return name or type(pool).__name__


def _remember_name(engine: Any, database: Database) -> None:
    engine.dialect._otel_openstack_pool = database.pool_name


class _Obtain:
    """`Pool.connect`: how long a connection takes to be had, waiting, ping and creation included."""

    def before(self, pool: Any) -> Any:
        return time.perf_counter(), _pool_name(pool)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        start, pool = state
        metrics.histogram(instruments.DB_CLIENT_CONNECTION_WAIT_TIME).record(time.perf_counter() - start, pool)
        if error is not None and _is_pool_timeout(error):
            metrics.counter(instruments.DB_CLIENT_CONNECTION_TIMEOUTS).add(1, pool)


def _is_pool_timeout(error: BaseException) -> bool:
    kind = type(error)
    return kind.__name__ == "TimeoutError" and kind.__module__ == "sqlalchemy.exc"


class _Create:
    """`_ConnectionRecord.__connect`: how long a new connection takes, and how often there is none."""

    def before(self, record: Any) -> Any:
        return time.perf_counter(), _pool_name(record._ConnectionRecord__pool)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        start, pool = state
        if error is None:
            metrics.histogram(instruments.DB_CLIENT_CONNECTION_CREATE_TIME).record(time.perf_counter() - start, pool)
        elif isinstance(error, Exception):
            _count_error(pool, CONNECT, error)


class _Take:
    """`QueuePool._do_get`: while it runs a request waits for a connection."""

    def before(self, pool: Any) -> Any:
        waiters, request = _waiting.setdefault(_pool_name(pool), set()), object()
        waiters.add(request)
        return waiters, request

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        waiters, request = state
        waiters.discard(request)


PATCHES: tuple[Patch, ...] = (
    Patch("sqlalchemy.pool.connect", "sqlalchemy.pool.base", "Pool.connect", group="db", hook=_Obtain),
    Patch(
        "sqlalchemy.pool.create",
        "sqlalchemy.pool.base",
        "_ConnectionRecord._ConnectionRecord__connect",
        group="db",
        hook=_Create,
    ),
    Patch("sqlalchemy.pool.take", "sqlalchemy.pool.impl", "QueuePool._do_get", group="db", hook=_Take),
)


def _count_error(pool: str, phase: str, error: BaseException) -> None:
    name = instruments.OPENSTACK_DB_CLIENT_CONNECTION_ERRORS
    metrics.counter(name).add(1, pool, phase, metrics.error_type(error))


@guarded("sqlalchemy.pool.checkout")
def _checkout(dbapi_connection: Any, record: Any, fairy: Any) -> None:
    setattr(record, SINCE, time.perf_counter())


@guarded("sqlalchemy.pool.checkin")
def _checkin(dbapi_connection: Any, record: Any) -> None:
    since = record.__dict__.pop(SINCE, None)
    if since is not None:
        pool = _pool_name(record._ConnectionRecord__pool)
        metrics.histogram(instruments.DB_CLIENT_CONNECTION_USE_TIME).record(time.perf_counter() - since, pool)


@guarded("sqlalchemy.handle_error")
def _handle_error(context: Any) -> None:
    """Count a connection found broken, by a ping or in use; a failed connect is counted where it is made."""
    if not context.is_disconnect:
        return
    phase = PING if getattr(context, "is_pre_ping", False) else USE
    pool = getattr(context.dialect, "_otel_openstack_pool", None) or "unknown"
    _count_error(pool, phase, context.original_exception)


def _queue_pools() -> Iterator[tuple[str, Any]]:
    """Yield the pools that count, each with its name: of engines alive, as they are now (dispose makes a new one)."""
    for engine, database in db_engines.engines():
        pool = engine.pool
        if hasattr(pool, "_max_overflow") and hasattr(getattr(pool, "_pool", None), "_qsize"):
            yield database.pool_name, pool


def _idle(pool: Any) -> int:
    # Not checkedin(): it takes the queue's lock, which may be a green one and we are on a native thread.
    return int(pool._pool._qsize())


def _used(pool: Any) -> int:
    return max(0, int(pool._pool.maxsize) - _idle(pool) + int(pool._overflow))


def _total(read: Callable[[Any], int | None]) -> dict[str, int]:
    """Add `read(pool)` up over the pools of one name: two engines of one database are one pool to an operator."""
    totals: dict[str, int] = {}
    for name, pool in _queue_pools():
        value = read(pool)
        if value is not None:
            totals[name] = totals.get(name, 0) + value
    return totals


def _counts() -> Iterator[tuple[int, tuple[str, str]]]:
    for state, read in ((USED, _used), (IDLE, _idle)):
        for name, value in _total(read).items():
            yield value, (name, state)


def _limits() -> Iterator[tuple[int, tuple[str]]]:
    for name, value in _total(_limit).items():
        yield value, (name,)


def _limit(pool: Any) -> int | None:
    return int(pool._pool.maxsize) + int(pool._max_overflow) if pool._max_overflow >= 0 and pool._pool.maxsize else None


def _pending() -> Iterator[tuple[int, tuple[str]]]:
    for name in _total(_idle):
        yield len(_waiting.get(name, ())), (name,)


def _listen(module: ModuleType) -> None:
    """Listen at the classes; only when the whole package is imported, its own parts are not ready before."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    for target, name, function in (
        (Pool, "checkout", _checkout),
        (Pool, "checkin", _checkin),
        (Engine, "handle_error", _handle_error),
    ):
        event.listen(target, name, function)
        _close.append(lambda target=target, name=name, function=function: event.remove(target, name, function))  # type: ignore[misc]


def install() -> None:
    """Listen to pools and read their counts, if the level of db is at least basic."""
    if not levels.possible(Level.BASIC, "db"):
        return
    db_engines.subscribe(_remember_name)
    _close.append(lambda: db_engines.unsubscribe(_remember_name))
    _close.append(when_imported("sqlalchemy", _listen))
    _close.append(metrics.observe(instruments.DB_CLIENT_CONNECTION_COUNT, _counts).close)
    _close.append(metrics.observe(instruments.DB_CLIENT_CONNECTION_MAX, _limits).close)
    _close.append(metrics.observe(instruments.DB_CLIENT_CONNECTION_PENDING_REQUESTS, _pending).close)


def uninstall() -> None:
    """Stop listening and reading."""
    while _close:
        _close.pop()()
    _waiting.clear()
