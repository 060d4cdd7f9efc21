# SPDX-License-Identifier: Apache-2.0
"""What leaves, decoded by the official protobuf classes, is what the SDK's own encoder would have sent."""

import base64
import json

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from otel_openstack.exporters.accounting import Account
from otel_openstack.tracing import TracerProvider, encoding, encoding_json, events
from otel_openstack.tracing.queue import Queue
from tests.tracing.strategies import attributes, plans, play

RESOURCE = Resource({"service.name": "nova-api", "process.pid": 4711, "ä": ("x", "y")}, "https://schema/resource")
many = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def provider(**limits):
    queue = Queue(Account("traces"), 2**30, lambda: None)
    return TracerProvider(ALWAYS_ON, RESOURCE, span_limits=SpanLimits(**limits), queue=queue)


def recorded(plans_, **limits):
    made = provider(**limits)
    tracers = [
        made.get_tracer("scope one", "1.2", "https://schema/one", {"scope": True, "n": (1, 2)}),
        made.get_tracer("scope two"),
    ]
    for number, plan in enumerate(plans_):
        play(tracers[number % 2], plan)
    return made.queue.take(2**20)


def nothing():
    pass


def stock(spans):
    return encode_spans([span._readable_span() for span in spans])


@many
@given(st.lists(plans, max_size=4))
def test_protobuf_equals_the_stock_encoder(drawn):
    spans = recorded(drawn)
    encoded = encoding.SpanEncoder().encode(spans, nothing)
    assert ExportTraceServiceRequest.FromString(encoded.payload) == stock(spans)
    assert (encoded.items, encoded.failed) == (len(drawn), 0)


@many
@given(st.lists(plans, max_size=3))
def test_protobuf_equals_the_stock_encoder_with_what_limits_drop(drawn):
    spans = recorded(
        drawn,
        max_span_attributes=3,
        max_events=1,
        max_links=1,
        max_event_attributes=2,
        max_link_attributes=1,
        max_attribute_length=5,
    )
    encoded = encoding.SpanEncoder().encode(spans, nothing)
    assert ExportTraceServiceRequest.FromString(encoded.payload) == stock(spans)


def as_message(payload, kind):
    """Read OTLP JSON, whose ids are hexadecimal, by protobuf's own JSON reader, whose bytes are base64."""

    def rewrite(node):
        if isinstance(node, list):
            return [rewrite(item) for item in node]
        if not isinstance(node, dict):
            return node
        made = {}
        for key, value in node.items():
            is_id = key in ("traceId", "spanId", "parentSpanId") and isinstance(value, str)
            made[key] = base64.b64encode(bytes.fromhex(value)).decode() if is_id else rewrite(value)
        return made

    return json_format.ParseDict(rewrite(json.loads(payload)), kind())


@many
@given(st.lists(plans, max_size=4))
def test_json_equals_the_stock_encoder(drawn):
    spans = recorded(drawn)
    encoded = encoding_json.SpanEncoder().encode(spans, nothing)
    assert b"\n" not in encoded.payload
    assert as_message(encoded.payload, ExportTraceServiceRequest) == stock(spans)


@many
@given(st.lists(plans, max_size=3))
def test_json_equals_the_stock_encoder_with_what_limits_drop(drawn):
    spans = recorded(drawn, max_span_attributes=3, max_events=1, max_links=1, max_event_attributes=2)
    encoded = encoding_json.SpanEncoder().encode(spans, nothing)
    assert as_message(encoded.payload, ExportTraceServiceRequest) == stock(spans)


