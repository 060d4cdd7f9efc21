# SPDX-License-Identifier: Apache-2.0
"""Whatever is recorded and whenever readers collect: our points are those of the SDK's own aggregation."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from otel_openstack import metrics
from otel_openstack.metrics import provider
from otel_openstack.semconv import instruments as registry

DELTA = dict.fromkeys((Counter, Histogram, UpDownCounter), AggregationTemporality.DELTA)
NAMES = ("test.duration", "test.calls", "test.active", "test.level")

# Integers and halves add up exactly in any order, so the comparison can be exact.
numbers = st.one_of(
    st.integers(-5, 10**6),
    st.integers(-10, 4000).map(lambda number: number / 2),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0, -0.0]),
)
labels = st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([200, 404, None]))
records = st.tuples(st.sampled_from(NAMES), numbers, labels)
steps = st.lists(st.one_of(records, st.sampled_from(["whole", "delta", "other delta"])), max_size=60)
views = st.sampled_from(
    [
        [],
        [View(instrument_name="test.*", attribute_keys={"a"})],
        [View(instrument_name="test.*", attribute_keys=set())],
        [View(instrument_name="test.duration", aggregation=ExplicitBucketHistogramAggregation((0.5, 1.0, 100.0)))],
        [View(instrument_name="test.duration", aggregation=ExplicitBucketHistogramAggregation(()))],
        [View(instrument_name="test.calls", name="twice"), View(instrument_name="test.calls", attribute_keys={"b"})],
    ]
)


def readers():
    return {
        "whole": InMemoryMetricReader(),
        "delta": InMemoryMetricReader(DELTA),
        "other delta": InMemoryMetricReader(DELTA),
    }


def recorder_of_sdk(meter, name):
    model = registry.INSTRUMENTS[name]
    if model.kind == "histogram":
        made = meter.create_histogram(name, model.unit, explicit_bucket_boundaries_advisory=model.boundaries)
        return made.record
    if model.kind == "gauge":
        return meter.create_gauge(name).set
    return (meter.create_counter if model.kind == "counter" else meter.create_up_down_counter)(name).add


def recorder_of_ours(name):
    kind = registry.INSTRUMENTS[name].kind
    make = {
        "histogram": metrics.histogram,
        "counter": metrics.counter,
        "updowncounter": metrics.up_down_counter,
        "gauge": metrics.gauge,
    }
    return make[kind](name).record


def content(data):
    """Return everything of a collection but the times."""
    if data is None:
        return {}
    return {
        (metric.name, frozenset(point.attributes.items())): (
            type(metric.data).__name__,
            getattr(metric.data, "is_monotonic", None),
            getattr(metric.data, "aggregation_temporality", None),
            getattr(point, "value", None),
            *(
                getattr(point, name, None)
                for name in ("count", "sum", "min", "max", "bucket_counts", "explicit_bounds")
            ),
        )
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, chosen=views, bound=st.booleans())
def test_any_interleaving_of_records_and_collections(steps, chosen, bound):
    metrics.reset()
    ours, theirs = readers(), readers()
    built = provider.build(Resource({}), list(ours.values()), chosen)
    sdk = MeterProvider(list(theirs.values()), Resource({}), shutdown_on_exit=False, views=chosen)
    sdk_records = {name: recorder_of_sdk(sdk.get_meter("sdk"), name) for name in NAMES}
    our_records = {name: recorder_of_ours(name) for name in NAMES}
    for step in [*steps, "whole", "delta", "other delta"]:
        if isinstance(step, str):
            assert content(ours[step].get_metrics_data()) == content(theirs[step].get_metrics_data())
            continue
        name, value, given_labels = step
        attributes = {key: label for key, label in zip("ab", given_labels, strict=True) if label is not None}
        sdk_records[name](value, attributes)
        if bound:
            metrics.catalog.instruments()[NAMES.index(name)].bind(*given_labels)(value)
        else:
            our_records[name](value, *given_labels)
    assert built
