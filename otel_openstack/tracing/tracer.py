# SPDX-License-Identifier: Apache-2.0
"""The lean tracer: decides, then fills the slots of a span. This file is the hot path; measure every change to it.

The sampling decision comes before the span exists. A recognised sampler (`sampling.recognise`) is one comparison; any
other is called with the SDK's arguments, as is an id generator that is not ours.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
)

from otel_openstack.runtime import process
from otel_openstack.tracing import api_seam, ids, sampling
from otel_openstack.tracing.span import CurrentSpan, Span

if TYPE_CHECKING:
    from otel_openstack.tracing.provider import TracerProvider

LEAN = frozenset({Span, CurrentSpan})
FLAGS = tuple(TraceFlags(value) for value in range(4))
SAMPLED = 1
RANDOM = 2
NO_STATE = TraceState.get_default()
UNLIMITED = sys.maxsize

_set = dict.__setitem__
_new = object.__new__


class Tracer(sdk.Tracer):
    """See `opentelemetry.trace.Tracer`. Made by `TracerProvider.get_tracer`.

    observed: span processors exist, or the SDK's own span metrics are on: every span is shown to them.
    most, longest: limits of the number of attributes and of a text, `sys.maxsize` for none.
    put: takes a finished sampled span.
    """

    def __init__(self, made_by_sdk: sdk.Tracer, provider: TracerProvider) -> None:
        """Take over what the SDK prepared, whatever it is in its version, and decide with our own rules."""
        vars(self).update({k: v for k, v in vars(made_by_sdk).items() if k not in ("resource", "sampler")})
        self._sdk = made_by_sdk
        self._provider = provider
        self.scope: InstrumentationScope = made_by_sdk._instrumentation_scope
        self.limits = provider.limits
        self.most = _limit(self.limits.max_span_attributes)
        self.longest = _limit(self.limits.max_span_attribute_length)
        self.put = provider.queue.put
        self._own_ids = type(provider.id_generator) in (RandomIdGenerator, ids.ProcessIdGenerator)
        self._id_generator: IdGenerator = provider.id_generator
        self.observed = False
        self.sampler = provider.sampler
        self.refresh()

    @property
    def resource(self) -> Resource:  # type: ignore[override]
        """The resource of this process, which a fork or a service's configuration may change."""
        return self._provider.resource

    @property
    def sampler(self) -> Sampler:  # type: ignore[override]
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Sampler) -> None:
        self._sampler = sampler
        rule = sampling.recognise(sampler)
        self._called_sampler = None if rule else sampler
        self._parent_based, self._bound = rule or (False, 0)

    def refresh(self) -> None:
        """Take notice of processors that were added and of the tracer's configuration."""
        self._off = not self._sdk._is_enabled()
        counted = type(self._tracer_metrics).__name__ != "NoOpTracerMetrics"
        self._metrics = self._tracer_metrics if counted else None
        self.observed = counted or self._provider.has_processors

    # -- the API -------------------------------------------------------------------------------------------------------

    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Any:
        """Return a context manager, also usable as a decorator, which starts the span when entered."""
        span = _new(CurrentSpan)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._start_time = start_time  # type: ignore[assignment] # given or None until entered
        span._given = (context, links, attributes)
        span._record_exception = record_exception
        span._set_status_on_exception = set_status_on_exception
        span._end_on_exit = end_on_exit
        return span

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace_api.Span:
        """Start a span without making it current; times in ns since the epoch."""
        current = api_seam.active.get_context() if context is None else context
        decision = self._decide(current, context, name, kind, attributes, links)
        if len(decision) == 1:
            return decision[0]
        span = _new(Span)
        span._tracer = self
        span._name = name
        span._kind = kind
        span._record_exception = record_exception
        span._set_status_on_exception = set_status_on_exception
        self._fill(span, decision, links, start_time, context)
        return span

    def enter(self, span: CurrentSpan) -> trace_api.Span:
        """Start `span` from the arguments that it holds, and make it current."""
        context, links, attributes = span._given  # type: ignore[misc]
        span._given = None
        span._nested = 0
        seam = api_seam.active
        current = seam.get_context()
        decision = self._decide(
            current if context is None else context, context, span._name, span._kind, attributes, links
        )
        made: trace_api.Span
        if len(decision) == 1:
            span._span_id = 0
            made = decision[0]
        else:
            made = span
            self._fill(span, decision, links, span._start_time, context)
        following = Context(current)
        _set(following, api_seam.SPAN_KEY, made)
        span._token = seam.set_context(following)
        return made

    # -- how it decides ------------------------------------------------------------------------------------------------

    def _decide(
        self,
        current: Context,
        context: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
    ) -> tuple[Any, ...]:
        """Return (trace id, parent, flags, state, attributes), or one NonRecordingSpan."""
        above = current.get(api_seam.SPAN_KEY)
        parent: int | SpanContext | None
        if type(above) in LEAN:
            parent = above._span_id  # type: ignore[union-attr]
            trace_id = above._trace_id
            flags = above._flags
            state = above._state
        elif above is None:
            parent = None
        else:
            parent = _span_context(above)
            if parent is not None:
                trace_id = parent.trace_id
                flags = parent.trace_flags
                state = parent.trace_state
        if self._off or self._called_sampler is not None or not self._own_ids or self._metrics is not None:
            return self._decide_by_calling(above, context, name, kind, attributes, links)
        if parent is None:
            process.ensure()
            trace_id = ids.bits(128) or 1
            state = NO_STATE
            flags = FLAGS[3] if (trace_id & sampling.LOW_BITS) < self._bound else FLAGS[2]
        elif not self._parent_based:
            sampled = (trace_id & sampling.LOW_BITS) < self._bound
            flags = FLAGS[sampled | (flags & RANDOM)]
            if type(parent) is int:
                parent = above.get_span_context()  # its flags may differ from ours
        if flags & SAMPLED:
            return trace_id, parent, flags, state, attributes
        made = api_seam.active.make_context(
            SpanContext, (trace_id, ids.bits(64) or 1, False, FLAGS[flags & 3], state, True)
        )
        return (NonRecordingSpan(made),)

    def _decide_by_calling(
        self,
        above: Any,
        context: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
    ) -> tuple[Any, ...]:
        """Decide as the SDK does, with its own arguments: a sampler, id generator or counter that is not ours."""
        parent = None if above is None else _span_context(above)
        if self._off:
            return (NonRecordingSpan(parent or trace_api.INVALID_SPAN_CONTEXT),)
        generator = self._id_generator
        if parent is None:
            process.ensure()
            trace_id = ids.bits(128) or 1 if self._own_ids else generator.generate_trace_id()
            random = self._own_ids or generator.is_trace_id_random()
        else:
            trace_id = parent.trace_id
            random = bool(parent.trace_flags & RANDOM)
        result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
        flags = FLAGS[(SAMPLED if result.decision.is_sampled() else 0) | (RANDOM if random else 0)]
        state = result.trace_state if result.trace_state is not None else NO_STATE
        counted = self._metrics.start_span(parent, result.decision) if self._metrics else None
        span_id = ids.bits(64) or 1 if self._own_ids else generator.generate_span_id()
        if not result.decision.is_recording():
            return (NonRecordingSpan(SpanContext(trace_id, span_id, False, flags, state)),)
        return trace_id, parent, flags, state, result.attributes, span_id, counted

    def _fill(
        self,
        span: Span,
        decision: tuple[Any, ...],
        links: Sequence[Link] | None,
        start_time: int | None,
        context: Context | None,
    ) -> None:
        if len(decision) == 5:
            span._trace_id, span._parent, span._flags, span._state, attributes = decision
            span._span_id = ids.bits(64) or 1
        else:
            span._trace_id, span._parent, span._flags, span._state, attributes, span._span_id, counted = decision
            if counted is not None:
                self._provider.count_end(span, counted)
        span._context = span._end_time = span._extra = span._status = None
        span._live = True
        span._adopt(dict(attributes) if attributes is not None and type(attributes) is not dict else attributes)
        if links:
            self._adopt_links(span, links)
        span._start_time = time_ns() if start_time is None else start_time
        if self.observed:
            self._provider.on_start(span, context)

    def _adopt_links(self, span: Span, links: Sequence[Link]) -> None:
        for link in links:
            if link:
                span.add_link(link.context, link.attributes)

    def end_observed(self, span: Span, end_time: int) -> None:
        """End a span that processors or counters look at."""
        self._provider.end_observed(span, end_time)


def _span_context(above: Any) -> SpanContext | None:
    """Return the valid context of a span that may be anyone's."""
    if not isinstance(above, trace_api.Span):
        return None
    context: Any = above.get_span_context()
    if context is not None and not isinstance(context, SpanContext):
        raise TypeError("parent_span_context must be a SpanContext or None.")
    return context if context is not None and context.is_valid else None


def _limit(value: int | None) -> int:
    return UNLIMITED if value is None else value
