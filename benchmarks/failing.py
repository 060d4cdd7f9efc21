# SPDX-License-Identifier: Apache-2.0
"""A collector that is up, down, slow, hanging or swallowing: what the service feels of it.

A process answers requests of 20 spans and one record each, in native threads or under eventlet, while a ticker notes
how late it gets its turn; then it ends. Measured: the request's latency, the ticker's lateness (under eventlet the gap
of the hub), the growth of memory, and how long the end takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STATES = ("up", "refusing", "slow", "hanging", "blackhole")
WORDS = {"refusing": "down", "blackhole": "swallowing"}
WORLDS = ("threads", "eventlet")
VARIANTS = ("nothing", "ours", "otel sdk")
TICK = 0.005
SPANS = 20
PAUSE = 0.002  # seconds between requests
QUIET = 1.0  # seconds before the first request, in which everything is imported


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _request(variant: str) -> Any:
    if variant == "nothing":
        return lambda: sum(range(2000))
    from opentelemetry import metrics, trace

    if variant == "ours":
        import otel_openstack.auto  # noqa: F401 its import starts it
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(), 2000)]))
    start = trace.get_tracer("bench").start_as_current_span
    record = metrics.get_meter("bench").create_histogram("bench").record

    def request() -> None:
        sum(range(2000))
        with start("request"):
            for _ in range(SPANS - 1):
                with start("inner", attributes={"db.system.name": "mysql", "db.operation.name": "SELECT"}):
                    pass
        record(0.1, {"http.route": "/servers/{id}"})

    return request


def child(variant: str, world: str, seconds: float) -> None:
    if world == "eventlet":
        import eventlet

        eventlet.monkey_patch()
    import threading

    request = _request(variant)
    request()
    time.sleep(QUIET)
    before, late, took, stop = _resident(), [], [], []

    def tick() -> None:
        while not stop:
            due = time.perf_counter() + TICK
            time.sleep(TICK)
            late.append(time.perf_counter() - due)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        request()
        took.append(time.perf_counter() - start)
        time.sleep(PAUSE)
    stop.append(True)
    ticker.join()
    told = {
        "requests": len(took),
        "p50": _quantile(took, 0.5),
        "p99": _quantile(took, 0.99),
        "gap_p99": _quantile(late, 0.99),
        "gap_max": max(late),
        "grown": _resident() - before,
    }
    os.write(1, (json.dumps(told) + "\n").encode())


def measure(variant: str, world: str, state: str, seconds: float, python: str = sys.executable) -> dict[str, Any]:
    """Run one process against a collector in one state."""
    sys.path.insert(0, str(ROOT))
    from tests.sink import Sink

    with Sink(state) as sink:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_OPENSTACK_SWITCH_FILE": ""}
        with subprocess.Popen(
            [python, str(HERE / "failing.py"), variant, world, str(seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=inherited | given,
            text=True,
        ) as process:
            assert process.stdout
            line = process.stdout.readline()
            ended = time.monotonic()
            process.wait(120)
            told: dict[str, Any] = json.loads(line) if line else {"failed": True}
        told["exit"] = time.monotonic() - ended
        told["spans"] = len(sink.spans()) if state in ("up", "slow") else 0
        return told


def measure_all(
    seconds: float, rounds: int, states: tuple[str, ...] = STATES, variants: tuple[str, ...] = VARIANTS
) -> list[dict[str, Any]]:
    """Return a row for each variant, world and state: in every round each once."""
    rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for world in WORLDS:
            for state in states:
                for variant in variants:
                    key = variant, world, WORDS.get(state, state)
                    rows.setdefault(key, []).append(measure(variant, world, state, seconds))
    return [{"variant": v, "world": w, "state": s, "runs": runs} for (v, w, s), runs in rows.items()]


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], float(sys.argv[3]))
