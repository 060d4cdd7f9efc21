# SPDX-License-Identifier: Apache-2.0
"""Whatever the ecosystem does with a span comes out as the SDK's own spans would."""

import asyncio
import logging
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from otel_openstack.exporters.accounting import Account
from otel_openstack.tracing import TracerProvider
from otel_openstack.tracing.attributes import weigh, weigh_text
from otel_openstack.tracing.queue import Queue
from otel_openstack.tracing.span import PART_WEIGHT, SPAN_WEIGHT
from tests.tracing.strategies import plans, play

REMOTE = SpanContext(0xAB << 64, 0xCD, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("v", "1")]))


def provider(sampler=sampling.DEFAULT_ON, **others):
    queue = Queue(Account("traces"), 2**30, lambda: None)
    return TracerProvider(sampler, queue=queue, **others)


def under(context):
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


def shown(span):
    """Return everything that a processor could read, ids of the span itself aside."""
    return (
        span.name,
        span.kind,
        span.parent,
        dict(span.attributes),
        list(span.attributes),
        [(e.name, e.timestamp, dict(e.attributes or {}), e.dropped_attributes) for e in span.events],
        [(k.context, dict(k.attributes or {}), k.dropped_attributes) for k in span.links],
        (span.status.status_code, span.status.description),
        (span.start_time, span.end_time),
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
    )


LIMITS = {"max_span_attributes": 3, "max_events": 1, "max_links": 1, "max_event_attributes": 2}


@settings(max_examples=60, deadline=None)
@given(plans)
@pytest.mark.parametrize("limits", [{}, LIMITS, {"max_attribute_length": 4}, {"max_span_attributes": 0}])
def test_random_calls_give_the_span_of_the_sdk(limits, plan):
    ours = provider(sampling.ALWAYS_ON, span_limits=sdk.SpanLimits(**limits))
    theirs = sdk.TracerProvider(sampling.ALWAYS_ON, span_limits=sdk.SpanLimits(**limits), shutdown_on_exit=False)
    mine = play(ours.get_tracer("s"), plan)
    assert shown(mine) == shown(play(theirs.get_tracer("s"), plan))
    assert shown(mine._readable_span()) == shown(mine)
    parts = [*mine.events, *mine.links]
    held = weigh(mine._attributes) + sum(PART_WEIGHT + weigh(part.attributes or {}) for part in parts)
    held += sum(weigh(link.context.trace_state) for link in mine.links) + weigh_text(mine.status.description)
    assert mine._weight == SPAN_WEIGHT + held, "the queue's bound holds for what the span holds at its end"


@pytest.mark.parametrize("text", ["x" * 10, "x" * 1000])
def test_what_is_replaced_or_pushed_out_weighs_nothing(text):
    ours = provider(sampling.ALWAYS_ON, span_limits=sdk.SpanLimits(max_span_attributes=2))
    span = ours.get_tracer("s").start_span("n", attributes={"a": text})
    for key in ("a", "a", "b", "c", "d", "d"):
        span.set_attribute(key, text)
    span.end()
    assert dict(span.attributes) == {"c": text, "d": text}
    assert span._weight == SPAN_WEIGHT + weigh(span._attributes)


@pytest.mark.parametrize("parent", [None, REMOTE, SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))])
@pytest.mark.parametrize(
    "sampler",
    [
        sampling.ALWAYS_ON,
        sampling.ALWAYS_OFF,
        sampling.DEFAULT_ON,
        sampling.DEFAULT_OFF,
        sampling.ParentBasedTraceIdRatio(0.5),
        sampling.TraceIdRatioBased(0.5),
        sampling.ParentBased(sampling.ALWAYS_ON, remote_parent_not_sampled=sampling.ALWAYS_ON),
        sampling.AlwaysRecordSampler(sampling.ALWAYS_OFF),
    ],
    ids=lambda sampler: sampler.get_description()[:40],
)
def test_samplers_decide_as_in_the_sdk(sampler, parent):
    ids = Fixed()
    context = Context() if parent is None else under(parent)
    results = []
    for made in (provider(sampler, id_generator=ids), sdk.TracerProvider(sampler, id_generator=ids)):
        ids.last = 0
        tracer = made.get_tracer("s")
        for _ in range(8):
            span = tracer.start_span("x", context)
            child = tracer.start_span("y", trace.set_span_in_context(span, Context()))
            results.append([(s.is_recording(), s.get_span_context()) for s in (span, child)])
        made.shutdown()
    assert results[:8] == results[8:]


