# SPDX-License-Identifier: Apache-2.0
"""What is written and read directly is what OpenTelemetry's own propagators write and read."""

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_openstack import tracing
from otel_openstack.tracing import TracerProvider, propagators
from otel_openstack.tracing.operations import OWN_KEYS

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0x00F067AA0BA902B7


def _in_context(span, above=None):
    return trace.set_span_in_context(span, above if above is not None else Context())


def _remote(flags=1, state=None, trace_id=TRACE, span_id=SPAN):
    return NonRecordingSpan(
        SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state)
    )


CONTEXTS = {
    "recording": lambda: _in_context(TracerProvider(sampling.ALWAYS_ON).get_tracer("t").start_span("a")),
    "sampled out": lambda: _in_context(TracerProvider(sampling.ALWAYS_OFF).get_tracer("t").start_span("a")),
    "with baggage": lambda: baggage.set_baggage("project", "a b", _in_context(_remote())),
    "with a state": lambda: _in_context(_remote(state=TraceState([("vendor", "x"), ("other", "y")]))),
    "unusual flags": lambda: _in_context(_remote(flags=0xA3)),
    "small ids": lambda: _in_context(_remote(trace_id=1, span_id=2)),
    "below a remote one with a state": lambda: _in_context(
        TracerProvider(sampling.ALWAYS_ON)
        .get_tracer("t")
        .start_span("a", _in_context(_remote(state=TraceState([("vendor", "x")]))))
    ),
    "invalid": lambda: _in_context(trace.INVALID_SPAN),
    "a foreign span": lambda: _in_context(type("Mine", (NonRecordingSpan,), {})(_remote().get_span_context())),
}


@pytest.mark.parametrize("case", CONTEXTS)
def test_headers_are_those_of_the_propagators(case):
    context, ours, theirs = CONTEXTS[case](), {}, {}
    propagators.inject(ours, context, OWN_KEYS)
    propagate.inject(theirs, context=context)
    assert ours == theirs
    assert bool(theirs) is (case != "invalid")


HEX = f"{TRACE:032x}-{SPAN:016x}"
USUAL = (f"00-{HEX}-01", f"00-{HEX}-00", f"00-{HEX}-ff")


@pytest.mark.parametrize(
    "header",
    [
        *USUAL,
        f"00-{HEX}-01-more",
        f"01-{HEX}-01",
        f"ff-{HEX}-01",
        f" 00-{HEX}-01",
        f"00-{HEX.upper()}-01",
        f"00-{0:032x}-{SPAN:016x}-01",
        f"00-{TRACE:032x}-{0:016x}-01",
        f"00-{HEX}-1",
        f"00-{HEX}-01\n",
        "",
    ],
)
def test_a_parent_is_read_as_by_the_propagators(header):
    theirs = propagate.extract({"traceparent": header}, Context())
    ours = propagators.alone({"traceparent": header})
    assert (ours is None) is (header not in USUAL)
    if ours is not None:
        assert trace.get_current_span(ours).get_span_context() == trace.get_current_span(theirs).get_span_context()
        assert list(map(type, ours.values())) == list(map(type, theirs.values()))


def test_other_propagators_are_asked(monkeypatch):
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator([TraceContextTextMapPropagator()]))
    context, headers = CONTEXTS["with baggage"](), {}
    propagators.inject(headers, context, OWN_KEYS)
    assert set(headers) == {"traceparent"}
    assert not propagators.usual()
    monkeypatch.undo()
    propagators.inject(headers, context, OWN_KEYS)
    assert headers["baggage"] == "project=a+b"


def test_an_operation_writes_its_own_ids():
    headers = {}
    operation = tracing.root("t", "work", SpanKind.SERVER, carrier={"traceparent": f"00-{HEX}-01"})
    try:
        operation.carrier_inject(headers)
    finally:
        operation.finish()
    ids = operation.span.get_span_context()
    assert headers == {"traceparent": f"00-{TRACE:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"}