def test_json_has_the_forms_that_otlp_asks_for():
    made = provider()
    span = made.get_tracer("s").start_span("n", kind=SpanKind.SERVER, attributes={"i": 2**60, "f": 1.5, "b": b"\x00"})
    span.end()
    (record,) = made.queue.take(1)
    document = json.loads(encoding_json.SpanEncoder().encode([record], nothing).payload)
    seen = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert seen["traceId"] == format(span.context.trace_id, "032x")
    assert seen["spanId"] == format(span.context.span_id, "016x")
    assert seen["kind"] == 2
    assert isinstance(seen["startTimeUnixNano"], str)
    assert [pair["value"] for pair in seen["attributes"]] == [
        {"intValue": str(2**60)},
        {"doubleValue": 1.5},
        {"bytesValue": "AA=="},
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_says_what_is_no_number_as_protobuf_does(value):
    made = provider()
    made.get_tracer("s").start_span("n", attributes={"f": value}).end()
    spans = made.queue.take(1)
    message = as_message(encoding_json.SpanEncoder().encode(spans, nothing).payload, ExportTraceServiceRequest)
    expected = ExportTraceServiceRequest.FromString(encoding.SpanEncoder().encode(spans, nothing).payload)
    assert str(message) == str(expected)


@pytest.mark.parametrize("form", [encoding, encoding_json])
def test_what_cannot_be_encoded_costs_itself_only(form):
    made = provider()
    tracer = made.get_tracer("s")
    tracer.start_span("no integer of 64 bits", attributes={"big": 2**64, "kept": "\ud800"}).end()
    tracer.start_span("no time", start_time="yesterday").end()
    encoded = form.SpanEncoder().encode(made.queue.take(9), nothing)
    read = as_message if form is encoding_json else (lambda payload, kind: kind.FromString(payload))
    (span,) = read(encoded.payload, ExportTraceServiceRequest).resource_spans[0].scope_spans[0].spans
    assert (encoded.items, encoded.failed) == (1, 1)
    assert [(pair.key, pair.value.string_value) for pair in span.attributes] == [("kept", "?")]


@pytest.mark.parametrize("form", [encoding, encoding_json])
def test_it_pauses_after_every_32(form):
    made = provider()
    for _ in range(70):
        made.get_tracer("s").start_span("x").end()
    pauses = []
    form.SpanEncoder().encode(made.queue.take(70), lambda: pauses.append(1))
    assert len(pauses) == 3


@pytest.mark.parametrize("form", [encoding, encoding_json])
def test_caches_are_bounded(form):
    made = provider()
    tracer = made.get_tracer("s")
    encoder = form.SpanEncoder()
    for number in range(3000):
        tracer.start_span(f"n{number}", attributes={f"k{number % 1500}": f"v{number}", "key": number}).end()
    encoder.encode(made.queue.take(4000), nothing)
    assert len(encoder._attributes._keys) <= 1024
    known = encoder._attributes._keys["key"]
    assert len(known[1] if isinstance(known, tuple) else known.integers) <= 256
    assert len(getattr(encoder, "_names", ())) <= 1024


def log_events(drawn):
    context = SpanContext(0x1234 << 64, 0x77, is_remote=False, trace_flags=TraceFlags(1))
    return [events.LogEvent("openstack.request", 10**18 + n, given_, context) for n, given_ in enumerate(drawn)]


def stock_logs(made):
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    records = []
    for event in made:
        span_context = SpanContext(event.trace_id, event.span_id, is_remote=False, trace_flags=TraceFlags(event.flags))
        record = LogRecord(
            timestamp=event.time,
            observed_timestamp=event.time,
            context=set_span_in_context(NonRecordingSpan(span_context)),
            severity_number=SeverityNumber.INFO,
            attributes=event.attributes,
            event_name=event.name,
        )
        records.append(ReadableLogRecord(record, RESOURCE, InstrumentationScope(events.SCOPE)))
    message = encode_logs(records)
    for resource in message.resource_logs:
        for scope in resource.scope_logs:
            for item in scope.log_records:
                item.ClearField("body")
    return message


@settings(max_examples=25, deadline=None)
@given(st.lists(attributes, min_size=1, max_size=3))
def test_events_equal_the_stock_encoder(drawn):
    made = log_events(drawn)
    encoded = encoding.LogEncoder(lambda: RESOURCE).encode(made, nothing)
    expected = stock_logs(made)
    expected.resource_logs[0].schema_url = "https://schema/resource"
    assert ExportLogsServiceRequest.FromString(encoded.payload) == expected
    as_json = encoding_json.LogEncoder(lambda: RESOURCE).encode(made, nothing)
    assert as_message(as_json.payload, ExportLogsServiceRequest) == expected