@pytest.mark.parametrize("parent", [None, REMOTE, SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))])
@pytest.mark.parametrize("sampler", [sampling.ALWAYS_ON, sampling.DEFAULT_OFF, sampling.DEFAULT_ON])
def test_the_rule_for_a_known_sampler_decides_as_the_sampler(sampler, parent):
    context = Context() if parent is None else under(parent)
    span = provider(sampler).get_tracer("s").start_span("x", context)
    theirs = sdk.TracerProvider(sampler, shutdown_on_exit=False).get_tracer("s").start_span("x", context)
    mine, other = span.get_span_context(), theirs.get_span_context()
    assert (span.is_recording(), mine.trace_flags, mine.trace_state) == (
        theirs.is_recording(),
        other.trace_flags,
        other.trace_state,
    )
    assert mine.is_valid
    assert parent is None or mine.trace_id == parent.trace_id


@pytest.mark.parametrize("current", [True, False])
def test_the_share_of_sampled_roots(current):
    tracer = provider(sampling.ParentBasedTraceIdRatio(0.5)).get_tracer("s")
    recorded = 0
    for _ in range(2000):
        if current:
            with tracer.start_as_current_span("x") as span:
                recorded += span.is_recording()
        else:
            recorded += tracer.start_span("x").is_recording()
    assert 850 < recorded < 1150  # six standard deviations and more; twice drawn, it would be 1500


class Fixed(IdGenerator):
    """Ids that count."""

    last = 0

    def generate_span_id(self):
        self.last += 1
        return self.last

    def generate_trace_id(self):
        self.last += 1
        return self.last << 62


class Curious(sampling.Sampler):
    """Notes its arguments, adds an attribute and a tracestate."""

    def __init__(self):
        self.calls = []

    def should_sample(self, *arguments, **others):
        self.calls.append((arguments, others))
        state = TraceState([("by", "sampler")])
        return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE, {"added": 1}, state)

    def get_description(self):
        return "curious"


def test_another_sampler_is_called_with_the_arguments_of_the_sdk():
    mine, theirs = Curious(), Curious()
    context = under(REMOTE)
    span = provider(mine).get_tracer("s").start_span("n", context, SpanKind.CLIENT, {"a": 1})
    sdk.TracerProvider(theirs, shutdown_on_exit=False).get_tracer("s").start_span(
        "n", context, SpanKind.CLIENT, {"a": 1}
    )
    assert mine.calls == theirs.calls
    assert dict(span.attributes) == {"added": 1}
    assert span.get_span_context().trace_state["by"] == "sampler"


def test_a_dropped_span_is_current_and_hands_on_its_trace():
    tracer = provider(sampling.ALWAYS_OFF).get_tracer("s")
    with tracer.start_as_current_span("x", under(REMOTE)) as span:
        assert trace.get_current_span() is span
        assert isinstance(span, NonRecordingSpan)
        carrier = {}
        propagate.inject(carrier)
    assert carrier["traceparent"].endswith("-00")
    assert (format(REMOTE.trace_id, "032x") in carrier["traceparent"], carrier["tracestate"]) == (True, "v=1")
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_children_of_ours_and_of_the_sdk_mix():
    ours = provider()
    theirs = sdk.TracerProvider(shutdown_on_exit=False)
    with ours.get_tracer("a").start_as_current_span("1") as one:
        with theirs.get_tracer("b").start_as_current_span("2") as two:
            with ours.get_tracer("c").start_as_current_span("3") as three:
                pass
    assert two.parent == one.get_span_context()
    assert three.parent == two.get_span_context()
    assert isinstance(one, sdk.Span)
    assert isinstance(one, sdk.ReadableSpan)
    assert isinstance(ours, sdk.TracerProvider)


