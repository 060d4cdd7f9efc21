# SPDX-License-Identifier: Apache-2.0
"""Every reader of the SDK gets true points: ours and others', by its own temporality, through its provider's views."""

from __future__ import annotations

import io
import json
import logging
import threading

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, UpDownCounter
from opentelemetry.sdk.metrics._internal.instrument import Gauge
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    LastValueAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource

from otel_openstack import metrics
from otel_openstack.metrics import catalog, provider, sdk_seam
from tests.metrics.test_recording import in_a_child

DELTA = AggregationTemporality.DELTA
ALL_DELTA = dict.fromkeys((Counter, Histogram, UpDownCounter, ObservableCounter), DELTA)


def found(reader):
    """Return name -> metric."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {metric.name: metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics}


def values(reader, name):
    metric = found(reader).get(name)
    return [] if metric is None else [(dict(point.attributes), point.value) for point in metric.data.data_points]


def one(reader, name):
    (point,) = found(reader)[name].data.data_points
    return point


def test_the_sdk_that_is_installed_is_one_that_we_know():
    assert sdk_seam.PROBLEM == ""


def test_each_reader_has_its_own_deltas():
    first, second, whole = (
        InMemoryMetricReader(ALL_DELTA),
        InMemoryMetricReader(ALL_DELTA),
        InMemoryMetricReader(),
    )
    kept = provider.build(Resource({}), [first, second, whole])
    duration, calls = metrics.histogram("test.duration"), metrics.counter("test.calls")
    duration.record(2, "x")
    calls.add(1, "x")
    point = one(first, "test.duration")
    assert (point.count, point.sum, point.min, point.max) == (1, 2, 2, 2)
    started = point.time_unix_nano
    duration.record(8, "x")
    calls.add(5, "x")
    point = one(first, "test.duration")
    assert (point.count, point.sum, point.min, point.max) == (1, 8, 8, 8)
    assert point.start_time_unix_nano == started
    assert point.bucket_counts == (0, 0, 0, 0, 1, 0)
    assert values(second, "test.calls") == [({"a": "x"}, 6)]
    duration.record(4, "x")
    point = one(second, "test.duration")  # since the line before
    assert (point.count, point.sum, point.min, point.max) == (1, 4, 4, 4)
    point = one(whole, "test.duration")
    assert (point.count, point.sum, point.min, point.max) == (3, 14, 2, 8)
    assert point.start_time_unix_nano == catalog.start_time_unix_nano()
    assert found(first)["test.duration"].data.data_points[0].sum == 4
    assert found(first) == {}
    assert kept


def test_temporality_goes_by_class_as_low_memory_wants_it():
    reader = InMemoryMetricReader({Counter: DELTA, Histogram: DELTA})
    kept = provider.build(Resource({}), [reader])
    metrics.counter("test.calls").add(1)
    metrics.up_down_counter("test.active").add(1)
    metrics.observe("test.seen", lambda: [(9, ("x",))])
    seen = {name: int(metric.data.aggregation_temporality) for name, metric in found(reader).items()}
    assert seen == {"test.calls": 1, "test.active": 2, "test.seen": 2}
    assert kept


def test_a_gauge_as_delta_is_reported_when_it_was_set():
    reader = InMemoryMetricReader({Gauge: DELTA})
    kept = provider.build(Resource({}), [reader])
    level = metrics.gauge("test.level")
    level.set(5, "x")
    assert values(reader, "test.level") == [({"a": "x"}, 5)]
    assert values(reader, "test.level") == []
    level.set(5, "x")
    assert values(reader, "test.level") == [({"a": "x"}, 5)]
    assert kept


def test_observed_instruments_in_both_temporalities():
    whole, delta = InMemoryMetricReader(), InMemoryMetricReader(ALL_DELTA)
    kept = provider.build(Resource({}), [whole, delta])
    seen = [10]
    handles = [metrics.observe("test.seen", lambda: [(seen[0], ("x",))]) for _ in range(2)]
    metrics.observe("test.heat", lambda: [(20, ("x",)), (30, ("x",)), (float("nan"), ("y",))])
    assert values(whole, "test.seen") == values(delta, "test.seen") == [({"a": "x"}, 20)]
    seen[0] = 15
    handles[0].close()
    handles[0].close()
    assert values(whole, "test.seen") == [({"a": "x"}, 15)]
    assert values(delta, "test.seen") == [({"a": "x"}, -5)]
    assert values(whole, "test.heat") == [({"a": "x"}, 30)]
    handles[1].close()
    assert values(whole, "test.seen") == []
    assert kept


def test_a_callback_that_fails_hurts_nobody_and_is_told_once(caplog):
    reader = InMemoryMetricReader()
    kept = provider.build(Resource({}), [reader])

    def fails():
        yield 1, ("before",)
        raise OSError("gone")

    metrics.observe("test.used", fails)
    metrics.observe("test.used", lambda: [(2, ("well",))])
    metrics.observe("test.heat", lambda: None)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert values(reader, "test.used") == [({"a": "before"}, 1), ({"a": "well"}, 2)]
    assert [record.message for record in caplog.records if "test.used" in record.message] == [
        "otel-openstack: test.used cannot be read: OSError: gone"
    ]
    assert catalog.instruments()[0].failures == 3
    assert kept


def test_instruments_of_others_leave_in_the_same_export():
    class Exporter(MetricExporter):
        def __init__(self):
            super().__init__()
            self.exports = []
            self.came = threading.Event()

        def export(self, metrics_data, timeout_millis=10_000, **kwargs):
            self.exports.append(metrics_data)
            self.came.set()
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis=10_000):
            return True

        def shutdown(self, timeout_millis=30_000, **kwargs):
            pass

    exporter = Exporter()
    built = provider.build(Resource({"a": "b"}), [PeriodicExportingMetricReader(exporter, 10)])
    meter = built.get_meter("other", "1")
    meter.create_observable_gauge("their.gauge", [lambda _: [Observation(3)]])
    meter.create_counter("their.counter").add(2)
    metrics.counter("test.calls").add(1)
    exporter.came.clear()
    assert exporter.came.wait(10)
    built.shutdown()
    (resource,) = exporter.exports[-1].resource_metrics
    assert resource.resource.attributes == {"a": "b"}
    assert {(scope.scope.name, metric.name) for scope in resource.scope_metrics for metric in scope.metrics} == {
        ("other", "their.gauge"),
        ("other", "their.counter"),
        ("otel_openstack", "test.calls"),
    }


def test_the_console_exporter_writes_ours():
    out = io.StringIO()
    built = provider.build(Resource({}), [PeriodicExportingMetricReader(ConsoleMetricExporter(out=out), 1e7)])
    metrics.histogram("test.duration").record(0.5, "x")
    built.force_flush()
    built.shutdown()
    first, _ = json.JSONDecoder().raw_decode(out.getvalue())
    (metric,) = first["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    assert (metric["name"], metric["data"]["data_points"][0]["sum"]) == ("test.duration", 0.5)


def test_a_reader_that_pulls_gets_the_total_at_every_scrape():
    class Scraped(MetricReader):
        def _receive_metrics(self, metrics_data, timeout_millis=10_000, **kwargs):
            (self.metric,) = metrics_data.resource_metrics[0].scope_metrics[0].metrics

        def shutdown(self, timeout_millis=30_000, **kwargs):
            pass

    reader = Scraped()
    kept = provider.build(Resource({}), [reader])
    for total in (1, 2, 3):
        metrics.counter("test.calls").add(1)
        reader.collect()
        assert reader.metric.data.data_points[0].value == total
    assert kept


def test_a_reader_may_come_later_and_go():
    built = provider.build(Resource({}))
    metrics.counter("test.calls").add(1)
    reader = InMemoryMetricReader()
    built.add_metric_reader(reader)
    assert values(reader, "test.calls") == [({}, 1)]
    built.remove_metric_reader(reader)
    other = InMemoryMetricReader()
    built.add_metric_reader(other)
    assert values(other, "test.calls") == [({}, 1)]


def test_without_any_point_there_is_no_data():
    reader = InMemoryMetricReader()
    kept = provider.build(Resource({}), [reader])
    metrics.counter("test.calls").bind("x")
    assert reader.get_metrics_data() is None
    assert kept


# Views.


def test_views_rename_describe_filter_and_bucket():
    reader = InMemoryMetricReader()
    views = [
        View(instrument_name="test.duration", name="renamed", description="Otherwise.", attribute_keys={"a"}),
        View(instrument_name="test.duration", aggregation=ExplicitBucketHistogramAggregation((0.5, 1.0, 3.0))),
        View(instrument_name="test.c*", attribute_keys={"b", "unknown"}),
        View(instrument_name="test.active", aggregation=DropAggregation()),
        View(instrument_name="test.level", attribute_keys=set()),
    ]
    kept = provider.build(Resource({}), [reader], views)
    duration = metrics.histogram("test.duration")
    for value, b in ((0.05, "p"), (0.7, "q"), (2, "q"), (50, None)):
        duration.record(value, "x", b)
        metrics.counter("test.calls").add(1, value, b)
        metrics.gauge("test.level").set(value, b)
    metrics.up_down_counter("test.active").add(1)
    got = found(reader)
    assert sorted(got) == ["renamed", "test.calls", "test.duration", "test.level"]
    (point,) = got["renamed"].data.data_points
    assert got["renamed"].description == "Otherwise."
    assert (dict(point.attributes), point.count, point.sum, point.min, point.max) == ({"a": "x"}, 4, 52.75, 0.05, 50)
    assert point.explicit_bounds == (0.005, 0.01, 0.1, 1.0, 10.0)
    assert point.bucket_counts == (0, 0, 1, 1, 1, 1)
    split = {point.attributes.get("b"): point for point in got["test.duration"].data.data_points}
    assert {b: (p.count, p.bucket_counts) for b, p in split.items()} == {
        "p": (1, (1, 0, 0, 0)),
        "q": (2, (0, 1, 1, 0)),
        None: (1, (0, 0, 0, 1)),
    }
    assert {p.explicit_bounds for p in split.values()} == {(0.5, 1.0, 3.0)}
    calls = [(dict(p.attributes), p.value) for p in got["test.calls"].data.data_points]
    assert calls == [({"b": "p"}, 1), ({"b": "q"}, 2), ({}, 1)]
    assert [(dict(p.attributes), p.value) for p in got["test.level"].data.data_points] == [({}, 50)]
    assert kept


def test_filtered_deltas_have_the_extremes_of_their_own_time():
    reader = InMemoryMetricReader(ALL_DELTA)
    kept = provider.build(Resource({}), [reader], [View(instrument_name="test.duration", attribute_keys={"a"})])
    duration = metrics.histogram("test.duration")
    duration.record(1, "x", "p")
    duration.record(9, "x", "q")
    point = one(reader, "test.duration")
    assert (point.count, point.sum, point.min, point.max) == (2, 10, 1, 9)
    duration.record(3, "x", "q")
    point = one(reader, "test.duration")
    assert (point.count, point.sum, point.min, point.max) == (1, 3, 3, 3)
    assert kept


def test_what_was_bound_before_a_view_split_the_buckets_still_counts():
    duration = metrics.histogram("test.duration")
    record = duration.bind("x")
    record(0.0001)
    reader = InMemoryMetricReader()
    aggregation = ExplicitBucketHistogramAggregation((0.05, 5.0))
    kept = provider.build(Resource({}), [reader], [View(instrument_name="test.duration", aggregation=aggregation)])
    for value in (0.02, 0.07, 4, 7):
        record(value)
    point = one(reader, "test.duration")
    assert (point.bucket_counts, point.explicit_bounds) == ((2, 2, 1), (0.05, 5.0))
    assert kept


@pytest.mark.parametrize("bound_before", [True, False])
@pytest.mark.parametrize(
    ("views", "aggregation"),
    [
        ([View(instrument_name="test.duration", aggregation=ExponentialBucketHistogramAggregation())], {}),
        ([], {Histogram: ExponentialBucketHistogramAggregation()}),
    ],
)
def test_what_cells_cannot_do_goes_through_the_sdk(bound_before, views, aggregation):
    reader = InMemoryMetricReader(preferred_aggregation=aggregation)
    if bound_before:
        record = metrics.histogram("test.duration").bind("x")
    built = provider.build(Resource({}), [reader], views)
    if not bound_before:
        record = metrics.histogram("test.duration").bind("x")
    metrics.counter("test.calls").add(1)
    record(0.5)
    record(2)
    metrics.histogram("test.duration").record(4, "x")
    metrics.histogram("test.duration").record(8, "y")
    got = found(reader)
    points = {point.attributes["a"]: point for point in got["test.duration"].data.data_points}
    assert type(got["test.duration"].data).__name__ == "ExponentialHistogram"
    assert {a: (point.count, point.sum, point.max) for a, point in points.items()} == {"x": (3, 6.5, 4), "y": (1, 8, 8)}
    assert got["test.calls"].data.data_points[0].value == 1
    scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
    assert [scope.scope.name for scope in scopes] == ["otel_openstack"]
    assert built


def test_another_aggregation_of_a_counter_goes_through_the_sdk():
    reader = InMemoryMetricReader()
    view = View(instrument_name="test.*", aggregation=LastValueAggregation())
    kept = provider.build(Resource({}), [reader], [view])
    metrics.counter("test.calls").add(5)
    metrics.counter("test.calls").add(7)
    metrics.observe("test.seen", lambda: [(3, ("x",))])
    assert values(reader, "test.calls") == [({}, 7)]
    assert values(reader, "test.seen") == [({"a": "x"}, 3)]
    assert kept


def test_an_sdk_that_we_do_not_know_gets_instruments_of_the_public_api(monkeypatch, caplog):
    monkeypatch.setattr(sdk_seam, "PROBLEM", "it has no _lock")
    early = metrics.counter("test.calls").bind("early")
    reader = InMemoryMetricReader()
    with caplog.at_level(logging.WARNING):
        built = provider.build(Resource({}), [reader])
    assert [record.message for record in caplog.records].count(
        "otel-openstack: metrics take the slow path, this SDK is not known: it has no _lock"
    ) == 1
    early(1)
    metrics.counter("test.calls").add(2, "late")
    metrics.histogram("test.duration").record(2, "x")
    metrics.gauge("test.level").set(5)
    metrics.observe("test.heat", lambda: [(30, ("x",))])
    got = found(reader)
    assert [(dict(p.attributes), p.value) for p in got["test.calls"].data.data_points] == [
        ({"a": "early"}, 1),
        ({"a": "late"}, 2),
    ]
    (point,) = got["test.duration"].data.data_points
    assert (point.sum, point.explicit_bounds) == (2, (0.005, 0.01, 0.1, 1.0, 10.0))
    assert [(dict(p.attributes), p.value) for p in got["test.heat"].data.data_points] == [({"a": "x"}, 30)]
    assert built


def test_a_disabled_sdk_gets_nothing(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    reader = InMemoryMetricReader()
    kept = provider.build(Resource({}), [reader])
    metrics.counter("test.calls").add(1)
    assert reader.get_metrics_data() is None
    assert kept


# Forks.


def test_a_child_starts_at_zero_ours_and_theirs():
    reader, delta = InMemoryMetricReader(), InMemoryMetricReader(ALL_DELTA)
    built = provider.build(Resource({"process.pid": 1, "service.instance.id": "parents"}), [reader, delta])
    meter = built.get_meter("other")
    theirs = meter.create_counter("their.counter")
    meter.create_observable_counter("their.observed", [lambda _: [Observation(3)]])
    theirs.add(5)
    calls, duration = metrics.counter("test.calls").bind("x"), metrics.histogram("test.duration").bind("x")
    calls(7)
    duration(0.5)
    found(reader)
    consumer = built._measurement_consumer
    storage = consumer._reader_storages[reader]

    def answer():
        empty = sorted(found(reader))
        theirs.add(1)
        calls(2)
        duration(3)
        duration(4)
        got, since = found(reader), found(delta)
        point, new = got["test.duration"].data.data_points[0], since["test.duration"].data.data_points[0]
        resource = sdk_seam.resource(built).attributes
        return {
            "empty": empty,
            "values": [
                got[name].data.data_points[0].value for name in ("their.counter", "their.observed", "test.calls")
            ],
            "deltas": [since[name].data.data_points[0].value for name in ("their.counter", "test.calls")],
            "duration": [[p.count, p.min, p.max, p.start_time_unix_nano] for p in (point, new)],
            "resource": [resource["process.pid"], resource["service.instance.id"]],
        }

    # The parent exports, and records elsewhere, at the very moment of the fork.
    with consumer._lock, storage._lock, built._meter_lock, reader._lock:
        child = in_a_child(answer)
    assert child["empty"] == ["their.observed"]
    assert child["values"] == [1, 3, 2]
    assert child["deltas"] == [1, 2]
    (count, low, high, start), (count_since, low_since, high_since, start_since) = child["duration"]
    assert (count, low, high) == (count_since, low_since, high_since) == (2, 3, 4)
    assert min(start, start_since) > catalog.start_time_unix_nano()
    assert child["resource"][0] != 1
    assert child["resource"][1] != "parents"
    assert values(reader, "test.calls") == [({"a": "x"}, 7)]
