# SPDX-License-Identifier: Apache-2.0
"""What hooks use to trace: an operation is a span, its place in the context and the totals of its root.

`root` begins the work for a request, a message or a periodic task; `child` is a call to something else; `leaf` writes a
span of what is already over. A client call outside every request first gets a background root, so no trace consists of
a loose call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from time import perf_counter, time_ns
from typing import Any

from opentelemetry import propagate
from opentelemetry import trace as trace_api
from opentelemetry.context import Context, create_key
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode

from otel_openstack import __version__, settings
from otel_openstack.tracing import background, events, exceptions, propagators
from otel_openstack.tracing.api_seam import (
    SPAN_KEY,
    SUPPRESS_KEYS,
    get_context,
    get_provider,
    reset_context,
    set_context,
)
from otel_openstack.tracing.span import CurrentSpan, Dropped, Span, add_item, set_item
from otel_openstack.tracing.totals import Totals
from otel_openstack.tracing.tracer import Tracer

TOTALS_KEY = create_key("otel-openstack-totals")
BACKGROUND_SCOPE = "otel_openstack.background"
OWN_KEYS = frozenset({SPAN_KEY, TOTALS_KEY})
OURS = 2  # entries that the context of an operation has, if nobody put another there
LEAN = frozenset({Span, CurrentSpan, Dropped})
SCHEMA_MODULE = "otel_openstack.semconv.instruments"

_tracers: dict[str, trace_api.Tracer] = {}
_provider: trace_api.TracerProvider | None = None


class Operation:
    """A span that is current until it is finished or detached.

    span: the span; a NonRecordingSpan when it is sampled out.
    totals: the running totals of the root that it belongs to.
    start: `time.perf_counter()` at its beginning, in seconds.
    described: whether anybody will read its attributes; not if the span is sampled out, or goes nowhere.
    """

    __slots__ = (
        "_attributes",
        "_background",
        "_context",
        "_open",
        "_root",
        "_token",
        "described",
        "span",
        "start",
        "totals",
    )

    span: trace_api.Span
    totals: Totals
    start: float
    described: bool
    _attributes: dict[str, Any] | None  # of a root, for its event
    _background: Operation | None
    _context: Context
    _open: bool  # deleted by the one call that finishes: deletion is atomic
    _root: bool
    _token: Any

    def set(self, key: str, value: Any) -> None:
        """Set an attribute of the span, and of the request's event."""
        self.span.set_attribute(key, value)
        if self._attributes is not None:
            self._attributes[key] = value

    def carrier_inject(self, carrier: MutableMapping[str, Any]) -> None:
        """Write this span's context into the headers of an outgoing call."""
        names, context = settings.get().baggage_dimensions, self._context
        if names:
            from otel_openstack.tracing import asking  # it reads what this module keeps

            context = asking.with_baggage(context, names)
        propagators.inject(carrier, context, OWN_KEYS)

    def attach(self) -> None:
        """Make the span and the totals current in this thread or green thread."""
        if self._token is None:
            self._token = set_context(self._context)

    def detach(self) -> None:
        """Take the span off the context without ending it; `attach` and `finish` may follow, also elsewhere."""
        token, self._token = self._token, None
        if token is not None:
            _reset(token)

    def let_go(self) -> None:
        """End the operation if whatever should have ended it has failed: it is current no more, and says nothing."""
        if hasattr(self, "_open"):
            self.detach()
            self.finish()

    def discard(self) -> bool:
        """Drop a root that called nothing, as if it had never begun: it leaves no span.

        Returns:
            False, with nothing done, if its totals hold a call, if a span was started under it by anybody, if it was
            captured for a task, if it is sampled out, or if span processors have seen it begin. `finish` it then.

        """
        span, totals = self.span, self.totals
        if not isinstance(span, Span) or span.used or span._tracer.observed or totals.worked or totals.cache_calls:
            return False
        try:
            del self._open
        except AttributeError:
            return False
        self.detach()
        totals.ended = True
        return True  # a span that is never ended is never queued

    def finish(
        self,
        error: BaseException | str | None = None,
        attributes: Mapping[str, Any] | None = None,
        end_time_ns: int | None = None,
    ) -> float:
        """End the operation; only the first call does anything.

        Args:
            error: the exception, or an `error.type` such as "503".
            attributes: set on the span before it ends.
            end_time_ns: when it ended, in ns since the epoch; now by default.

        Returns:
            The duration in seconds; zero from a second call.

        """
        try:
            del self._open
        except AttributeError:
            return 0.0
        duration = perf_counter() - self.start
        if end_time_ns is not None:
            duration = max(0.0, duration - (time_ns() - end_time_ns) / 1e9)
        token = self._token
        if token is not None:
            self._token = None
            _reset(token)
        span = self.span
        try:
            if error is not None:
                _fail(span, error)
            if attributes and self.described:
                span.set_attributes(attributes)
            if self._root:
                self._finish_root(error, attributes, duration, end_time_ns)
        finally:  # whatever failed, what has begun ends
            try:
                span.end(end_time_ns)
            finally:
                if self._background is not None:
                    self._background.finish(error=error if isinstance(error, str) else None, end_time_ns=end_time_ns)
        return duration

    def _finish_root(
        self,
        error: BaseException | str | None,
        attributes: Mapping[str, Any] | None,
        duration: float,
        end_time_ns: int | None,
    ) -> None:
        totals = self.totals
        totals.ended = True
        if not self.described:
            return
        summed = totals.attributes()
        if summed:
            self.span.set_attributes(summed)
        if self._attributes is not None:
            self._attributes.update(attributes or {})
            self._attributes.update(totals.sizes())
            self._attributes.update(summed)
            if error is not None:
                self._attributes.setdefault(
                    "error.type", error if isinstance(error, str) else exceptions.type_name(error)
                )
            events.request(self.span.get_span_context(), self._attributes, duration, end_time_ns)


