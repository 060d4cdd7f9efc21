# SPDX-License-Identifier: Apache-2.0
"""What the export thread does for one span and one point: encoding, and for points the collection before it."""

from __future__ import annotations

from typing import Any

from micro import Cases, Made, nothing
from micro_metrics import BOUNDARIES, KEYS, instrument
from micro_spans import ATTRIBUTES, Traced

SPANS, POINTS = 512, 64


class _Bytes:
    """Counts what was encoded; `last` is the size of the last request."""

    def __init__(self) -> None:
        self.items = 0
        self.last = 0


def _spans(kind: str) -> list[Any]:
    traced = Traced(kind)
    caught: list[Any] = []
    with traced.start("outer"):
        for _ in range(SPANS):
            with traced.start("inner", attributes=ATTRIBUTES) as span:
                pass
            caught.append(span)
    traced.flush()
    return caught


def ours_spans(form: str) -> Made:
    from otel_openstack.tracing import encoding, encoding_json

    spans = _spans("ours")
    encoder = {"protobuf": encoding, "json": encoding_json}[form].SpanEncoder()
    sizes = _Bytes()

    def encode() -> None:
        encoded = encoder.encode(spans, int)
        sizes.items += encoded.items
        sizes.last = len(encoded.payload)

    return Made("f()", {"f": encode, "sizes": sizes}, lambda: sizes.items, share=SPANS)


def sdk_spans() -> Made:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    spans = [span._readable_span() for span in _spans("sdk")]
    sizes = _Bytes()

    def encode() -> None:
        sizes.last = len(encode_spans(spans).SerializePartialToString())
        sizes.items += len(spans)

    return Made("f()", {"f": encode, "sizes": sizes}, lambda: sizes.items, share=SPANS)


def _feed(points: int) -> tuple[Any, Any, Any]:
    from opentelemetry.sdk.resources import Resource

    from otel_openstack.metrics import encoding, streams

    made = instrument("histogram", limit=20_000)
    for number in range(points):
        made.record(0.042, "GET", f"/v2.1/{number}", 200)
    stream = streams.Stream("bench", "", "s", "histogram", False, 2, KEYS, BOUNDARIES)
    return encoding, streams.Feed(made, [stream], 1), Resource.get_empty()


def ours_points(form: str) -> Made:
    encoding, feed, resource = _feed(POINTS)
    sizes = _Bytes()

    def export() -> None:
        collected = encoding.Collected(resource, (), feed.collect(1, 2))
        for payload, points in encoding.payloads(collected, form, 1024, int):
            sizes.items += points
            sizes.last = len(payload)

    return Made("f()", {"f": export, "sizes": sizes}, lambda: sizes.items, share=POINTS)


def sdk_points() -> Made:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], resource=Resource.get_empty(), shutdown_on_exit=False)
    histogram = provider.get_meter("bench").create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES)
    for number in range(POINTS):
        histogram.record(0.042, dict(zip(KEYS, ("GET", f"/v2.1/{number}", 200), strict=True)))
    sizes = _Bytes()

    def export() -> None:
        sizes.last = len(encode_metrics(reader.get_metrics_data()).SerializeToString())
        sizes.items += POINTS

    return Made("f()", {"f": export, "sizes": sizes}, lambda: sizes.items, share=POINTS)


def prometheus_points() -> Made:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    made = prometheus_client.Histogram("bench", "", ["a", "b", "c"], buckets=BOUNDARIES, registry=registry)
    for number in range(POINTS):
        made.labels("GET", f"/v2.1/{number}", 200).observe(0.042)
    sizes = _Bytes()

    def export() -> None:
        sizes.last = len(prometheus_client.generate_latest(registry))
        sizes.items += POINTS

    return Made("f()", {"f": export, "sizes": sizes}, lambda: sizes.items, share=POINTS)


CASES: Cases = {
    "span, encoded": {
        "nothing": nothing,
        "ours": lambda: ours_spans("protobuf"),
        "ours, as JSON": lambda: ours_spans("json"),
        "otel sdk": sdk_spans,
    },
    "point, collected and encoded": {
        "nothing": nothing,
        "ours": lambda: ours_points("protobuf"),
        "ours, as JSON": lambda: ours_points("json"),
        "otel sdk": sdk_points,
        "prometheus_client": prometheus_points,
    },
}
