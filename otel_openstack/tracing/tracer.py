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
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from otel_openstack.runtime import switch
from otel_openstack.runtime.process import ensure
from otel_openstack.tracing import ids, inbound, sampling
from otel_openstack.tracing.api_seam import SPAN_KEY, active, get_context, set_context
from otel_openstack.tracing.attributes import SHORT
from otel_openstack.tracing.queue import Nowhere
from otel_openstack.tracing.span import (
    DROP,
    DROPPED,
    ENTERED,
    FLAGS,
    NO_STATE,
    RANDOM_ONLY,
    SAMPLED_RANDOM,
    USUAL,
    CurrentSpan,
    Dropped,
    Given,
    Span,
    set_item,
)

if TYPE_CHECKING:
    from otel_openstack.tracing.provider import TracerProvider

SAMPLED = 1
RANDOM = 2
UNLIMITED = sys.maxsize
DIRECT = active.name == "private"  # the parts of a SpanContext are known, and need not be asked for one by one


class Tracer(sdk.Tracer):
    """See `opentelemetry.trace.Tracer`. Made by `TracerProvider.get_tracer`.

    observed: span processors exist, or the SDK's own span metrics are on: every span is shown to them.
    most: limit of the number of attributes, `sys.maxsize` for none.
    short: a text up to this length is within every limit and needs no weighing.
    put: takes a finished sampled span.
    plain, bound: nothing needs to be called: a child follows its parent, a root is sampled below the bound.
    every: the bound is above every id.
    silent: nobody is called when a span begins, so one may be begun again.
    kept: what ends goes to a queue, so that somebody will read it.
    """

    # What is read for every span: from a slot that takes half as long.
    __slots__ = ("bound", "every", "kept", "most", "observed", "plain", "queue", "short", "silent")

    def __init__(self, made_by_sdk: sdk.Tracer, provider: TracerProvider) -> None:
        """Take over what the SDK prepared, whatever it is in its version, and decide with our own rules."""
        vars(self).update({k: v for k, v in vars(made_by_sdk).items() if k not in ("resource", "sampler")})
        self._sdk = made_by_sdk
        self._provider = provider
        self.scope: InstrumentationScope = made_by_sdk._instrumentation_scope
        self.limits = provider.limits
        self.most = _limit(self.limits.max_span_attributes)
        self.short = min(SHORT, _limit(self.limits.max_span_attribute_length))
        self.queue = provider.queue
        self.put = provider.queue.put
        self._own_ids = type(provider.id_generator) in (RandomIdGenerator, ids.ProcessIdGenerator)
        self._id_generator: IdGenerator = provider.id_generator
        self.sampler = provider.sampler

    @property
    def resource(self) -> Resource:  # type: ignore[override]
        """The resource of this process, which a fork or a service's configuration may change."""
        return self._provider.resource

    @property
    def sampler(self) -> Sampler:
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._rule = sampling.recognise(sampler)
        self.refresh()

    def refresh(self) -> None:
        """Take notice of processors that were added and of the tracer's configuration."""
        self._off = self._provider.paused or not self._sdk._is_enabled()
        counted = type(self._tracer_metrics).__name__ != "NoOpTracerMetrics"
        self._metrics = self._tracer_metrics if counted else None
        self.observed = counted or self._provider.has_processors
        rule = self._rule
        self._simple = rule is not None and self._own_ids and not self._off and not counted
        self._parent_based, self.bound = rule or (False, 0)
        self.every = self.bound >= sampling.EVERY_ID
        self.silent = self._simple and not self.observed
        self.plain = self.silent and self._parent_based
        self.kept = self.observed or type(self.queue) is not Nowhere

    # -- the API -------------------------------------------------------------------------------------------------------

    def start_as_current_span(
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
        span = CurrentSpan()
        span._tracer = self
        span._name = name
        span._kind = kind
        span._attributes = attributes  # taken over when entered
        if (
            context is None
            and not links
            and start_time is None
            and record_exception
            and set_status_on_exception
            and end_on_exit
        ):
            span._given = USUAL
        else:
            span._depth = 0
            span._given = Given(context, links, start_time, record_exception, set_status_on_exception, end_on_exit)
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
        above: Any = (get_context() if context is None else context).get(SPAN_KEY)
        usual = record_exception and set_status_on_exception
        if self.plain and usual and not links:
            kind_above = type(above)
            if (kind_above is Span or kind_above is CurrentSpan) and above._trace[1] & SAMPLED:
                above._used = True
                trace, parent = above._trace, above._span_id
            else:
                trace, parent = self.decide_plainly(above)
            if parent is DROP:
                return drop(trace)
            if trace is not None:
                span: Span = Span()
                span._tracer = self
                span._name = name
                span._kind = kind
                span._trace = trace
                span._parent = parent
                span._given = span._extra = span._end_time = None
                span._span_id = next(ids.numbers, 0) or ids.more()
                span._adopt(attributes, self)
                span._start_time = time_ns() if start_time is None else start_time
                return span
        span = Span()
        span._tracer = self
        span._name = name
        span._kind = kind
        span._given = None if usual else Given(None, None, None, record_exception, set_status_on_exception)
        return self._begin(span, above, context, attributes, links, start_time)

    def decide_plainly(self, above: Any) -> tuple[Any, Any]:
        """Return trace and parent for a span under `above`, by a rule that follows parents; no trace: not a plain case.

        With `DROP` for the parent the span is not sampled, and the trace is what it belongs to all the same.
        """
        if above is None:
            ensure()
            trace_id = ids.bits(128) or 1
            if self.every or trace_id & sampling.LOW_BITS < self.bound:
                return (trace_id, SAMPLED_RANDOM, NO_STATE), None
            return (trace_id, RANDOM_ONLY, NO_STATE), DROP
        kind = type(above)
        if kind is Span or kind is CurrentSpan:
            trace = above._trace
            if trace[1] & SAMPLED:
                above._used = True
                return trace, above._span_id
        elif kind is Dropped:
            return above._trace, DROP
        elif kind is NonRecordingSpan and DIRECT:
            found = above.get_span_context()
            if type(found) is SpanContext:
                trace_id, _, _, flags, state, valid = found
                if valid and state is NO_STATE:
                    trace = (trace_id, FLAGS[flags & (SAMPLED | RANDOM)], state)
                    return (trace, found) if flags & SAMPLED else (trace, DROP)
        return None, None

    def enter(self, span: CurrentSpan) -> trace_api.Span:
        """Start `span` from the arguments that it holds, and make it current: whatever is not the plain case."""
        given = span._given
        if given is None:  # `with` on the span that an outer plain `with` started
            given = span._given = ENTERED
            span._depth = 1
        elif given is USUAL:
            given = span._given = ENTERED
            span._depth = 0
        elif given is DROPPED:
            given = span._given = ENTERED
            span._depth = 1
            span._span_id = 0
        span._depth += 1
        if span._depth > 1:
            return span
        current = get_context()
        above = (current if given.context is None else given.context).get(SPAN_KEY)
        made = self._begin(span, above, given.context, span._attributes, given.links, given.start_time)
        if made is not span:
            span._span_id = 0
        following = Context(current)
        set_item(following, SPAN_KEY, made)
        span._token = set_context(following)
        return made

    def _begin(
        self,
        span: Span,
        above: Any,
        context: Context | None,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
        start_time: int | None,
    ) -> trace_api.Span:
        """Decide, and fill the rest of `span`; or return a span that records nothing."""
        counted = None
        dropped: trace_api.Span | None
        if self._simple:
            dropped = self._decide(span, above)
        else:
            refused, attributes, counted = self._decide_by_calling(span, above, context, attributes, links)
            dropped = None if refused is None else NonRecordingSpan(refused)
        if dropped is not None:
            return dropped
        span._extra = span._end_time = None
        span._adopt(attributes, self)
        if links:
            for link in links:
                if link:
                    span.add_link(link.context, link.attributes)
        span._start_time = time_ns() if start_time is None else start_time
        if self.observed:
            self._provider.on_start(span, context, counted)
        return span

    # -- how it decides ------------------------------------------------------------------------------------------------

    def _decide(self, span: Span, above: Any) -> trace_api.Span | None:
        """Give `span` its ids by a rule that needs no call; returns what stands in for a dropped one instead."""
        kind = type(above)
        parent: int | SpanContext | None
        if kind is Span or kind is CurrentSpan:
            parent = above._span_id
            trace_id, flags, state = trace = above._trace
            if self._parent_based and flags & SAMPLED:
                above._used = True
                span._trace = trace
                span._parent = parent
                span._span_id = next(ids.numbers, 0) or ids.more()
                return None
            above._used = True
            parent = above.get_span_context()  # its flags may differ from ours
        else:
            parent = None if above is None else _span_context(above)
            if parent is None:
                ensure()
                trace_id, flags, state = ids.bits(128) or 1, FLAGS[RANDOM], NO_STATE
            else:
                trace_id, flags, state = parent.trace_id, parent.trace_flags, parent.trace_state
                if state is not NO_STATE and parent.is_remote:
                    state = inbound.compact(state)
                    parent = SpanContext(trace_id, parent.span_id, is_remote=True, trace_flags=flags, trace_state=state)
        if parent is None or not self._parent_based:
            sampled = (trace_id & sampling.LOW_BITS) < self.bound
            flags = FLAGS[sampled | (flags & RANDOM)]
        else:
            flags = FLAGS[flags & (SAMPLED | RANDOM)]
        if not flags & SAMPLED:
            return drop((trace_id, flags, state))
        span._trace = (trace_id, flags, state)
        span._parent = parent
        span._span_id = next(ids.numbers, 0) or ids.more()
        return None

    def _decide_by_calling(
        self,
        span: Span,
        above: Any,
        context: Context | None,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
    ) -> tuple[SpanContext | None, Mapping[str, Any] | None, Any]:
        """Decide as the SDK does, with its own arguments: a sampler, id generator or counter that is not ours.

        Returns the context of a dropped span or None, the attributes that the sampler wants, and what to call at the
        end for the SDK's own metrics.
        """
        parent = None if above is None else _span_context(above)
        if isinstance(above, Span):
            above.mark_used()
        if self._off and self._provider.paused:
            switch.look()
        if self._off:
            return parent or trace_api.INVALID_SPAN_CONTEXT, None, None
        generator = self._id_generator
        if parent is None:
            ensure()
            trace_id = ids.bits(128) or 1 if self._own_ids else generator.generate_trace_id()
            random = self._own_ids or generator.is_trace_id_random()
        else:
            trace_id = parent.trace_id
            random = bool(parent.trace_flags & RANDOM)
        result = self._sampler.should_sample(context, trace_id, span._name, span._kind, attributes, links or ())
        flags = FLAGS[(SAMPLED if result.decision is Decision.RECORD_AND_SAMPLE else 0) | (RANDOM if random else 0)]
        state = result.trace_state if result.trace_state is not None else NO_STATE
        span_id = next(ids.numbers, 0) or ids.more() if self._own_ids else generator.generate_span_id()
        counted = self._metrics.start_span(parent, result.decision) if self._metrics else None
        if result.decision is Decision.DROP:
            return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state), None, None
        span._trace, span._parent, span._span_id = (trace_id, flags, state), parent, span_id
        wanted = result.attributes
        return None, dict(wanted) if wanted is not None else None, counted

    def end_observed(self, span: Span) -> None:
        """Show an ended span to the processors and counters."""
        self._provider.end_observed(span)


def drop(trace: tuple[int, TraceFlags, TraceState]) -> Dropped:
    """Return a span of `trace` that records nothing."""
    dropped: Dropped = Dropped()
    dropped._trace = trace
    dropped._span_id = next(ids.numbers, 0) or ids.more()
    return dropped


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
