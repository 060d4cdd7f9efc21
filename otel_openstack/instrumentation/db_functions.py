# SPDX-License-Identifier: Apache-2.0
"""oslo.db: retries and deadlocks of its retry wrapper; at level detailed the duration of database functions.

Both are decorators that services apply to their functions when their modules are imported, so the decorator is what is
hooked, and the function that it returns or is given is what is measured.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from otel_openstack import metrics
from otel_openstack.levels import Level
from otel_openstack.patching import Guard, Patch, guard
from otel_openstack.semconv import instruments

RETRIES = "oslo_db.retry"
FUNCTIONS = "oslo_db.function"


class _Invocation:
    """One call of a function that the retry wrapper may make several times."""

    __slots__ = ("error", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Count an attempt that follows a failed one."""
        if self.error is not None:
            metrics.counter(instruments.OPENSTACK_DB_RETRIES).add(1, self.name, metrics.error_type(self.error))
            self.error = None

    def failed(self, error: BaseException) -> None:
        """Remember why an attempt failed; a deadlock counts whether it is retried or not."""
        self.error = getattr(error, "inner_exc", None) or error
        if any(kind.__name__ == "DBDeadlock" for kind in type(self.error).__mro__):
            metrics.counter(instruments.OPENSTACK_DB_DEADLOCKS).add(1, self.name)


# A context variable, because it is each thread's and each green thread's own.
_invocation: ContextVar[_Invocation | None] = ContextVar("otel_openstack_db_retry", default=None)


def _count_retries(original: Callable[..., Any]) -> Callable[..., Any]:
    """Replace `wrap_db_retry.__call__`: what it decorates tells its attempts apart from its invocations."""
    watch = guard(RETRIES)

    @functools.wraps(original)
    def decorate(*args: Any, **kwargs: Any) -> Any:
        attempted = None
        if watch.applies():
            with watch:
                retry, function = args
                attempted, name = _attempt(function, watch), _name(function)
        if attempted is None:
            return original(*args, **kwargs)
        decorated = original(retry, attempted)
        with watch:
            return _invoked(decorated, name, watch)
        return decorated

    return decorate


def _invoked(decorated: Callable[..., Any], name: str, watch: Guard) -> Callable[..., Any]:
    @functools.wraps(decorated)
    def invocation(*args: Any, **kwargs: Any) -> Any:
        if not watch.on:
            return decorated(*args, **kwargs)
        token = _invocation.set(_Invocation(name))
        try:
            return decorated(*args, **kwargs)
        finally:
            with watch:
                _invocation.reset(token)

    return invocation


def _attempt(function: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    @functools.wraps(function)
    def attempt(*args: Any, **kwargs: Any) -> Any:
        current = _invocation.get()
        if current is None or not watch.on:
            return function(*args, **kwargs)
        with watch:
            current.begin()
        try:
            return function(*args, **kwargs)
        except Exception as error:
            with watch:
                current.failed(error)
            raise

    return attempt


def _time_functions(original: Callable[..., Any]) -> Callable[..., Any]:
    """Replace `_TransactionContextManager.__call__`: what it returns for a function is measured."""
    watch = guard(FUNCTIONS)

    @functools.wraps(original)
    def decorate(*args: Any, **kwargs: Any) -> Any:
        decorated = original(*args, **kwargs)
        if watch.applies():
            with watch:
                manager, function = args
                if callable(decorated):
                    return _timed(decorated, _name(function), _access(manager))
        return decorated

    return decorate


def _name(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"


def _access(manager: Any) -> str | None:
    mode = str(getattr(manager, "_mode", "")).lower()
    return next((access for access in ("writer", "reader") if access in mode), None)


def _timed(function: Callable[..., Any], name: str, access: str | None) -> Callable[..., Any]:
    watch = guard(FUNCTIONS)
    duration = metrics.histogram(instruments.OPENSTACK_DB_FUNCTION_DURATION)
    record = duration.bind(name, access, None)

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        if not watch.on:
            return function(*args, **kwargs)
        start = time.perf_counter()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            with watch:
                duration.record(time.perf_counter() - start, name, access, metrics.error_type(error))
            raise
        with watch:
            record(time.perf_counter() - start)
        return result

    return timed


PATCHES: tuple[Patch, ...] = (
    Patch(RETRIES, "oslo_db.api", "wrap_db_retry.__call__", group="db", replace=_count_retries),
    Patch(
        FUNCTIONS,
        "oslo_db.sqlalchemy.enginefacade",
        "_TransactionContextManager.__call__",
        level=Level.DETAILED,
        group="db",
        replace=_time_functions,
    ),
)