def root(
    scope: str,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None = None,
    carrier: Any = None,
    above: Context | None = None,
    links: Sequence[Link] | None = None,
    describe: Callable[[], dict[str, Any]] | None = None,
) -> Operation:
    """Begin the work for a request, a message or a task, and make it current.

    Args:
        scope: the instrumentation scope, such as `otel_openstack.rpc`.
        name: the span's name, of low cardinality.
        kind: SERVER, CONSUMER or INTERNAL.
        attributes: what samplers may look at.
        carrier: the incoming headers that the parent is taken from.
        above: what was taken from them already. With neither a new trace begins, whatever is current.
        links: to spans that it belongs to in another way.
        describe: makes the attributes, in place of `attributes`; called only if somebody will read them.

    """
    if kind is SpanKind.SERVER or kind is SpanKind.CONSUMER:
        background.mark_serving()
    if above is None:
        above = Context()
        if carrier:
            known = propagators.alone(carrier)
            try:
                above = propagate.extract(carrier, above) if known is None else known
            except Exception:  # a propagator that fails on what a stranger sent
                above = Context()
    return _begin(
        scope, name, kind, attributes, above, Totals(detached=kind is SpanKind.CONSUMER), None, links, describe
    )


def child(scope: str, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None = None) -> Operation:
    """Begin a call to something else, as a child of what is current, and make it current.

    Outside every request a background root is opened first, and ended with the call. Where the current context says
    that instrumentation is suppressed, the operation holds a span that records nothing.
    """
    current = get_context()
    if current and _suppresses(current):
        return _suppressed(current)
    above = current.get(SPAN_KEY)
    if above is None or not _valid(above):
        outer = _background(None)
        made = _begin(scope, name, kind, attributes, outer._context, None)
        made._background = outer
        return made
    return _begin(scope, name, kind, attributes, current, None)


def leaf(
    scope: str,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None,
    start_ns: int,
    end_ns: int,
    error: BaseException | str | None = None,
) -> None:
    """Write a span of what is already over (ns since the epoch), as a child of what is current."""
    current = get_context()
    if current and _suppresses(current):
        return
    above = current.get(SPAN_KEY)
    outer = None if above is not None and _valid(above) else _background(start_ns)
    context = current if outer is None else outer._context
    span = tracer(scope).start_span(name, context, kind, attributes, start_time=start_ns)
    if error is not None:
        _fail(span, error)
    span.end(end_ns)
    if outer is not None:
        outer.finish(end_time_ns=end_ns)


def totals() -> Totals | None:
    """Return the totals of the current root, also when it is sampled out; None outside every root."""
    return get_context().get(TOTALS_KEY)  # type: ignore[return-value]


