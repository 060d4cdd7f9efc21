# SPDX-License-Identifier: Apache-2.0
"""Every private OpenTelemetry name that the spans use stands here, checked at import, with the public way beside it.

The private way saves most of what a span costs: reading and setting the context variable directly, and building a
SpanContext without its validation. Where a check fails (another version, another context implementation chosen by
OTEL_PYTHON_CONTEXT), the public functions of the API take over and nothing else changes.

What the rest of the package uses:

* `get_context()`, `set_context(context) -> token`, `reset_context(token)`: the current context; reset raises ValueError
  in an execution unit other than the one that set it, or does nothing where the API hides that.
* `SPAN_KEY`: where the context holds the current span.
* `make_context(SpanContext, fields)`: a valid local SpanContext of (trace id, span id, remote, flags, state, True).
* `get_provider()`: the tracer provider in force.
* `SUPPRESS_KEYS`: context keys by which an exporter asks not to be traced; `SUPPRESS_HTTP_KEYS`: with those for HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, propagation

ContextFields = tuple[int, int, bool, TraceFlags, TraceState, bool]


class Seam(NamedTuple):
    """One way to reach the API's state: `private` or `public`."""

    name: str
    get_context: Callable[[], Context]
    set_context: Callable[[Context], Any]
    reset_context: Callable[[Any], None]
    make_context: Callable[[type[SpanContext], ContextFields], SpanContext]


def _construct(kind: type[SpanContext], fields: ContextFields) -> SpanContext:
    return kind(*fields[:5])


def public() -> Seam:
    """Return the way through the API's public functions."""
    return Seam("public", context_api.get_current, context_api.attach, context_api.detach, _construct)


def private() -> Seam | None:
    """Return the direct way, or None if this API does not have what it needs."""
    try:
        variable = context_api._RUNTIME_CONTEXT._current_context  # type: ignore[attr-defined]
    except AttributeError:
        return None
    if not isinstance(variable, ContextVar):
        return None
    seam = Seam("private", variable.get, variable.set, variable.reset, tuple.__new__)
    return seam if _agrees(seam) else None


def _agrees(seam: Seam) -> bool:
    """Whether the direct way and the API see the same context and the same SpanContext."""
    fields: ContextFields = (1 << 100 | 5, 1 << 60 | 7, False, TraceFlags(3), TraceState([("a", "b")]), True)
    try:
        made, constructed = seam.make_context(SpanContext, fields), _construct(SpanContext, fields)
        same = made == constructed and repr(made) == repr(constructed) and made.is_valid
        marked = Context({"otel-openstack-check": made})
        before = context_api.get_current()
        token = seam.set_context(marked)
        try:
            same = same and context_api.get_current() is marked and seam.get_context() is marked
        finally:
            seam.reset_context(token)
        return same and context_api.get_current() is before
    except Exception:
        return False


def _find_span_key() -> str | None:
    """Return the key under which the API keeps the current span: what its own setter writes."""
    marker = NonRecordingSpan(trace_api.INVALID_SPAN_CONTEXT)
    written = trace_api.set_span_in_context(marker, Context())
    return next((key for key, value in written.items() if value is marker), None)


def _find_suppress_keys(name: str) -> tuple[str, ...]:
    """Return the API's own key, made anew in each process, and the plain one of older releases."""
    return tuple(filter(None, (getattr(context_api, f"_{name.upper()}_KEY", None), name)))


def _find_provider() -> Callable[[], trace_api.TracerProvider]:
    """Return what finds the tracer provider in force: the API's own function makes two calls more for it."""
    held, name = vars(trace_api), "_TRACER_PROVIDER"
    if name not in held:
        return trace_api.get_tracer_provider

    def get_provider() -> trace_api.TracerProvider:
        return held[name] or trace_api.get_tracer_provider()

    return get_provider


get_provider = _find_provider()
active: Seam = private() or public()
get_context, set_context, reset_context, make_context = active[1:]
SPAN_KEY: str = _find_span_key() or propagation._SPAN_KEY
SUPPRESS_KEYS: tuple[str, ...] = _find_suppress_keys("suppress_instrumentation")
SUPPRESS_HTTP_KEYS: tuple[str, ...] = (*SUPPRESS_KEYS, *_find_suppress_keys("suppress_http_instrumentation"))
