# SPDX-License-Identifier: Apache-2.0
"""Carries a request into the threads, pools and green threads that work for it.

A task has totals of its own. When it ends they go to the request, if that still runs. If the request is over by then
and the task called a database or a cache, one span `task {function}` is written afterwards, so it is not lost. Under a
message that nobody waits for (a cast), where the real work usually is such a task, the span is opened at once and the
calls of the task stand under it; unless the message's own work waits for the task, which `Awaited` says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import time_ns
from types import TracebackType
from typing import Any

from opentelemetry.context import Context, create_key
from opentelemetry.trace import SpanKind

from otel_openstack.patching import finished, guard
from otel_openstack.tracing import operations
from otel_openstack.tracing.api_seam import SPAN_KEY, get_context, set_context
from otel_openstack.tracing.operations import TOTALS_KEY, Operation
from otel_openstack.tracing.span import Span
from otel_openstack.tracing.totals import Totals

SCOPE = "otel_openstack.tasks"
AWAITED_KEY = create_key("otel-openstack-awaited")

_watch = guard("context.task")


def capture() -> Captured | None:
    """Return what is current, to be carried elsewhere; None where nothing is."""
    context = get_context()
    span = context.get(SPAN_KEY)
    if span is None:
        return None
    if isinstance(span, Span):
        span.mark_used()
    return Captured(context)


class Awaited:
    """Says that what is captured from here on, until `let_go`, is waited for here."""

    __slots__ = ("_token",)

    def __init__(self) -> None:
        context = Context(get_context())
        dict.__setitem__(context, AWAITED_KEY, True)
        self._token: Any = set_context(context)

    def let_go(self) -> None:
        """Take that back."""
        token, self._token = self._token, None
        if token is not None:
            operations._reset(token)


class Captured:
    """The span and the totals that were current at `capture`; may be used from any thread, any number of times."""

    __slots__ = ("_context", "_tokens")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tokens: list[Any] = []

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `function` as a task of what was captured; returns and raises what it does, whatever fails of ours."""
        task = None
        if _watch.on:
            try:
                task = _Task(self._context, function)
            except Exception as failure:
                _watch.failed("before", failure)
        if task is None:
            return function(*args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            finished(_watch, task, task.end, error)
            raise
        finished(_watch, task, task.end, None)
        return result

    def __enter__(self) -> Captured:  # noqa: PYI034 (typing.Self came with Python 3.11)
        """Make what was captured current, without a task."""
        self._tokens.append(set_context(self._context))
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        operations._reset(self._tokens.pop())


class _Task:
    """One run of a captured function."""

    __slots__ = ("_above", "_context", "_name", "_operation", "_own", "_start", "_token")

    def __init__(self, context: Context, function: Callable[..., Any]) -> None:
        self._name = f"task {qualified_name(function)}"
        self._context = context
        self._start = time_ns()
        self._operation: Operation | None = None
        self._token: Any = None
        self._above: Totals | None = context.get(TOTALS_KEY)  # type: ignore[assignment]
        self._own: Totals | None = None
        if self._above is None:
            self._token = set_context(context)
        elif self._above.detached and AWAITED_KEY not in context:
            self._own = Totals(detached=True, parent=self._above)
            self._operation = operations._begin(SCOPE, self._name, SpanKind.INTERNAL, None, context, self._own)
        else:
            self._own = Totals(parent=self._above)
            inner = Context(context)
            dict.__setitem__(inner, TOTALS_KEY, self._own)
            self._token = set_context(inner)

    def end(self, error: BaseException | None) -> None:
        shown = error if isinstance(error, Exception) else None
        if self._operation is not None:
            self._operation.finish(shown)
            return
        self.let_go()
        own, above = self._own, self._above
        if own is None or above is None:
            return
        own.ended = True
        alive = above.alive()
        if alive is not None:
            alive.merge(own)
        elif own.db_calls or own.cache_calls:  # calls by RPC and HTTP have spans of their own
            self._write(own, shown)

    def let_go(self) -> None:
        """Take the task off the context."""
        if self._operation is not None:
            self._operation.let_go()
        token, self._token = self._token, None
        if token is not None:
            operations._reset(token)

    def _write(self, own: Totals, error: Exception | None) -> None:
        with Captured(self._context):
            operations.leaf(SCOPE, self._name, SpanKind.INTERNAL, own.attributes(), self._start, time_ns(), error)


def qualified_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, seen through partials and bound methods, without addresses."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__wrapped__", function)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name)