def tracer(scope: str) -> trace_api.Tracer:
    """Return the tracer of one of our scopes from the global provider."""
    global _provider
    provider = get_provider()
    if provider is not _provider:
        _tracers.clear()
        _provider = provider
    found = _tracers.get(scope)
    if found is None:
        found = _tracers[scope] = provider.get_tracer(scope, __version__, _schema_url())
    return found


def within(context: Context, span: trace_api.Span, running: Totals | None) -> Context:
    """Return `context` with this span and these totals as the current ones."""
    made = Context(context)
    set_item(made, SPAN_KEY, span)
    if running is not None:
        set_item(made, TOTALS_KEY, running)
    return made


def _begin(
    scope: str,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None,
    above: Context,
    own: Totals | None,
    start_ns: int | None = None,
    links: Sequence[Link] | None = None,
    describe: Callable[[], dict[str, Any]] | None = None,
    *,
    attach: bool = True,
) -> Operation:
    """Start a span under `above`; with totals of its `own` it is a root."""
    made = Operation()
    made.start = perf_counter()
    by = tracer(scope)
    if type(by) is Tracer and by.silent:
        # Nobody looks at attributes before the span is there.
        events = own is not None and settings.get().request_events
        given = attributes if by.kept and describe is None else None
        made.span = span = by.start_span(name, above, kind, given, links, start_ns)
        made.described = recorded = by.kept and type(span) is Span
        if describe is not None and (recorded or events):
            attributes = describe()
            if recorded:
                span._adopt(attributes, by)  # type: ignore[attr-defined]
    else:
        if describe is not None:
            attributes = describe()
        made.span = span = by.start_span(name, above, kind, attributes, links, start_ns)
        made.described = True
        events = own is not None and settings.get().request_events
    made._attributes = None
    if own is None:
        made._root = False
        running: Totals | None = above.get(TOTALS_KEY)  # type: ignore[assignment]
        made.totals = running if running is not None else Totals()
    else:
        made._root = True
        running = made.totals = own
        if events:
            made.described = True
            made._attributes = {"openstack.request.name": name, **(attributes or {})}
    if running is not None and len(above) <= (SPAN_KEY in above) + (TOTALS_KEY in above):
        made._context = context = Context()  # there is nothing else to copy
        add_item(context, SPAN_KEY, span)
        add_item(context, TOTALS_KEY, running)
    else:
        made._context = context = within(above, span, running)
    made._background = None
    made._open = True
    made._token = set_context(context) if attach else None
    return made


def _background(start_ns: int | None) -> Operation:
    """Open a root for a call that nobody asked for; not current, so that it leaves no trace in the context."""
    return _begin(
        BACKGROUND_SCOPE, background.name(), SpanKind.INTERNAL, None, Context(), Totals(), start_ns, attach=False
    )


def _suppressed(current: Context) -> Operation:
    made = Operation()
    made.start = perf_counter()
    made.span = NonRecordingSpan(trace_api.get_current_span(current).get_span_context())
    made.totals = Totals()
    made._context = current
    made._attributes = made._background = made._token = None
    made._root = made.described = False
    made._open = True
    return made


def _suppresses(context: Context) -> bool:
    """Whether the context says that nothing is to be traced."""
    if len(context) == OURS and TOTALS_KEY in context and SPAN_KEY in context:
        return False
    return any(context.get(key) for key in SUPPRESS_KEYS)


def _valid(above: Any) -> bool:
    if type(above) in LEAN:
        return True
    return isinstance(above, trace_api.Span) and above.get_span_context().is_valid


def _fail(span: trace_api.Span, error: BaseException | str) -> None:
    """Mark the span: its type, and of an exception the scrubbed message; never a traceback."""
    if not span.is_recording():
        return
    if isinstance(error, str):
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
        return
    kind, text = exceptions.type_name(error), exceptions.message(error)
    span.set_attribute("error.type", kind)
    span.add_event("exception", {"exception.type": kind, "exception.message": text})
    span.set_status(Status(StatusCode.ERROR, text))


def _reset(token: Any) -> None:
    """Restore the context that was current before; in another thread or green thread there is nothing to restore."""
    try:  # noqa: SIM105 (contextlib.suppress costs as much as a tenth of a span)
        reset_context(token)
    except ValueError:
        pass


def _schema_url() -> str | None:
    module = sys.modules.get(SCHEMA_MODULE)
    return getattr(module, "SCHEMA_URL", None)
