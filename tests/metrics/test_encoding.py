# SPDX-License-Identifier: Apache-2.0
"""What we write by hand is, once the official classes have read it, what the stock encoder writes."""

from __future__ import annotations

import base64
import json
import re
from functools import partial

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Histogram
from opentelemetry.sdk.metrics._internal.exemplar import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_openstack import metrics, scrub
from otel_openstack.metrics import encoding, points, provider

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
FLOATS = st.floats(allow_nan=False)
# Hypothesis draws the literals of the code under test too: what the scrubber takes out is compared elsewhere.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda drawn: scrub.text(drawn) == drawn and scrub.rule(drawn) is scrub.any_value
)
SIMPLE = st.one_of(TEXT, st.booleans(), INT64, FLOATS, st.binary(max_size=6), st.none())
VALUES = st.recursive(
    SIMPLE, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)), max_leaves=6
)
ATTRIBUTES = st.dictionaries(TEXT, VALUES, max_size=4)
TIMES = st.integers(0, 2**63)
EXEMPLARS = st.lists(
    st.builds(
        Exemplar,
        ATTRIBUTES,
        st.one_of(INT64, FLOATS),
        TIMES,
        st.one_of(st.none(), st.integers(1, 2**64 - 1)),
        st.one_of(st.none(), st.integers(1, 2**128 - 1)),
    ),
    max_size=2,
)
NUMBERS = st.builds(NumberDataPoint, ATTRIBUTES, TIMES, TIMES, st.one_of(INT64, FLOATS), EXEMPLARS)
HISTOGRAMS = st.builds(
    HistogramDataPoint,
    ATTRIBUTES,
    TIMES,
    TIMES,
    UINT64,
    st.one_of(FLOATS, st.integers(0, 10**12)),
    st.lists(UINT64, max_size=20),
    st.lists(FLOATS, max_size=20),
    FLOATS,
    FLOATS,
    EXEMPLARS,
)
BUCKETS = st.builds(Buckets, st.integers(-(2**31), 2**31 - 1), st.lists(UINT64, max_size=5))
EXPONENTIALS = st.builds(
    ExponentialHistogramDataPoint,
    ATTRIBUTES,
    TIMES,
    TIMES,
    UINT64,
    FLOATS,
    st.integers(-20, 20),
    UINT64,
    BUCKETS,
    BUCKETS,
    st.integers(0, 3),
    FLOATS,
    FLOATS,
    EXEMPLARS,
)
TEMPORALITIES = st.sampled_from([AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])


def several(kind):
    return st.lists(kind, min_size=1, max_size=3)


DATA = st.one_of(
    st.builds(Gauge, several(NUMBERS)),
    st.builds(Sum, several(NUMBERS), TEMPORALITIES, st.booleans()),
    st.builds(HistogramData, several(HISTOGRAMS), TEMPORALITIES),
    st.builds(ExponentialHistogram, several(EXPONENTIALS), TEMPORALITIES),
)
METRICS = st.builds(Metric, TEXT, TEXT, TEXT, DATA)
SCOPES = st.builds(
    InstrumentationScope, TEXT, st.one_of(st.none(), TEXT), st.one_of(st.none(), TEXT), st.just({"k": 1, "l": [True]})
)


@st.composite
def collections(draw):
    scopes = draw(st.lists(SCOPES, max_size=3, unique_by=lambda scope: (scope.name, scope.version, scope.schema_url)))
    resource = Resource({"service.name": draw(TEXT), "n": draw(INT64), "list": ("a", "b")}, draw(TEXT))
    return MetricsData(
        [
            ResourceMetrics(
                resource,
                [ScopeMetrics(s, draw(st.lists(METRICS, max_size=3)), s.schema_url or "") for s in scopes],
                resource.schema_url,
            )
        ]
    )


def from_json(line):
    """Read OTLP JSON: as JSON of protobuf, but for the ids, which are hex."""
    assert b"\n" not in line
    text = re.sub(
        r'"(spanId|traceId)":"([0-9a-f]+)"',
        lambda found: f'"{found[1]}":"{base64.b64encode(bytes.fromhex(found[2])).decode()}"',
        line.decode(),
    )
    return json_format.Parse(text, ExportMetricsServiceRequest())


@settings(max_examples=60, deadline=None)
@given(collections())
def test_protobuf_of_the_data_of_the_sdk(data):
    assert ExportMetricsServiceRequest.FromString(encoding.encode(data)) == encode_metrics(data)


@settings(max_examples=60, deadline=None)
@given(collections())
def test_json_of_the_data_of_the_sdk(data):
    assert from_json(encoding.encode(data, "json")) == encode_metrics(data)


