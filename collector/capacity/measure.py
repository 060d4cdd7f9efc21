# SPDX-License-Identifier: Apache-2.0
"""Measure what a gateway takes of a processor, of memory and of the wire, with the OTLP of a recorded run of the cloud.

    make collector
    .venv/bin/python collector/capacity/measure.py .demo/otlp

The run is repeated, each time with other trace ids, processes and times, and sent as agents do: protobuf, gzip, a
thousand spans or points a request. Rates are per second of processor time that the gateway used, so they hardly depend
on what else the machine does. It writes figures.json, from which gateways.py makes docs/gateways.md.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import http.client
import json
import os
import platform
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BINARY = ROOT / ".cache" / "collector" / "otel-openstack-collector"
FILES = ("gateway.yaml", "to-prometheus.yaml", "to-files.yaml")
IDS = ("traceId", "spanId", "parentSpanId")
TRACE_COPIES, HOLD_COPIES, HOSTS, TURNS = 24, 40, 8, 4
PER_REQUEST = 1000
IDLE = 0.1
KINDS = ("sum", "gauge", "histogram", "exponentialHistogram")
OK = 200


class Gateway:
    """A gateway with the outputs of FILES; `decision_wait` is how long it holds traces."""

    def __init__(self, directory: Path, decision_wait: str) -> None:
        self.port, health, *others = (free_port() for _ in range(5))
        self.health = health
        command = [BINARY, *(part for name in FILES for part in ("--config", ROOT / "collector/config" / name))]
        environment = {
            "OTEL_OPENSTACK_OTLP_HTTP": f"127.0.0.1:{self.port}", "OTEL_OPENSTACK_HEALTH": f"127.0.0.1:{health}",
            "OTEL_OPENSTACK_OTLP_GRPC": f"127.0.0.1:{others[0]}", "OTEL_OPENSTACK_FILES": str(directory),
            "OTEL_OPENSTACK_COLLECTOR_METRICS_PORT": str(others[1]),
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{others[2]}", "OTEL_OPENSTACK_DECISION_WAIT": decision_wait,
        }  # fmt: skip
        with (directory / "log").open("wb") as log:
            self.child = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        while not self.up():
            if self.child.poll() is not None:
                sys.exit((directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    def up(self) -> bool:
        with contextlib.suppress(OSError), contextlib.closing(connect(self.health)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().status == OK
        return False

    def send(self, path: str, bodies: list[bytes]) -> None:
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        with contextlib.closing(connect(self.port)) as connection:
            for body in bodies:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != OK:
                    sys.exit(f"the gateway answered {answer.status}: what it would have taken is not known")

    def cpu(self) -> float:
        """Seconds of processor time, its own and the kernel's for it."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else 0.0

    def settle(self) -> None:
        """Wait until it has nothing more to do."""
        before = -1.0
        while self.cpu() - before > IDLE:
            before = self.cpu()
            time.sleep(2)

    def stop(self) -> None:
        self.child.terminate()
        self.child.wait()


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def recorded(directory: Path, signal: str) -> list[dict[str, Any]]:
    """Return the run's resources with one signal: `resourceSpans` or `resourceMetrics`."""
    lines = [line for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [resource for line in lines for resource in json.loads(line).get(signal, ())]


def other(resources: list[dict[str, Any]], seed: bytes, shift: int) -> list[dict[str, Any]]:
    """Return the same of other processes and traces, `shift` nanoseconds later."""
    text = json.dumps(resources)
    mask = int.from_bytes(seed, "big")
    text = re.sub(
        rf'"({"|".join(IDS)})": "([0-9a-f]+)"',
        lambda found: f'"{found[1]}": "{int(found[2], 16) ^ (mask >> (128 - 4 * len(found[2]))):0{len(found[2])}x}"',
        text,
    )
    text = re.sub(
        r'"(\w+TimeUnixNano|timeUnixNano)": "(\d+)"', lambda found: f'"{found[1]}": "{int(found[2]) + shift}"', text
    )
    text = re.sub(
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        lambda found: str(uuid.UUID(int=uuid.UUID(found[0]).int ^ mask)),
        text,
    )
    loaded: list[dict[str, Any]] = json.loads(text)
    return loaded


def bodies(resources: list[dict[str, Any]], signal: str, size: Any) -> list[bytes]:
    """Return requests of about PER_REQUEST items."""
    kind = ExportTraceServiceRequest if signal == "resourceSpans" else ExportMetricsServiceRequest
    packed, batch, held = [], [], 0
    for resource in resources:
        batch.append(resource)
        held += size(resource)
        if held >= PER_REQUEST:
            packed.append(encoded(kind, signal, batch))
            batch, held = [], 0
    return [*packed, *([encoded(kind, signal, batch)] if batch else [])]


def encoded(kind: Any, signal: str, batch: list[dict[str, Any]]) -> bytes:
    message = kind()
    # JSON of OTLP has ids in hexadecimal, that of protobuf in base64.
    text = re.sub(rf'"({"|".join(IDS)})": "([0-9a-f]+)"', based, json.dumps({signal: batch}))
    json_format.Parse(text, message, ignore_unknown_fields=True)
    return gzip.compress(message.SerializeToString(), 6)


def based(found: re.Match[str]) -> str:
    return f'"{found[1]}": "{base64.b64encode(bytes.fromhex(found[2])).decode()}"'


def spans(resource: dict[str, Any]) -> int:
    return sum(len(scope["spans"]) for scope in resource["scopeSpans"])


def points(resource: dict[str, Any]) -> int:
    metrics = [metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]]
    return sum(len(metric[kind]["dataPoints"]) for metric in metrics for kind in KINDS if kind in metric)