def test_the_rest_of_the_context_stays():
    tracer = provider().get_tracer("s")
    from opentelemetry import context

    token = context.attach(baggage.set_baggage("k", "v", Context()))
    try:
        with tracer.start_as_current_span("x"):
            assert baggage.get_baggage("k") == "v"
    finally:
        context.detach(token)


def test_a_decorator_makes_one_span_a_call():
    made = provider()
    tracer = made.get_tracer("s")

    @tracer.start_as_current_span("sync", kind=SpanKind.CLIENT, attributes={"a": 1})
    def plain(value):
        return value, trace.get_current_span().name

    @tracer.start_as_current_span("async", record_exception=False)
    async def coroutine():
        await asyncio.sleep(0)
        return trace.get_current_span().name

    assert not made.queue.take(9)
    assert (plain(1), plain(2)) == ((1, "sync"), (2, "sync"))
    assert asyncio.run(coroutine()) == "async"
    spans = made.queue.take(9)
    assert [(s.name, s.kind, dict(s.attributes)) for s in spans] == [
        ("sync", SpanKind.CLIENT, {"a": 1}),
        ("sync", SpanKind.CLIENT, {"a": 1}),
        ("async", SpanKind.INTERNAL, {}),
    ]
    assert len({s.get_span_context().trace_id for s in spans}) == 3


@pytest.mark.parametrize("options", [{}, {"record_exception": False}, {"set_status_on_exception": False}])
def test_an_error_in_the_block_is_noted_as_by_the_sdk(options):
    results = []
    for made in (provider(), sdk.TracerProvider(shutdown_on_exit=False)):
        with pytest.raises(ZeroDivisionError):
            with made.get_tracer("s").start_as_current_span("x", **options) as span:
                raise ZeroDivisionError("by zero")
        attributes = [{k: v for k, v in e.attributes.items() if k != "exception.stacktrace"} for e in span.events]
        results.append((span.status.status_code, span.status.description, attributes, span.is_recording()))
    assert results[0] == results[1]


def test_leaving_by_a_generator_exit_is_no_error():
    made = provider()
    with pytest.raises(GeneratorExit):
        with made.get_tracer("s").start_as_current_span("x"):
            raise GeneratorExit
    (span,) = made.queue.take(2)
    assert (span.events, span.status.status_code) == ((), StatusCode.UNSET)


def test_end_on_exit_and_nested_with():
    made = provider()
    with made.get_tracer("s").start_as_current_span("x", end_on_exit=False) as span:
        pass
    assert span.is_recording()
    with span:
        assert trace.get_current_span() is not span
    assert not span.is_recording()
    assert len(made.queue.take(9)) == 1


def test_use_span():
    made = provider()
    span = made.get_tracer("s").start_span("x")
    with trace.use_span(span, end_on_exit=True):
        assert trace.get_current_span() is span
    assert [s.name for s in made.queue.take(2)] == ["x"]


def test_after_the_end_nothing_changes_and_each_try_warns(caplog):
    made = provider()
    span = made.get_tracer("s").start_span("x")
    span.end(5)
    with caplog.at_level(logging.WARNING):
        span.set_attribute("a", 1)
        span.set_attributes({"a": 1})
        span.add_event("e")
        span.add_link(REMOTE)
        span.update_name("y")
        span.set_status(StatusCode.ERROR)
        span.record_exception(ValueError())
        span.end()
    assert len(caplog.records) == 8
    assert (dict(span.attributes), span.events, span.links, span.name, span.end_time) == ({}, (), (), "x", 5)
    assert len(made.queue.take(9)) == 1


def test_two_threads_that_end_a_span_queue_it_once():
    made = provider()
    for _ in range(200):
        span = made.get_tracer("s").start_span("x")
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=lambda s=span, b=barrier: (b.wait(), s.end())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made.queue.take(999)) == 200


def test_mutable_values_are_frozen_when_set():
    span = provider().get_tracer("s").start_span("x", attributes={"l": (mutable := [1])})
    span.set_attribute("m", mutable)
    mutable.append(2)
    assert dict(span.attributes) == {"l": (1,), "m": (1,)}


