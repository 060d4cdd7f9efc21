# SPDX-License-Identifier: Apache-2.0
"""What one span, one event and the queue may hold: by the SDK's variables, and in bytes of real memory."""

from __future__ import annotations

import gc
import json
import tracemalloc

import pytest
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, StatusCode, TraceFlags, TraceState

from otel_openstack import configuration
from otel_openstack.exporters.accounting import Account
from otel_openstack.exporters.sink import Outcome
from otel_openstack.tracing import TracerProvider, attributes, encoding, encoding_json, events, job, limits
from otel_openstack.tracing.queue import Queue

REMOTE = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
LENGTH, COUNT = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"
MEGABYTE = 2**20


def provider(most_bytes=2**30, chosen=None):
    queue = Queue(Account("traces"), most_bytes, lambda: None)
    return TracerProvider(ALWAYS_ON, queue=queue, span_limits=chosen)


# variables -> (span attributes, event attributes, link attributes, events, links, length in spans, length elsewhere)
VARIABLES = (
    ({}, (128, 128, 128, 128, 128, 16384, 16384)),
    ({LENGTH: "10"}, (128, 128, 128, 128, 128, 10, 10)),
    ({LENGTH: ""}, (128, 128, 128, 128, 128, None, None)),
    ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"}, (128, 128, 128, 128, 128, 7, 16384)),
    ({LENGTH: "10", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"}, (128, 128, 128, 128, 128, 7, 10)),
    ({COUNT: "5"}, (5, 5, 5, 128, 128, 16384, 16384)),
    ({COUNT: "5", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "6"}, (6, 5, 5, 128, 128, 16384, 16384)),
    ({"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1"}, (128, 1, 128, 128, 128, 16384, 16384)),
    ({"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0"}, (128, 128, 0, 128, 128, 16384, 16384)),
    ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "2", "OTEL_SPAN_LINK_COUNT_LIMIT": "3"}, (128, 128, 128, 2, 3, 16384, 16384)),
)


@pytest.mark.parametrize(("environ", "expected"), VARIABLES)
def test_the_variables_of_the_sdk(monkeypatch, environ, expected):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = provider().limits
    assert (
        found.max_span_attributes,
        found.max_event_attributes,
        found.max_link_attributes,
        found.max_events,
        found.max_links,
        found.max_span_attribute_length,
        found.max_attribute_length,
    ) == expected
    theirs = SpanLimits()
    for name, value in vars(theirs).items():
        assert getattr(found, name) == value or (value is None and getattr(found, name) == limits.MOST_TEXT)
    assert configuration.read(environ).limits.max_span_attributes == expected[0]


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 5000, "٣"])
def test_a_variable_that_is_no_number_is_told_and_not_used(wrong):
    plan = configuration.read({LENGTH: wrong})
    assert plan.limits.max_span_attribute_length == limits.MOST_TEXT
    (problem,) = plan.problems
    assert problem.startswith(f"{LENGTH}=")


def test_a_declarative_file_that_states_no_length_gets_ours():
    assert limits.completed(SpanLimits()).max_span_attribute_length == limits.MOST_TEXT
    stated = limits.completed(SpanLimits(max_attribute_length=5))
    assert (stated.max_attribute_length, stated.max_span_attribute_length) == (5, 5)


