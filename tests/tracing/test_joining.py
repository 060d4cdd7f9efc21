# SPDX-License-Identifier: Apache-2.0
"""A root that joins a trace afterwards: as if it had begun there, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor, sampling
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from otel_openstack import tracing
from otel_openstack.testing import Telemetry

TRACE, SPAN = 0xAB << 100, 0xCD
LINK = Link(SpanContext(TRACE, SPAN, is_remote=True, trace_flags=TraceFlags(1)))
SAMPLERS = {
    "always_on": sampling.ALWAYS_ON,
    "always_off": sampling.ALWAYS_OFF,
    "traceidratio 0": sampling.TraceIdRatioBased(0.0),
    "parentbased_always_on": sampling.DEFAULT_ON,
    "parentbased_traceidratio 0": sampling.ParentBasedTraceIdRatio(0.0),
}


def above(flag: int = 1) -> Context:
    headers = {"traceparent": f"00-{TRACE:032x}-{SPAN:016x}-0{flag}", "tracestate": "a=b", "baggage": "tenant=t"}
    return propagate.extract(headers, Context())


def begin() -> tracing.Operation:
    return tracing.root("t", "GET /a", SpanKind.SERVER, {"k": 1}, links=[LINK])


def join(root: tracing.Operation, flag: int = 1) -> bool:
    return tracing.join(root, "t", "GET /a", SpanKind.SERVER, {"k": 1}, above(flag))


@pytest.mark.parametrize(
    ("sampler", "flag", "recorded"),
    [
        ("always_on", 0, True),
        ("always_on", 1, True),
        ("always_off", 1, False),
        ("traceidratio 0", 1, False),
        ("parentbased_always_on", 0, False),  # begun recorded, joined to what is not
        ("parentbased_always_on", 1, True),
        ("parentbased_traceidratio 0", 0, False),
        ("parentbased_traceidratio 0", 1, True),  # begun as dropped
    ],
)
def test_the_sampler_decides_again(telemetry: Telemetry, sampler: str, flag: int, *, recorded: bool) -> None:
    telemetry.provider.sampler = SAMPLERS[sampler]
    root = begin()
    root.totals.add_cache(0.25)
    assert join(root, flag)
    assert trace.get_current_span() is root.span
    assert baggage.get_all() == {"tenant": "t"}
    headers: dict[str, str] = {}
    propagate.inject(headers)
    here = root.span.get_span_context()
    assert (here.trace_id, here.trace_flags & 1) == (TRACE, recorded)
    assert headers["traceparent"] == f"00-{TRACE:032x}-{here.span_id:016x}-{here.trace_flags:02x}"
    assert (headers["tracestate"], headers["baggage"]) == ("a=b", "tenant=t")
    assert tracing.totals() is root.totals
    tracing.child("t", "call", SpanKind.CLIENT).finish()
    duration = root.finish(attributes={"later": 2})
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert [span.name for span in telemetry.spans()] == (["call", "GET /a"] if recorded else [])
    if recorded:
        span = telemetry.span("GET /a")
        assert (span.trace_id, span.parent, span.parent_is_remote, span.links) == (TRACE, SPAN, True, ())
        assert span.attributes == {"k": 1, "later": 2, "openstack.cache.calls": 1, "openstack.cache.duration": 0.25}
        assert telemetry.span("call").parent == span.span_id
        assert (span.end - span.start) / 1e9 == pytest.approx(duration, abs=0.01)


def test_a_span_that_stays_recorded_stays_the_same_object(telemetry: Telemetry) -> None:
    root = begin()
    held = root.span
    held.set_attribute("early", 1)
    assert join(root)
    held.set_attribute("late", 2)
    root.finish()
    assert telemetry.span("GET /a").attributes == {"k": 1, "early": 1, "late": 2}


def derive(root: tracing.Operation) -> None:
    context_api.attach(context_api.set_value("x", 1))


SEEN: dict[str, Callable[[tracing.Operation], Any]] = {
    "a child": lambda root: tracing.child("t", "call", SpanKind.CLIENT).finish(),
    "a child of others": lambda root: trace.get_tracer("other").start_span("call").end(),
    "its ids": lambda root: root.span.get_span_context(),
    "a header": lambda root: root.carrier_inject({}),
    "a task": lambda root: tracing.capture(),
    "an event": lambda root: root.span.add_event("x"),
    "a status": lambda root: root.span.set_status(trace.StatusCode.ERROR),
    "a context derived": derive,
    "not current": lambda root: root.detach(),
    "its end": lambda root: root.finish(),
}


@pytest.mark.parametrize("seen", SEEN)
def test_what_somebody_has_seen_stays_as_it_is(telemetry: Telemetry, seen: str) -> None:
    root = begin()
    before = context_api.get_current()
    SEEN[seen](root)
    assert not join(root)
    assert "tenant" not in baggage.get_all()
    root.finish()
    span = telemetry.span("GET /a")
    assert (span.parent, [(link.trace_id, link.span_id) for link in span.links]) == (None, [(TRACE, SPAN)])
    assert span.trace_id != TRACE
    assert before.get("x") is None
    context_api.attach(Context())


class Own(sampling.StaticSampler):
    """A sampler whose rule is not known, so that it has to be called."""


def test_where_others_were_told_of_the_beginning(telemetry: Telemetry) -> None:
    telemetry.provider.add_span_processor(SpanProcessor())
    root = begin()
    assert not join(root)
    root.finish()


@pytest.mark.parametrize("decision", [sampling.Decision.RECORD_AND_SAMPLE, sampling.Decision.DROP])
def test_a_sampler_that_has_to_be_called(telemetry: Telemetry, decision: sampling.Decision) -> None:
    telemetry.provider.sampler = Own(decision)
    root = begin()
    assert not join(root)
    root.finish()
    assert [len(span.links) for span in telemetry.spans()] == ([1] if decision is not sampling.Decision.DROP else [])