@pytest.mark.parametrize("first", [True, False])
def test_foreign_types_are_converted_with_a_warning(caplog, first):
    class Plain:
        pass

    values = {"object": Plain(), "exception": ValueError("x")}
    with caplog.at_level(logging.WARNING):
        span = provider().get_tracer("s").start_span("x", attributes=values if first else None)
        if not first:
            span.set_attributes(values)
        span.set_attribute("", 1)
    assert dict(span.attributes) == {"object": None, "exception": "x"}
    assert span.dropped_attributes == 1
    assert len(caplog.records) == 3


def test_ok_is_final_and_unset_is_ignored():
    span = provider().get_tracer("s").start_span("x")
    span.set_status(Status(StatusCode.ERROR, "bad"))
    span.set_status(StatusCode.UNSET)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "bad")
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "worse")
    assert (span.status.status_code, span.status.description) == (StatusCode.OK, None)


class Watching(sdk.SpanProcessor):
    """Writes on a span when it starts, as a baggage processor does, and notes what it sees."""

    def __init__(self):
        self.seen = []

    def on_start(self, span, parent_context=None):
        span.set_attribute("from.context", baggage.get_baggage("k", parent_context) or "none")
        self.seen.append(("start", span.name, span.attributes["a"], span.parent, span.start_time is not None))

    def on_end(self, span):
        self.seen.append(("end", type(span), dict(span.attributes), threading.get_ident()))


def test_processors_see_start_and_end():
    made = provider()
    tracer = made.get_tracer("s")
    watching, exporter = Watching(), InMemorySpanExporter()
    made.add_span_processor(watching)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    with tracer.start_as_current_span("x", baggage.set_baggage("k", "v", Context()), attributes={"a": 1}) as span:
        pass
    expected = {"a": 1, "from.context": "v"}
    assert watching.seen == [
        ("start", "x", 1, None, True),
        ("end", sdk.ReadableSpan, expected, threading.get_ident()),
    ]
    (exported,) = exporter.get_finished_spans()
    assert exported.context == span.get_span_context()
    assert exported.to_json() == span.to_json()
    assert len(made.queue.take(9)) == 1
    assert made._active_span_processor.force_flush()
    made.shutdown()
    tracer.start_span("after", attributes={"a": 1}).end()
    assert len(exporter.get_finished_spans()) == 1


def test_sql_never_leaves_in_an_exception():
    made = provider()
    text = (
        "(pymysql.err.IntegrityError) (1062, \"Duplicate entry 'geheim' for key 'name'\")\n[SQL: INSERT INTO t VALUES "
        "(%(x)s)]\n[parameters: {'x': 'geheim]'}]\n(Background on this error at: https://sqlalche.me/e/20/gkpj)"
    )

    @made.get_tracer("s").start_as_current_span("x")
    def fail():
        raise RuntimeError(f"wrapped {text!r}") from ValueError(text)

    with pytest.raises(RuntimeError):
        fail()
    (span,) = made.queue.take(1)
    everything = repr([dict(event.attributes) for event in span.events]) + str(span.status.description)
    assert "geheim" not in everything
    assert "INSERT" not in everything
    assert "Background" not in everything
    assert "for key 'name'" in everything.replace("\\", "")


def test_disabled_by_the_environment():
    program = "from otel_openstack.tracing import TracerProvider as P; t = P().get_tracer('x'); print(type(t).__name__)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OTEL_SDK_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "NoOpTracer"


def test_ids_differ_after_a_fork():
    made = provider(sampling.ALWAYS_ON)
    tracer = made.get_tracer("s")
    reader, writer = os.pipe()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            with tracer.start_as_current_span("x") as span:
                pass
            os.write(writer, f"{span.get_span_context().trace_id} {len(made.queue)}\n".encode())
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    os.close(writer)
    lines = os.read(reader, 4096).decode().split("\n")[:-1]
    os.close(reader)
    assert len({line.split()[0] for line in lines}) == 3
    assert {line.split()[1] for line in lines} == {"1"}