def test_json_has_the_forms_that_otlp_wants():
    exemplar = Exemplar({}, 1, 5, 0xABC, 0xDEF)
    point = NumberDataPoint({"n": 1, "x": float("nan"), "b": b"\x00"}, 1, 2**60, 7, [exemplar])
    metric = Metric("m", "d", "u", Sum([point], AggregationTemporality.CUMULATIVE, True))
    scope = ScopeMetrics(InstrumentationScope("s"), [metric], "")
    line = encoding.encode(MetricsData([ResourceMetrics(Resource({}), [scope], "")]), "json")
    (written,) = json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert written["sum"]["aggregationTemporality"] == 2
    (written,) = written["sum"]["dataPoints"]
    assert written["timeUnixNano"] == str(2**60)
    assert written["asInt"] == "7"
    assert [attribute["value"] for attribute in written["attributes"]] == [
        {"intValue": "1"},
        {"doubleValue": "NaN"},
        {"bytesValue": "AA=="},
    ]
    assert written["exemplars"][0]["spanId"] == "0000000000000abc"
    assert written["exemplars"][0]["traceId"] == f"{0xDEF:032x}"


def test_numbers_beyond_64_bit_and_attributes_beyond_otlp_hurt_nothing_else():
    attributes = {"bad": object(), "huge": 2**70, "good": 1}
    metric = Metric("m", "", "", Gauge([NumberDataPoint(attributes, 1, 2, 2**80), NumberDataPoint({}, 1, 2, 10**400)]))
    data = MetricsData([ResourceMetrics(Resource({}), [ScopeMetrics(InstrumentationScope("s"), [metric], "")], "")])
    for message in (
        ExportMetricsServiceRequest.FromString(encoding.encode(data)),
        from_json(encoding.encode(data, "json")),
    ):
        first, second = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
        assert [attribute.key for attribute in first.attributes] == ["good"]
        assert (first.as_double, second.as_double) == (2.0**80, 1e308)


def record_everything():
    for number in range(150):
        metrics.histogram("test.duration").record(number / 7, "x", number, "Error" if number % 2 else None)
        metrics.counter("test.calls").add(number, "é\x00\n\u2028</script>", number)
    metrics.counter("test.calls").add(0.5, "x")
    metrics.up_down_counter("test.active").add(-5, True, 1.5)
    metrics.gauge("test.level").set(7)
    metrics.observe("test.heat", lambda: [(20.5, ("x",))])
    for number in range(60):
        metrics.counter("test.small").add(1, number)


def flattened(message):
    """Return a request as the set of its points, since a metric of many series is written in slices."""
    found = {}
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points:
                    options = [
                        getattr(getattr(metric, kind), name, None)
                        for name in ("aggregation_temporality", "is_monotonic")
                    ]
                    attributes = tuple(sorted(str(attribute) for attribute in point.attributes))
                    key = (scope.scope.name, scope.schema_url, metric.name, metric.description, metric.unit, attributes)
                    assert key not in found
                    del point.attributes[:]
                    found[key] = (kind, *options, str(point))
    return found


@pytest.mark.parametrize("form", ["protobuf", "json"])
@pytest.mark.parametrize("temporality", [{}, {Histogram: AggregationTemporality.DELTA}])
def test_our_cells_are_written_as_the_stock_encoder_writes_our_points(form, temporality):
    built = provider.build(Resource({"service.name": "x"}), [provider.PullReader(temporality)])
    record_everything()
    built.get_meter("other").create_counter("theirs").add(1)
    (reader,) = built._metric_readers
    collected = reader.pull(changed_only=False)
    data = points.merged(
        MetricsData([ResourceMetrics(collected.resource, collected.scopes, "")]), collected.resource, collected.batches
    )
    wanted = flattened(encode_metrics(data))
    read = ExportMetricsServiceRequest.FromString if form == "protobuf" else from_json
    for _ in range(2):  # the second time from what is kept
        breaths = []
        written = list(encoding.payloads(collected, form, 100, partial(breaths.append, 1)))
        got = {}
        for payload, items in written:
            message = read(payload)
            assert message.resource_metrics[0].resource == encode_metrics(data).resource_metrics[0].resource
            part = flattened(message)
            assert len(part) == items
            got |= part
        assert got == wanted
        assert len(wanted) == 150 + 151 + 1 + 1 + 1 + 51 + 1
        assert len(written) > 2
        assert breaths


def test_a_real_exponential_histogram_with_exemplars():
    reader = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    built = provider.build(Resource({}), [reader], exemplar_filter=AlwaysOnExemplarFilter())
    for number in range(100):
        metrics.histogram("test.duration").record(number / 3, "x")
        built.get_meter("other").create_counter("theirs").add(1)
    data = reader.get_metrics_data()
    assert ExportMetricsServiceRequest.FromString(encoding.encode(data)) == encode_metrics(data)
    assert from_json(encoding.encode(data, "json")) == encode_metrics(data)
