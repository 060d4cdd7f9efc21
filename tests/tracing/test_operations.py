# SPDX-License-Identifier: Apache-2.0
import threading
from time import time_ns

import pytest
from opentelemetry import context as context_api
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind

from otel_openstack import settings, tracing
from otel_openstack.exporters.accounting import account
from otel_openstack.testing import recording
from otel_openstack.tracing import background
from otel_openstack.tracing.queue import Nowhere

HEADERS = {"traceparent": "00-000000000000000000000000000000ab-00000000000000cd-01"}


def test_a_root_takes_its_parent_from_the_carrier_only(telemetry):
    outer = tracing.root("t", "outer", SpanKind.SERVER)
    tracing.root("t", "told", SpanKind.SERVER, {}, HEADERS).finish()
    tracing.root("t", "new", SpanKind.INTERNAL).finish()
    outer.finish()
    told, new = telemetry.span("told"), telemetry.span("new")
    assert (told.trace_id, told.parent, told.parent_is_remote) == (0xAB, 0xCD, True)
    assert new.parent is None
    assert new.trace_id != telemetry.span("outer").trace_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_totals_are_written_at_the_end_and_only_what_is_not_zero(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER)
    running = tracing.totals()
    assert running is operation.totals
    running.add_db(0.25, "SELECT a")
    running.add_db(0.5, "SELECT b")
    running.add_cache(0.125)
    operation.finish()
    assert telemetry.span("x").attributes == {
        "openstack.db.calls": 2,
        "openstack.db.duration": 0.75,
        "openstack.db.slowest.duration": 0.5,
        "openstack.db.slowest.summary": "SELECT b",
        "openstack.cache.calls": 1,
        "openstack.cache.duration": 0.125,
    }
    assert tracing.totals() is None


def test_finishing_twice_counts_once(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER)
    assert operation.finish() > 0
    assert operation.finish("500") == 0
    assert telemetry.span("x").status == "UNSET"


def test_an_error_leaves_type_and_scrubbed_message_without_traceback(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER)
    operation.finish(ValueError("bad\n[SQL: SELECT secret]\n[parameters: ('secret',)]"))
    span = telemetry.span("x")
    assert (span.status, span.attributes["error.type"], span.description) == ("ERROR", "ValueError", "bad")
    assert [event.attributes for event in span.events] == [{"exception.type": "ValueError", "exception.message": "bad"}]


def test_a_loose_call_gets_a_root(telemetry):
    tracing.child("t", "call", SpanKind.CLIENT).finish()
    root = next(span for span in telemetry.spans() if span.parent is None)
    assert root.name.startswith("startup ")
    assert telemetry.span("call").parent == root.span_id
    background.mark_serving()
    thread = threading.Thread(target=lambda: tracing.leaf("t", "leaf", SpanKind.CLIENT, {}, 5, 9), name="Poller-12")
    thread.start()
    thread.join()
    outer, leaf = telemetry.span("background Poller"), telemetry.span("leaf")
    assert (leaf.parent, leaf.start, leaf.end) == (outer.span_id, 5, 9)
    assert (outer.start, outer.end) == (5, 9)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ThreadPoolExecutor-0_1", "ThreadPoolExecutor"),
        ("worker 7d44fc2a-5b3c-4e9a-9a50-1f2e3d4c5b6a", "worker"),
        ("12", "thread"),
    ],
)
def test_thread_names_lose_what_varies(name, expected):
    assert background.normalise(name) == expected


def test_suppressed_instrumentation_is_respected(telemetry):
    token = context_api.attach(context_api.set_value("suppress_instrumentation", True))
    try:
        tracing.child("t", "call", SpanKind.CLIENT).finish()
        tracing.leaf("t", "leaf", SpanKind.CLIENT, {}, 1, 2)
    finally:
        context_api.detach(token)
    assert telemetry.spans() == []


def test_a_streaming_body_ends_on_another_thread(telemetry):
    operation = tracing.root("t", "GET /", SpanKind.SERVER)
    operation.detach()
    assert trace.get_current_span() is trace.INVALID_SPAN

    def body():
        operation.attach()
        tracing.child("t", "in body", SpanKind.CLIENT).finish()
        operation.finish()
        assert trace.get_current_span() is trace.INVALID_SPAN

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert telemetry.span("in body").parent == telemetry.span("GET /").span_id


def test_the_context_travels(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER, {}, HEADERS)
    carrier = {}
    operation.carrier_inject(carrier)
    operation.finish()
    parent = trace.get_current_span(propagate.extract(carrier)).get_span_context()
    assert (parent.trace_id, parent.span_id) == (0xAB, telemetry.span("x").span_id)


def test_a_task_of_a_running_request_adds_to_its_totals(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER)
    captured = tracing.capture()
    thread = threading.Thread(target=captured.run, args=(lambda: tracing.totals().add_db(1.0, "SELECT"),))
    thread.start()
    thread.join()
    operation.finish()
    assert [span.name for span in telemetry.spans()] == ["x"]
    assert telemetry.span("x").attributes["openstack.db.calls"] == 1


