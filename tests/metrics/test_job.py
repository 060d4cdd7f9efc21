# SPDX-License-Identifier: Apache-2.0
"""The export of metrics: what changed each second, everything each minute, what is left at the end; all booked."""

from __future__ import annotations

import json
import logging
import math

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource

from otel_openstack import metrics, settings
from otel_openstack.exporters.accounting import account
from otel_openstack.exporters.sink import Outcome
from otel_openstack.metrics import encoding, job, provider
from otel_openstack.runtime import originals
from tests.metrics.test_recording import in_a_child


class Sink:
    """A destination that does as told and keeps what it took."""

    encoding = "protobuf"

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.sent = []
        self.taken = []

    def send(self, signal, payload, items, deadline):
        assert signal == "metrics"
        assert deadline > originals.monotonic()
        outcome, rejected = self.outcomes.pop(0) if self.outcomes else (Outcome.DELIVERED, 0)
        self.sent.append((payload, items))
        if outcome is Outcome.DELIVERED:
            self.taken.append(payload)
        return outcome, rejected

    def close(self):
        pass

    def describe(self):
        return "a test"

    def points(self, *, of=-1):
        """Return (name, a) -> value of one payload that was taken."""
        message = ExportMetricsServiceRequest.FromString(self.taken[of])
        found = {}
        for scope in message.resource_metrics[0].scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    labels = {attribute.key: attribute.value.string_value for attribute in point.attributes}
                    value = point.count if metric.WhichOneof("data") == "histogram" else point.as_int
                    found[metric.name, labels.get("a")] = value
        return found


@pytest.fixture(autouse=True)
def books():
    account("metrics").reset()
    yield account("metrics")
    account("metrics").reset()


def made(sink, reader=None, every=3600.0):
    reader = reader or provider.PullReader()
    built = provider.build(Resource({}), [reader])
    return built, job.MetricsJob(reader, sink, every)


def run(exporter, *, final=False):
    exporter.run(originals.monotonic() + 5, final)


def balance(books):
    assert books.recorded == books.delivered + books.dropped
    return books.recorded, books.delivered, books.dropped


def test_first_everything_then_what_changed_at_the_end_everything(books):
    sink = Sink()
    built, exporter = made(sink)
    calls = metrics.counter("test.calls")
    theirs = built.get_meter("other").create_counter("theirs")
    built.get_meter("other").create_observable_counter("observed", [lambda _: [Observation(3)]])
    calls.add(1, "x")
    calls.add(1, "y")
    theirs.add(1, {"a": "x"})
    run(exporter)
    whole = {("test.calls", "x"): 1, ("test.calls", "y"): 1, ("theirs", "x"): 1, ("observed", None): 3}
    assert sink.points() == whole
    run(exporter)
    assert len(sink.taken) == 1
    calls.add(4, "y")
    metrics.histogram("test.duration").record(0.5, "z")
    run(exporter)
    assert sink.points() == {("test.calls", "y"): 5, ("test.duration", "z"): 1}
    theirs.add(2, {"a": "x"})
    run(exporter)
    assert sink.points() == {("theirs", "x"): 3}
    run(exporter, final=True)
    assert sink.points() == {
        ("test.calls", "x"): 1,
        ("test.calls", "y"): 5,
        ("test.duration", "z"): 1,
        ("theirs", "x"): 3,
        ("observed", None): 3,
    }
    assert balance(books) == (4 + 2 + 1 + 5, 12, 0)
    assert built


def test_everything_is_due_again_after_its_interval(books):
    sink = Sink()
    built, exporter = made(sink, every=1e-9)
    metrics.counter("test.calls").add(1, "x")
    run(exporter)
    run(exporter)
    assert sink.points(of=0) == sink.points(of=1) == {("test.calls", "x"): 1}
    assert built


def test_while_nobody_takes_it_nothing_piles_up_and_nothing_is_lost(books):
    sink = Sink(*[(Outcome.RETRY, 0)] * 5)
    temporality = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
    built, exporter = made(sink, provider.PullReader(temporality))
    calls = metrics.counter("test.calls")
    for _ in range(5):
        calls.add(1, "x")
        run(exporter)
    assert [items for _, items in sink.sent] == [1] * 5
    assert len({payload for payload, _ in sink.sent}) == 1
    run(exporter)
    assert [sink.points(of=of) for of in (0, 1)] == [{("test.calls", "x"): 1}, {("test.calls", "x"): 4}]
    assert balance(books) == (2, 2, 0)
    assert built


