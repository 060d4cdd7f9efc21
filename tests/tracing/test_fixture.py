# SPDX-License-Identifier: Apache-2.0
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_openstack import tracing


def test_spans_are_seen_by_value(telemetry):
    operation = tracing.root("tests", "GET /", SpanKind.SERVER, {"a": 1})
    tracing.child("tests", "call", SpanKind.CLIENT, {}).finish("503")
    operation.finish()
    root, call = telemetry.span("GET /"), telemetry.span("call")
    assert (call.parent, call.trace_id) == (root.span_id, root.trace_id)
    assert (call.status, call.attributes, call.kind) == ("ERROR", {"error.type": "503"}, "CLIENT")
    assert (root.status, root.attributes, root.parent) == ("UNSET", {"a": 1}, None)


def test_every_test_has_its_own_provider(telemetry):
    assert trace.get_tracer_provider() is telemetry.provider
    assert telemetry.spans() == []


def test_clear_forgets(telemetry):
    tracing.root("tests", "x", SpanKind.INTERNAL).finish()
    assert len(telemetry.spans()) == 1
    telemetry.clear()
    assert telemetry.spans() == []