def late_work():
    tracing.totals().add_db(1.0, "SELECT late")


def test_a_task_that_outlives_its_request_leaves_one_span(telemetry):
    operation = tracing.root("t", "x", SpanKind.SERVER)
    captured = tracing.capture()
    operation.finish()
    captured.run(late_work)
    captured.run(len, ())
    captured.run(lambda: tracing.totals().add_rpc(0.1))  # a call that is a span itself
    task, root = telemetry.span("task late_work"), telemetry.span("x")
    assert (task.parent, task.trace_id) == (root.span_id, root.trace_id)
    assert task.attributes["openstack.db.calls"] == 1
    assert len(telemetry.spans()) == 2


def test_a_task_of_a_cast_is_a_span_at_once(telemetry):
    operation = tracing.root("t", "process m", SpanKind.CONSUMER)
    captured = tracing.capture()
    operation.finish()

    def build():
        tracing.child("t", "call", SpanKind.CLIENT).finish()
        raise LookupError("no")

    with pytest.raises(LookupError):
        captured.run(build)
    task = next(span for span in telemetry.spans() if span.name.startswith("task "))
    assert telemetry.span("call").parent == task.span_id
    assert task.parent == telemetry.span("process m").span_id
    assert (task.status, task.attributes["error.type"]) == ("ERROR", "LookupError")


def test_the_event_of_a_request_leaves_without_its_span():
    with recording(settings.Settings(strict=True, request_events=True)) as seen:
        for tracer in (seen.provider.get_tracer("t"),):
            tracer.sampler = ALWAYS_OFF
        seen.provider.sampler = ALWAYS_OFF
        operation = tracing.root("u", "GET /", SpanKind.SERVER, {"http.route": "/"}, HEADERS)
        assert tracing.totals() is operation.totals
        operation.set("status", 200)
        operation.totals.add_rpc(0.5)
        operation.totals.bytes_out = 7
        operation.finish("503", end_time_ns=time_ns())
        (event,) = seen.events()
        assert seen.spans() == []
    assert (event.name, event.trace_id) == ("openstack.request", 0xAB)
    duration = event.attributes.pop("openstack.request.duration")
    assert 0 <= duration < 5
    assert event.attributes == {
        "openstack.request.name": "GET /",
        "http.route": "/",
        "status": 200,
        "openstack.rpc.calls": 1,
        "openstack.rpc.duration": 0.5,
        "http.response.body.size": 7,
        "error.type": "503",
    }


def test_a_root_that_called_nothing_can_be_dropped(telemetry):
    operation = tracing.root("t", "idle", SpanKind.INTERNAL)
    assert trace.get_current_span().get_span_context().is_valid
    assert operation.discard()
    assert not operation.discard()
    assert operation.finish() == 0
    assert telemetry.spans() == []
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("current", [True, False])
def test_a_root_under_which_others_started_a_span_is_kept(telemetry, current):
    operation = tracing.root("t", "turn", SpanKind.INTERNAL)
    tracer = trace.get_tracer("someone's")
    if current:
        with tracer.start_as_current_span("foreign"):
            pass
    else:
        tracer.start_span("foreign").end()
    assert not operation.discard()
    operation.finish()
    assert telemetry.span("foreign").parent == telemetry.span("turn").span_id


def test_a_root_that_was_captured_for_a_task_is_kept(telemetry):
    operation = tracing.root("t", "turn", SpanKind.INTERNAL)
    captured = tracing.capture()
    assert not operation.discard()
    operation.finish()
    captured.run(late_work)
    assert telemetry.span("task late_work").parent == telemetry.span("turn").span_id


@pytest.mark.parametrize(
    ("sampler", "queue", "events", "asked"),
    [
        (ALWAYS_ON, None, False, True),
        (ALWAYS_OFF, None, False, False),
        (ALWAYS_OFF, None, True, True),
        (ALWAYS_ON, Nowhere(account("traces"), 0, int), False, False),
        (ALWAYS_ON, Nowhere(account("traces"), 0, int), True, True),
    ],
)
def test_a_root_is_described_only_if_somebody_reads_it(monkeypatch, sampler, queue, events, asked):
    with recording(settings.Settings(strict=True, request_events=events)):
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracing.TracerProvider(ParentBased(sampler), queue=queue))
        calls = []
        operation = tracing.root("t", "x", SpanKind.SERVER, describe=lambda: calls.append(1) or {"a": 1})
        child = tracing.child("t", "y", SpanKind.CLIENT, {"b": 2})
        carrier = {}
        child.carrier_inject(carrier)
        child.finish()
        operation.finish(attributes={"c": 3})
        assert (bool(calls), operation.described) == (asked, asked)
        assert carrier["traceparent"].endswith("-03" if sampler is ALWAYS_ON else "-02")
        if sampler is ALWAYS_ON and queue is None:
            assert operation.span.attributes == {"a": 1, "c": 3}
