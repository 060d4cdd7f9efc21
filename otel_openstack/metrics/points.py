# SPDX-License-Identifier: Apache-2.0
"""Our points in the classes of the SDK's data model, for readers and exporters that are not ours."""

from __future__ import annotations

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_openstack import __version__
from otel_openstack.metrics import cells
from otel_openstack.metrics.streams import Batch
from otel_openstack.semconv.instruments import SCHEMA_URL

SCOPE = InstrumentationScope("otel_openstack", __version__, SCHEMA_URL)


def merged(theirs: MetricsData | None, resource: Resource, batches: list[Batch]) -> MetricsData | None:
    """Return the SDK's data with our points added; None if there is nothing at all, as the SDK has it."""
    if not batches:
        return theirs
    metrics = [metric(batch) for batch in batches]
    scopes = list(theirs.resource_metrics[0].scope_metrics) if theirs is not None else []
    for place, scope in enumerate(scopes):
        if scope.scope == SCOPE:  # encoders want a scope once
            scopes[place] = ScopeMetrics(SCOPE, [*scope.metrics, *metrics], SCHEMA_URL)
            break
    else:
        scopes.append(ScopeMetrics(SCOPE, metrics, SCHEMA_URL))
    return MetricsData([ResourceMetrics(resource, scopes, resource.schema_url)])


def metric(batch: Batch) -> Metric:
    """Return the points of a stream in the SDK's class."""
    stream = batch.stream
    data: Histogram | Sum | Gauge
    if stream.kind == "histogram":
        data = Histogram(_histogram_points(batch), AggregationTemporality(stream.temporality))
    elif stream.kind == "sum":
        data = Sum(_number_points(batch), AggregationTemporality(stream.temporality), stream.monotonic)
    else:
        data = Gauge(_number_points(batch))
    return Metric(stream.name, stream.description, stream.unit, data)


def _number_points(batch: Batch) -> list[NumberDataPoint]:
    stream, start, time, points = batch
    since: int | None = None if stream.kind == "gauge" else start
    return [
        NumberDataPoint(stream.attributes(labels), since, time, cell[cells.VALUE])  # type: ignore[arg-type]
        for labels, cell in points
    ]


def _histogram_points(batch: Batch) -> list[HistogramDataPoint]:
    stream, start, time, points = batch
    made = []
    for labels, cell in points:
        low, high = cell[cells.LOW : cells.FIRST_BUCKET] if stream.extremes else cells.NO_EXTREMES
        counts = tuple(cell[cells.FIRST_BUCKET :])
        made.append(
            HistogramDataPoint(
                attributes=stream.attributes(labels),
                start_time_unix_nano=start,
                time_unix_nano=time,
                count=sum(counts),
                sum=cell[cells.SUM],
                bucket_counts=counts,
                explicit_bounds=stream.boundaries,
                min=low,
                max=high,
            )
        )
    return made
