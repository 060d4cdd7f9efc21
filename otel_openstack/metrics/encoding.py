# SPDX-License-Identifier: Apache-2.0
"""A collection as OTLP payloads, protobuf or JSON, each of a bounded number of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_openstack.metrics import json_text, protobuf
from otel_openstack.metrics.points import SCOPE
from otel_openstack.metrics.streams import Batch

SLICE = 64
"""The most points encoded in one go; between slices others get the interpreter."""

T = TypeVar("T")


class Collected(NamedTuple):
    """One collection: what the SDK's own instruments have, and our cells."""

    resource: Resource
    scopes: Sequence[ScopeMetrics]
    batches: Sequence[Batch]


class Format(NamedTuple):
    """How to write the parts of a request."""

    batch: Callable[[Batch], bytes]
    metric: Callable[[Metric], bytes]
    request: Callable[[Resource, Sequence[tuple[InstrumentationScope, Sequence[bytes]]]], bytes]


FORMATS = {
    "protobuf": Format(protobuf.batch, protobuf.metric, protobuf.request),
    "json": Format(json_text.batch, json_text.metric, json_text.request),
}


def encode(data: MetricsData, encoding: str = "protobuf") -> bytes:
    """Return one ExportMetricsServiceRequest for data of the SDK."""
    writer = FORMATS[encoding]
    requests = [
        writer.request(
            found.resource, [(scope.scope, list(map(writer.metric, scope.metrics))) for scope in found.scope_metrics]
        )
        for found in data.resource_metrics
    ]
    if encoding == "protobuf":
        return b"".join(requests)  # messages of protobuf merge when one follows the other
    return b'{"resourceMetrics":[' + b",".join(_inner(request) for request in requests) + b"]}"


def payloads(
    collected: Collected, encoding: str, limit: int, between: Callable[[], None]
) -> Iterator[tuple[bytes, int]]:
    """Yield payloads of at most about `limit` points, with the number of points in each.

    Args:
        collected: what to encode.
        encoding: protobuf or json.
        limit: points in a payload; a metric of the SDK is not divided.
        between: called after each slice of points, to let others run.
    """
    writer = FORMATS[encoding]
    scopes: dict[InstrumentationScope, list[bytes]] = {}
    points = 0
    for scope, metric, size in _metrics(collected, writer):
        scopes.setdefault(scope, []).append(metric)
        points += size
        if points >= limit:
            yield writer.request(collected.resource, list(scopes.items())), points
            scopes, points = {}, 0
        between()
    if points:
        yield writer.request(collected.resource, list(scopes.items())), points


def _metrics(collected: Collected, writer: Format) -> Iterator[tuple[InstrumentationScope, bytes, int]]:
    for theirs in collected.scopes:
        for metric in theirs.metrics:
            yield theirs.scope, writer.metric(metric), len(metric.data.data_points)
    for batch in collected.batches:
        for start in range(0, len(batch.points), SLICE):
            part = batch._replace(points=batch.points[start : start + SLICE])
            yield SCOPE, writer.batch(part), len(part.points)


def _inner(request: bytes) -> bytes:
    return request[len(b'{"resourceMetrics":[') : -len(b"]}")]
