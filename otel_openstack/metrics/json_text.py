# SPDX-License-Identifier: Apache-2.0
"""OTLP metrics as JSON: camelCase, 64 bit integers as strings, ids in hex, what is not a number by name."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from json import dumps
from math import isfinite, isnan
from typing import Any

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Metric, Sum
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_openstack import scrub
from otel_openstack.metrics import cells
from otel_openstack.metrics.instruments import Labels
from otel_openstack.metrics.streams import Batch, Stream

INT64 = 1 << 63


def any_value(value: Any) -> str:  # noqa: PLR0911 a table of types
    """Encode what an attribute holds; None is an empty object.

    Raises:
        TypeError: no attribute may hold that.
    """
    match value:
        case None:
            return "{}"
        case str():
            return f'{{"stringValue":{dumps(value)}}}'
        case bool():
            return f'{{"boolValue":{"true" if value else "false"}}}'
        case int() if -INT64 <= value < INT64:
            return f'{{"intValue":"{int(value)}"}}'
        case float():
            return f'{{"doubleValue":{double(value)}}}'
        case bytes():
            return f'{{"bytesValue":"{base64.b64encode(value).decode()}"}}'
        case Mapping():
            items = ",".join(key_value(str(key), item) for key, item in value.items())
            return f'{{"kvlistValue":{{"values":[{items}]}}}}'
        case Sequence():
            return f'{{"arrayValue":{{"values":[{",".join(map(any_value, value))}]}}}}'
    raise TypeError(f"no attribute can hold a {type(value).__name__}")


def key_value(key: str, value: Any) -> str:
    """Encode one attribute."""
    return f'{{"key":{dumps(key)},"value":{any_value(value)}}}'


def attributes(mapping: Mapping[str, Any] | None) -> str:
    """Encode attributes; one that cannot be is left out."""
    out = []
    for key, value in (mapping or {}).items():
        try:
            out.append(key_value(key, scrub.rule(key)(value)))
        except TypeError:
            continue
    return f"[{','.join(out)}]"


def double(number: float) -> str:
    """Encode a number as the JSON form of protobuf has it."""
    try:
        value = float(number)
    except OverflowError:
        return "1e308" if number > 0 else "-1e308"
    if isfinite(value):
        return repr(value)
    return '"NaN"' if isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def request(resource: Resource, scopes: Sequence[tuple[InstrumentationScope, Sequence[bytes]]]) -> bytes:
    """Return an ExportMetricsServiceRequest of metrics that are encoded already, as one line without its end."""
    encoded = b",".join(
        f'{{"scope":{{"name":{dumps(scope.name)},"version":{dumps(scope.version or "")},'
        f'"attributes":{attributes(scope.attributes)}}},"metrics":['.encode()
        + b",".join(metrics)
        + f'],"schemaUrl":{dumps(scope.schema_url or "")}}}'.encode()
        for scope, metrics in scopes
    )
    head = f'{{"resourceMetrics":[{{"resource":{{"attributes":{attributes(resource.attributes)}}},"scopeMetrics":['
    return head.encode() + encoded + f'],"schemaUrl":{dumps(resource.schema_url or "")}}}]}}'.encode()


# Our own points.


def batch(points: Batch) -> bytes:
    """Encode a batch of our points as one Metric."""
    stream = points.stream
    make = _histogram_points if stream.kind == "histogram" else _number_points
    joined = ",".join(make(points, stream.encoded.setdefault("json", {})))
    return _metric(stream, stream.kind, joined, _options(stream))


def _options(stream: Stream) -> str:
    if stream.kind == "gauge":
        return ""
    monotonic = f',"isMonotonic":{"true" if stream.monotonic else "false"}' if stream.kind == "sum" else ""
    return f',"aggregationTemporality":{stream.temporality}{monotonic}'


def _metric(of: Stream | Metric, kind: str, points: str, options: str) -> bytes:
    head = f'{{"name":{dumps(of.name)},"description":{dumps(of.description or "")},"unit":{dumps(of.unit or "")}'
    return f'{head},"{kind}":{{"dataPoints":[{points}]{options}}}}}'.encode()


def _labels(stream: Stream, labels: Labels, known: dict[Labels, str]) -> str:
    encoded = known[labels] = attributes(stream.attributes(labels))
    return encoded


def _histogram_points(points: Batch, known: dict[Labels, str]) -> Iterable[str]:
    stream, start, time, series = points
    times = f'"startTimeUnixNano":"{start}","timeUnixNano":"{time}"'
    bounds = ",".join(map(double, stream.boundaries))
    for labels, cell in series:
        total, low, high, *counts = cell
        ends = f',"min":{double(low)},"max":{double(high)}' if stream.extremes else ""
        yield (
            f'{{"attributes":{known.get(labels) or _labels(stream, labels, known)},{times},"count":"{sum(counts)}",'
            f'"sum":{double(total)},"bucketCounts":{_strings(counts)},"explicitBounds":[{bounds}]{ends}}}'
        )


def _number_points(points: Batch, known: dict[Labels, str]) -> Iterable[str]:
    stream, start, time, series = points
    since = "" if stream.kind == "gauge" else f'"startTimeUnixNano":"{start}",'
    for labels, cell in series:
        common = known.get(labels) or _labels(stream, labels, known)
        yield f'{{"attributes":{common},{since}"timeUnixNano":"{time}",{_number(cell[cells.VALUE])}}}'


def _number(value: float) -> str:
    if isinstance(value, int) and -INT64 <= value < INT64:
        return f'"asInt":"{int(value)}"'
    return f'"asDouble":{double(value)}'


def _strings(numbers: Iterable[int]) -> str:
    joined = '","'.join(map(str, numbers))
    return f'["{joined}"]' if joined else "[]"


# The points of the SDK's own instruments.


def metric(found: Metric) -> bytes:
    """Encode a metric of the SDK."""
    data = found.data
    options = ""
    match data:
        case Gauge():
            kind, points = "gauge", [_number_point(point, gauge=True) for point in data.data_points]
        case Sum():
            kind, points = "sum", [_number_point(point, gauge=False) for point in data.data_points]
            options = f',"isMonotonic":{"true" if data.is_monotonic else "false"}'
        case Histogram():
            kind, points = "histogram", [_histogram_point(point) for point in data.data_points]
        case ExponentialHistogram():
            kind, points = "exponentialHistogram", [_exponential_point(point) for point in data.data_points]
    if not isinstance(data, Gauge):
        options += f',"aggregationTemporality":{int(data.aggregation_temporality)}'
    return _metric(found, kind, ",".join(points), options)


def _head(point: Any, *, gauge: bool = False) -> str:
    since = "" if gauge else f'"startTimeUnixNano":"{point.start_time_unix_nano or 0}",'
    return f'"attributes":{attributes(point.attributes)},{since}"timeUnixNano":"{point.time_unix_nano}"'


def _number_point(point: Any, *, gauge: bool) -> str:
    return f"{{{_head(point, gauge=gauge)},{_number(point.value)}{_exemplars(point)}}}"


def _histogram_point(point: Any) -> str:
    bounds = ",".join(map(double, point.explicit_bounds))
    return (
        f'{{{_head(point)},"count":"{point.count}","sum":{double(point.sum)},"bucketCounts":'
        f'{_strings(point.bucket_counts)},"explicitBounds":[{bounds}],"min":{double(point.min)},'
        f'"max":{double(point.max)}{_exemplars(point)}}}'
    )


def _exponential_point(point: Any) -> str:
    return (
        f'{{{_head(point)},"count":"{point.count}","sum":{double(point.sum)},"scale":{point.scale},'
        f'"zeroCount":"{point.zero_count}"{_buckets("positive", point.positive)}'
        f'{_buckets("negative", point.negative)},"flags":{point.flags},"min":{double(point.min)},'
        f'"max":{double(point.max)}{_exemplars(point)}}}'
    )


def _buckets(name: str, buckets: Any) -> str:
    if not buckets.bucket_counts:
        return ""
    return f',"{name}":{{"offset":{buckets.offset},"bucketCounts":{_strings(buckets.bucket_counts)}}}'


def _exemplars(point: Any) -> str:
    if not point.exemplars:
        return ""
    return f',"exemplars":[{",".join(map(_exemplar, point.exemplars))}]'


def _exemplar(exemplar: Any) -> str:
    ids = ""
    if exemplar.span_id is not None and exemplar.trace_id is not None:
        ids = f',"spanId":"{exemplar.span_id:016x}","traceId":"{exemplar.trace_id:032x}"'
    filtered = attributes(exemplar.filtered_attributes)
    return (
        f'{{"filteredAttributes":{filtered},"timeUnixNano":"{exemplar.time_unix_nano}",{_number(exemplar.value)}{ids}}}'
    )