def process_seconds(resources: list[dict[str, Any]]) -> float:
    """How long the run's processes reported, added up."""
    seen: dict[str, list[int]] = {}
    for resource in resources:
        attributes = {one["key"]: one["value"] for one in resource["resource"]["attributes"]}
        times = re.findall(r'"timeUnixNano": "(\d+)"', json.dumps(resource))
        seen.setdefault(attributes["service.instance.id"]["stringValue"], []).extend(map(int, times))
    return sum(max(times) - min(times) for times in seen.values()) / 1e9


def ended(resources: list[dict[str, Any]]) -> int:
    """When the run ended, in nanoseconds since 1970."""
    return max(int(found) for found in re.findall(r'imeUnixNano": "(\d+)"', json.dumps(resources)))


def rate(directory: Path, path: str, packed: list[bytes], items: int) -> float:
    """Items for a second of processor time, after as much again has warmed it up."""
    gateway = Gateway(directory, "2s")
    try:
        half = len(packed) // 2
        gateway.send(path, packed[:half])
        gateway.settle()
        before = gateway.cpu()
        gateway.send(path, packed[half:])
        gateway.settle()
        return items * (len(packed) - half) / len(packed) / (gateway.cpu() - before)
    finally:
        gateway.stop()


def held(directory: Path, packed: list[bytes], traces: int) -> tuple[float, float]:
    """MiB of a gateway that holds nothing, and for each thousand traces that it holds until it decides."""
    gateway = Gateway(directory, "10m")
    try:
        gateway.settle()
        empty = gateway.mebibytes()
        gateway.send("/v1/traces", packed)
        gateway.settle()
        return empty, (gateway.mebibytes() - empty) / traces * 1000
    finally:
        gateway.stop()


def measure(run: Path) -> dict[str, Any]:
    """All figures."""
    traces, metrics = recorded(run, "resourceSpans"), recorded(run, "resourceMetrics")
    shift = time.time_ns() - ended(traces)
    spans_of_run, points_of_run = sum(map(spans, traces)), sum(map(points, metrics))
    ids = set(re.findall(r'"traceId": "([0-9a-f]+)"', json.dumps(traces)))
    copies = [secrets.token_bytes(16) for _ in range(max(TRACE_COPIES, HOLD_COPIES))]
    packed = [body for seed in copies for body in bodies(other(traces, seed, shift), "resourceSpans", spans)]
    a_copy = len(packed) // len(copies)
    turns = [
        body
        for turn in range(TURNS)
        for seed in copies[:HOSTS]
        for body in bodies(other(metrics, seed, shift + turn * 10**9), "resourceMetrics", points)
    ]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        of_spans = rate(directory, "/v1/traces", packed[: TRACE_COPIES * a_copy], TRACE_COPIES * spans_of_run)
        of_points = rate(directory, "/v1/metrics", turns, TURNS * HOSTS * points_of_run)
        empty, thousand = held(directory, packed[: HOLD_COPIES * a_copy], HOLD_COPIES * len(ids))
    return {
        "collector": subprocess.check_output([BINARY, "--version"], text=True).split()[-1].partition("+")[0],
        "outputs": list(FILES[1:]),
        "processor": processor(),
        "spans_per_core_second": round(of_spans, -2),
        "points_per_core_second": round(of_points, -2),
        "bytes_per_span": round(sum(map(len, packed)) / len(copies) / spans_of_run, 1),
        "bytes_per_point": round(sum(map(len, turns)) / TURNS / HOSTS / points_of_run, 1),
        "spans_per_trace": round(spans_of_run / len(ids), 1),
        "points_per_process_second": round(points_of_run / process_seconds(metrics), 1),
        "mebibytes_empty": round(empty),
        "mebibytes_per_thousand_traces": round(thousand, 1),
    }


def processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what a gateway takes, with a recorded run of the cloud.")
    parser.add_argument("run", type=Path, nargs="?", default=ROOT / ".demo" / "otlp", help="the run's OTLP JSON lines")
    figures = measure(parser.parse_args().run)
    (HERE / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
