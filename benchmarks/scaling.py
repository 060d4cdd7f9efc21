# SPDX-License-Identifier: Apache-2.0
"""Scale: 1 to 10,000 series of an instrument, 1 to 10,000 spans a second. Cost must stay flat for each item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from micro_metrics import BOUNDARIES, KEYS, instrument
from sinks import Sink

HERE = Path(__file__).resolve().parent
SERIES = (1, 10, 100, 1_000, 2_000, 10_000)
RATES = (1, 10, 100, 1_000, 10_000)
RECORDS = 40_000
SLOT = 0.01  # seconds


def _ours() -> tuple[Callable[[str], object], Callable[[], int]]:
    made = instrument("histogram")
    record = made.record
    from otel_openstack.metrics import encoding, streams

    stream = streams.Stream("bench", "", "s", "histogram", False, 2, KEYS, BOUNDARIES)
    feed = streams.Feed(made, [stream], 1)

    def export() -> int:
        from opentelemetry.sdk.resources import Resource

        collected = encoding.Collected(Resource.get_empty(), (), feed.collect(1, 2))
        return sum(points for _, points in encoding.payloads(collected, "protobuf", 1024, int))

    return lambda route: record(0.042, "GET", route, 200), export


def _sdk() -> tuple[Callable[[str], object], Callable[[], int]]:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench")
    record = meter.create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES).record
    first, second, third = KEYS

    def export() -> int:
        data = reader.get_metrics_data()
        encode_metrics(data).SerializeToString()
        return sum(len(m.data.data_points) for m in data.resource_metrics[0].scope_metrics[0].metrics)

    return lambda route: record(0.042, {first: "GET", second: route, third: 200}), export


def _prometheus() -> tuple[Callable[[str], object], Callable[[], int]]:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    made = prometheus_client.Histogram("bench", "", ["a", "b", "c"], buckets=BOUNDARIES, registry=registry)

    def export() -> int:
        return prometheus_client.generate_latest(registry).count(b"bench_count{")

    return lambda route: made.labels("GET", route, 200).observe(0.042), export


MAKERS = {"ours": _ours, "otel sdk": _sdk, "prometheus_client": _prometheus}


def series(sizes: tuple[int, ...] = SERIES) -> Iterator[dict[str, Any]]:
    """Yield a row for each library and number of series: ns of a record, ns of an exported point, bytes of a series."""
    for size in sizes:
        routes = [f"/v2.1/servers/{number}" for number in range(size)]
        for name, make in MAKERS.items():
            record, export = make()
            record(routes[0])
            export()
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            for route in routes:
                record(route)
            grown = tracemalloc.get_traced_memory()[0] - before
            tracemalloc.stop()
            turns = max(1, RECORDS // size // (1 if name == "ours" else 4))
            start = time.thread_time_ns()
            for _ in range(turns):
                for route in routes:
                    record(route)
            took = time.thread_time_ns() - start
            export()
            start = time.thread_time_ns()
            points = export()
            exported = time.thread_time_ns() - start
            yield {
                "variant": name,
                "series": size,
                "points": points,
                "record_ns": took / turns / size,
                "export_ns": exported / points,
                "bytes": grown,
                "bytes_per_series": grown / max(1, points - 1),
            }


def spans(seconds: float, rates: tuple[int, ...] = RATES) -> Iterator[dict[str, Any]]:
    """Yield a row for each of ours and the SDK and each rate: CPU of a span, its export included, and what arrived."""
    with Sink() as sink:
        for rate in rates:
            for variant in ("nothing", "ours", "otel sdk"):
                name = f"{variant} {rate}"
                inherited = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
                given = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url(name), "OTEL_OPENSTACK_SWITCH_FILE": ""}
                command = [sys.executable, str(HERE / "scaling.py"), variant, str(rate), str(seconds)]
                done = subprocess.run(command, capture_output=True, text=True, env=inherited | given, check=False)
                told = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": True}
                yield {"variant": variant, "rate": rate, **told, "arrived": sink.found(name).get("spans", 0)}


def child(variant: str, rate: int, seconds: float) -> None:
    from failing import _resident

    start = (lambda *_, **__: None) if variant == "nothing" else _tracer(variant)
    attributes = {"db.system.name": "mysql", "db.operation.name": "SELECT", "db.collection.name": "instances"}
    if variant != "nothing":
        start("first").end()
    time.sleep(0.5)
    before, cpu, made, began = _resident(), time.process_time(), 0, time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        while made < now * rate:
            span = start("inner", attributes=attributes)
            if span is not None:
                span.end()
            made += 1
        time.sleep(SLOT)
    time.sleep(1.2)  # what is left leaves
    print(json.dumps({"made": made, "cpu": time.process_time() - cpu, "grown": _resident() - before}))


def _tracer(variant: str) -> Any:
    from opentelemetry import trace

    if variant == "ours":
        import otel_openstack.auto  # noqa: F401 its import starts it
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=1000))
        trace.set_tracer_provider(tracers)
    return trace.get_tracer("bench").start_span


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