def test_what_is_refused_or_left_at_the_end_is_counted(books):
    sink = Sink((Outcome.REJECTED, 0), (Outcome.DELIVERED, 1), *[(Outcome.RETRY, 0)] * 9)
    built, exporter = made(sink)
    calls = metrics.counter("test.calls")
    calls.add(1, "x")
    run(exporter)
    assert balance(books) == (1, 0, 1)
    calls.add(1, "x")
    calls.add(1, "y")
    run(exporter)
    assert balance(books) == (3, 1, 2)
    calls.add(1, "x")
    run(exporter)
    run(exporter, final=True)
    assert (books.recorded, books.delivered, books.dropped) == (6, 1, 2)
    books.close()
    assert balance(books) == (6, 1, 5)
    assert built


def test_many_series_leave_in_several_payloads(books):
    sink = Sink()
    built, exporter = made(sink)
    for number in range(1500):
        metrics.counter("test.calls").add(1, f"a{number}")
    run(exporter)
    assert sum(items for _, items in sink.sent) == 1500
    assert max(items for _, items in sink.sent) <= job.POINTS_PER_PAYLOAD + encoding.SLICE
    assert len({point for of in range(len(sink.taken)) for point in sink.points(of=of)}) == 1500
    assert balance(books) == (1500, 1500, 0)
    assert built


def test_a_child_exports_what_it_records_itself():
    sink = Sink((Outcome.RETRY, 0))
    built, exporter = made(sink)
    metrics.counter("test.calls").add(5, "parents")
    run(exporter)

    def answer():
        sink.outcomes.clear()
        metrics.counter("test.calls").add(1, "childs")
        run(exporter)
        return [list(sink.points()), sink.points()["test.calls", "childs"], account("metrics").delivered]

    assert in_a_child(answer) == [[["test.calls", "childs"]], 1, 1]
    run(exporter)
    assert sink.points() == {("test.calls", "parents"): 5}
    assert built


def test_the_destination_is_built_at_the_first_export():
    built_sinks = []
    built, exporter = made(lambda: built_sinks.append(Sink()) or built_sinks[-1])
    assert built_sinks == []
    metrics.counter("test.calls").add(1, "x")
    run(exporter)
    run(exporter)
    assert [len(sink.taken) for sink in built_sinks] == [1]
    assert built


def test_json_lines():
    sink = Sink()
    sink.encoding = "json"
    built, exporter = made(sink)
    metrics.counter("test.calls").add(1, "x\n")
    run(exporter)
    (payload,) = sink.taken
    assert b"\n" not in payload
    (metric,) = json.loads(payload)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert metric["sum"]["dataPoints"][0]["attributes"] == [{"key": "a", "value": {"stringValue": "x\n"}}]
    assert built


@pytest.mark.parametrize(
    ("value", "temporality"),
    [("delta", {Counter: 1, Histogram: 1}), ("LowMemory", {Counter: 1, Histogram: 1}), ("cumulative", {}), ("x", {})],
)
def test_the_standard_variables_of_the_reader(monkeypatch, caplog, value, temporality):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram")
    with caplog.at_level(logging.WARNING):
        reader = job.reader()
    chosen = {kind.__name__.strip("_"): int(one) for kind, one in reader._instrument_class_temporality.items()}
    assert {kind: chosen[kind.__name__] for kind in temporality} == temporality
    assert chosen["UpDownCounter"] == chosen["ObservableUpDownCounter"] == 2
    assert chosen["ObservableCounter"] == (1 if value == "delta" else 2)
    by_name = {kind.__name__: one for kind, one in reader._instrument_class_aggregation.items()}
    assert isinstance(by_name["_Histogram"], ExponentialBucketHistogramAggregation)
    assert bool(caplog.records) == (value == "x")


@pytest.mark.parametrize(
    ("value", "seconds", "warned"), [("5000", 5, 0), ("", 60, 0), ("soon", 60, 1), ("-1", 60, 1), ("nan", 60, 1)]
)
def test_the_export_interval(monkeypatch, caplog, value, seconds, warned):
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", value)
    with caplog.at_level(logging.WARNING):
        assert math.isclose(job.export_interval(), seconds)
    assert len(caplog.records) == warned


def test_it_runs_as_often_as_asked():
    settings.use(settings.Settings(flush_interval=0.25))
    assert job.MetricsJob(provider.PullReader(), Sink(), 3600).interval == 0.25
    assert job.MetricsJob(provider.PullReader(), Sink(), 0.1).interval == 0.1