def test_log_records_have_their_own_variables():
    assert limits.of_logs({}) == (128, 16384)
    assert limits.of_logs({COUNT: "3", LENGTH: "4"}) == (3, 4)
    own = {"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "5", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "6"}
    assert limits.of_logs({COUNT: "3", LENGTH: "4", **own}) == (5, 6)
    record = events.LogEvent("x", 1, {**{str(n): n for n in range(500)}, "long": "y" * MEGABYTE}, REMOTE)
    assert len(record.attributes) == 128
    assert len(record.attributes["long"]) == 16384
    assert 16384 < record._weight < 60_000


def endless():
    found = []
    found.append(found)
    return found


def deep():
    found = "x"
    for _ in range(50_000):
        found = [found]
    return found


class Broken(dict):
    def items(self):
        raise KeyError("on purpose")


class Text:
    def __str__(self):
        return "x" * MEGABYTE


VALUES = {
    "a text": "x" * 10 * MEGABYTE,
    "wide": "\U0001f600" * MEGABYTE,
    "bytes": b"x" * 10 * MEGABYTE,
    "endless": endless(),
    "deep": deep(),
    "many": list(range(10**6)),
    "many texts": ["x" * 100_000] * 10_000,
    "nested": {"a": {"b": ["x" * MEGABYTE, {"c": "x" * MEGABYTE}]}},
    "foreign": Text(),
}


def give(tracer, value, way):
    """Make spans that are given `value` in this way."""
    links = [Link(REMOTE, value)] if way == "link" else None
    span = tracer.start_span("x", attributes=value if way == "start" else None, links=links)
    if way == "current":
        with tracer.start_as_current_span("x", attributes=value):
            pass
    elif way == "set":
        span.set_attribute("key", value["key"])
    elif way == "set many":
        span.set_attributes(value)
    elif way == "event":
        span.add_event("x", value)
    elif way == "exception":
        span.record_exception(ValueError("x"), value)
    span.end()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("way", ["start", "current", "set", "set many", "event", "link", "exception"])
def test_no_value_is_kept_whole(caplog, name, way):
    value = {"key": VALUES[name]}
    give(provider().get_tracer("s"), value, way)  # what is made once, whatever is given, is not to be counted
    made = provider()
    tracer = made.get_tracer("s")
    caplog.clear()
    gc.collect()
    tracemalloc.start()
    try:
        give(tracer, value, way)
        caplog.clear()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 200_000
    taken = made.queue.take(9)
    assert held < 4 * sum(span._weight for span in taken) + 10_000
    for form in (encoding, encoding_json):
        encoded = form.SpanEncoder().encode(taken, lambda: None)
        assert (encoded.failed, len(encoded.payload) < 200_000) == (0, True)


def test_names_and_keys_are_bounded():
    made = provider()
    long = "n" * MEGABYTE
    with made.get_tracer("s").start_as_current_span(long, attributes={long: 1}) as span:
        span.set_attribute(long + "x", 1)
        span.add_event(long)
        span.set_status(StatusCode.ERROR, long)
    made.get_tracer("s").start_span("x").end()
    span.update_name("too late")
    assert len(span.name) == len(span.events[0].name) == limits.MOST_NAME
    assert len(span.status.description) == 1024
    taken = made.queue.take(9)
    for form in (encoding, encoding_json):
        assert len(form.SpanEncoder().encode(taken, lambda: None).payload) < 12_000


def test_a_mapping_that_fails_costs_itself_only():
    span = provider().get_tracer("s").start_span("x", attributes=Broken(a=1))
    span.set_attributes(Broken(a=1))
    span.add_event("e", Broken(a=1))
    span.add_link(REMOTE, Broken(a=1))
    assert dict(span.attributes) == {}
    assert (len(span.events), len(span.links)) == (1, 1)


def test_ten_thousand_large_events_and_links_make_no_large_span(caplog):
    span = provider().get_tracer("s").start_span("x")
    for number in range(10_000):
        size = 20_000 if number > 9_900 else 20
        span.add_event(f"{number}", {"text": "x" * size, "wide": "\u20ac" * size})
        span.add_link(
            SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "1")]))
        )
    assert span._weight <= limits.MOST_SPAN_BYTES
    assert (span.events[-1].name, span.dropped_events) == ("9999", 10_000 - len(span.events))
    assert len(span.links) + span.dropped_links == 10_000
    for number in range(100):
        span.set_attribute(f"{number}", ["x" * 16384] * 60)
    assert span._weight <= limits.MOST_SPAN_BYTES
    caplog.clear()


@pytest.mark.parametrize(
    "values", [("x" * 500, "y" * 500), ("\u20ac" * 500, "y"), (1, 2**300), (["a"], ["b"]), ("x", 1)]
)
def test_an_attribute_that_is_set_again_is_counted_once(values):
    span = provider().get_tracer("s").start_span("x")
    span.set_attribute("key", values[0])
    first = span._weight
    for _ in range(1000):
        for value in values:
            span.set_attribute("key", value)
            span.set_attributes({"key": value})
    span.set_attribute("key", values[0])
    assert span._weight == first
    span.reweigh()
    assert first <= span._weight < 3_000


def adversary(number):
    """Texts and numbers that the quick way of weighing does not see through."""
    return {f"{number}{'k' * 900}": "x", "number": (1 << 40_000) + number, "wide": f"{number}" + "\U0001f600" * 200}


def test_the_queue_is_bounded_in_real_bytes_as_soon_as_the_collector_takes_nothing():
    class Refusing:
        encoding = "protobuf"

        def send(self, *_):
            return Outcome.RETRY, 0

        def describe(self):
            return "nowhere"

        def close(self):
            pass

    bound = MEGABYTE
    made = provider(bound)
    tracer = made.get_tracer("s")
    sending = job.spans(made.queue, Refusing())
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(2000):
            with tracer.start_as_current_span(f"{number}{'n' * 500}", attributes=adversary(number)):
                pass
            if number % 50 == 0:  # the export thread comes by
                sending.run(float("inf") if number == 0 else 0.0, final=False)
        sending.run(0.0, final=False)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(made.queue) > 20
    assert held < 1.2 * bound
    assert made.queue.account.dropped + len(made.queue) >= 1900
    assert 0 <= made.queue.room <= bound - sum(span._weight for span in made.queue._items) + 1


def test_one_value_is_weighed_by_what_it_holds():
    for value in (
        "x" * 1000,
        "\u20ac" * 1000,
        "\U0001f600" * 1000,
        b"x" * 1000,
        tuple(range(100)),
        {"a": "x" * 999},
    ):
        assert attributes.weigh_value(value) >= 1000 * (2 if value == "\u20ac" * 1000 else 1)
    assert attributes.weigh_value("\U0001f600" * 1000) > 4000
    assert attributes.weigh_truly({"k" * 1000: 1}) >= attributes.weigh({"k" * 1000: 1}) + 1000
    assert attributes.weigh_truly({"k": 1 << 8000}) > attributes.weigh({"k": 1 << 8000}) + 1000


def test_large_payloads_stay_json(caplog):
    made = provider()
    made.get_tracer("s").start_span("x", attributes={"text": '"\\\n\x00' * 10_000}).end()
    payload = encoding_json.SpanEncoder().encode(made.queue.take(1), lambda: None).payload
    assert json.loads(payload)["resourceSpans"]
    caplog.clear()
