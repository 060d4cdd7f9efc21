# SPDX-License-Identifier: Apache-2.0
"""The built collector, the real Etsy statsd, and workers that report to them, for tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = ROOT / "collector" / "config"
CACHE = ROOT / ".cache" / "collector"
PEERS = ROOT / "collector" / "peers"
SECONDS = 30
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
HEALTHY = re.compile(r"^otelcol_(\w+?)(?:\{(.*)\})? ([0-9.e+]+)$")
SIGNALS = ("spans", "metric_points", "log_records")
# What the collector counts when something does not arrive where it should.
DROPS = (
    "exporter_statsd_dropped_lines", "exporter_statsd_dropped_points",
    *(f"receiver_{how}_{what}" for how in ("refused", "failed") for what in SIGNALS),
    *(f"exporter_{how}_failed_{what}" for how in ("send", "enqueue") for what in SIGNALS),
)  # fmt: skip


def binary():
    subprocess.run([sys.executable, ROOT / "collector" / "build.py"], check=True)
    return CACHE / "otel-openstack-collector"


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait(holds, what, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def text(path):
    """A file's text; none as long as it does not exist."""
    return path.read_text() if path.exists() else ""


class Process:
    """A child that is ended by its pid, and whose log is shown when it fails."""

    def __init__(self, command, log, environment=None):
        self.log = log
        with log.open("ab") as into:
            self.child = subprocess.Popen(
                command, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL, stdout=into, stderr=into
            )

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            return self.child.wait(15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise

    def alive(self):
        assert self.child.poll() is None, self.log.read_text()[-3000:]
        return True


class Collector:
    """The built collector with files of collector/config; `extra` is YAML that is merged over them."""

    def __init__(self, directory, *files, extra="", environment=None):
        self.directory = directory
        self.otlp, self.metrics, health = free_port(), free_port(), free_port()
        arguments = [argument for name in files for argument in ("--config", CONFIG / name)]
        if extra:
            path = directory / "extra.yaml"
            path.write_text(extra)
            arguments += ["--config", path]
        self.command = [CACHE / "otel-openstack-collector", *arguments]
        self.environment = {
            "OTEL_OPENSTACK_OTLP_HTTP": f"127.0.0.1:{self.otlp}",
            "OTEL_OPENSTACK_OTLP_GRPC": f"127.0.0.1:{free_port()}",
            "OTEL_OPENSTACK_OTLP_SOCKET": str(directory / "otlp.sock"),
            "OTEL_OPENSTACK_HEALTH": f"127.0.0.1:{health}",
            "OTEL_OPENSTACK_COLLECTOR_METRICS_PORT": str(self.metrics),
            "OTEL_OPENSTACK_STATSD_INTERVAL": "200ms",
            "OTEL_OPENSTACK_DOGSTATSD_INTERVAL": "200ms",
            "OTEL_OPENSTACK_PROMETHEUS_INTERVAL": "200ms",
            "OTEL_OPENSTACK_FILES": str(directory),
        } | (environment or {})
        self.health = health
        self.process = None

    def start(self):
        Path(self.environment["OTEL_OPENSTACK_OTLP_SOCKET"]).unlink(missing_ok=True)
        self.process = Process(self.command, self.directory / "collector.log", self.environment)
        wait(lambda: self.process.alive() and self.get(self.health, "/"), "the collector's health")
        time.sleep(0.3)  # it is healthy a moment before it heeds signals
        return self

    def stop(self, how=signal.SIGTERM):
        return self.process.stop(how)

    __enter__ = start

    def __exit__(self, *exc):
        self.stop()

    def get(self, port, path):
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode()
                return text if answer.status == http.HTTPStatus.OK else None
        return None

    def post(self, body, path="/v1/metrics", *, over_socket=False, kind="application/json"):
        """Return the status of an OTLP/HTTP request, of JSON if nothing else is said."""
        connection = http.client.HTTPConnection("127.0.0.1", self.otlp, timeout=10)
        if over_socket:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self.environment["OTEL_OPENSTACK_OTLP_SOCKET"])
        with contextlib.closing(connection):
            text = body if isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request("POST", path, text, {"Content-Type": kind})
            return connection.getresponse().status

    def report(self, *workers, over_socket=False):
        # The youngest point first: the intervals of processes overlap.
        body = {"resourceMetrics": [worker.resource() for worker in workers][::-1]}
        assert self.post(body, over_socket=over_socket) == http.HTTPStatus.OK

    def health_metrics(self):
        """The collector's own metrics: name, labels, value."""
        for line in (self.get(self.metrics, "/metrics") or "").splitlines():
            if found := HEALTHY.match(line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                yield found[1].removesuffix("_total"), labels, float(found[3])

    def own(self, name, by="reason"):
        """Sum of one of the collector's own metrics, by reason where it has one, or by another label."""
        sums = Counter()
        for found, labels, value in self.health_metrics():
            if found == name:
                sums[labels.get(by, "")] += value
        return sums

    def drops(self):
        """What was dropped, by metric and labels (which exporter, why), as the collector counts it."""
        told = ("exporter", "receiver", "data_type", "reason")
        return {
            " ".join((name, *(labels[label] for label in told if label in labels))): value
            for name, labels, value in self.health_metrics()
            if name in DROPS and value
        }

    def prometheus(self, port):
        """Values of what to-prometheus.yaml shows, by metric, added up over its series."""
        sums = Counter()
        for line in (self.get(port, "/metrics") or "").split("\n"):
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                sums[series.partition("{")[0]] += float(value)
        return sums

    def memory(self):
        status = Path(f"/proc/{self.process.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


class EtsyStatsd:
    """The real daemon, from npm, with a backend that writes what it flushes."""

    def __init__(self, directory, server="udp"):
        self.directory, self.server = directory, server
        self.port, self.management = free_port(), free_port()
        self.file = directory / "flushes.jsonl"
        self.process = None
        self.at, self.counted, self.flushed = 0, Counter(), {"gauges": {}}

    @staticmethod
    def install():
        if not shutil.which("npm"):
            pytest.skip("Etsy's statsd comes from npm, and there is no `npm` in PATH")
        command = [sys.executable, PEERS / "build.py", "statsd"]
        return ROOT / subprocess.check_output(command, text=True).splitlines()[-1]

    def start(self):
        config = {
            "address": "127.0.0.1", "port": self.port, "mgmt_address": "127.0.0.1", "mgmt_port": self.management,
            "server": f"./servers/{self.server}", "flushInterval": 200, "file": str(self.file),
            "backends": [str(PEERS / "statsd" / "backend.js")],
        }  # fmt: skip
        path = self.directory / "statsd.js"
        path.write_text(json.dumps(config))
        self.process = Process(["node", self.install(), path], self.directory / "statsd.log")
        wait(lambda: self.process.alive() and "server is up" in self.process.log.read_text(), "statsd")
        return self

    def stop(self):
        self.process.stop(signal.SIGINT)

    __enter__ = start

    def __exit__(self, *exc):
        self.stop()

    def read(self):
        """Read what was flushed since the last time: a flush names every counter there ever was."""
        if self.file.exists():
            with self.file.open() as lines:
                lines.seek(self.at)
                while (line := lines.readline()).endswith("\n"):
                    self.at = lines.tell()
                    self.flushed = json.loads(line)
                    self.counted.update({name: value for name, value in self.flushed["counters"].items() if value})

    def counter(self, name):
        self.read()
        return self.counted[name]

    def gauge(self, name):
        self.read()
        return self.flushed["gauges"].get(name)


@dataclass
class Worker:
    """A process that counts and measures requests, as the SDK reports them: cumulative, from its own start."""

    service: str = "nova-api"
    started: float = field(default_factory=time.time)
    instance: str = field(default_factory=lambda: str(uuid.uuid4()))
    number: int | None = None  # of a worker: the one that is started in its place has it too
    requests: int = 0
    active: int = 0
    latencies: list[float] = field(default_factory=list)

    def serve(self, *latencies):
        self.requests += len(latencies)
        self.latencies += latencies

    def resource(self):
        attributes = {"service.name": self.service, "service.instance.id": self.instance, "host.name": "c1"}
        told = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
        if self.number is not None:
            pid = int(self.instance[:4], 16)
            told += [{"key": "openstack.worker.id", "value": {"intValue": str(self.number)}}]
            told += [{"key": "process.pid", "value": {"intValue": str(pid)}}]
        return {
            "resource": {"attributes": told},
            "scopeMetrics": [{"scope": {"name": "test"}, "metrics": [*self.metrics()]}],
        }

    def metrics(self):
        times = {"startTimeUnixNano": str(int(self.started * 1e9)), "timeUnixNano": str(time.time_ns())}
        yield self.sum("requests", {"asInt": str(self.requests), **times}, monotonic=True)
        yield self.sum("active", {"asInt": str(self.active), **times}, monotonic=False)
        buckets = Counter(bisect_left(BOUNDS, value) for value in self.latencies)
        point = {
            "count": str(len(self.latencies)), "sum": sum(self.latencies), "explicitBounds": BOUNDS,
            "bucketCounts": [str(buckets[at]) for at in range(len(BOUNDS) + 1)], **times,
        }  # fmt: skip
        yield {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}

    @staticmethod
    def sum(name, point, *, monotonic):
        return {"name": name, "sum": {"aggregationTemporality": 2, "isMonotonic": monotonic, "dataPoints": [point]}}


def lognormal(count, seed=1):
    """Latencies around 80 ms with a long tail."""
    source = random.Random(seed)
    return [0.08 * source.lognormvariate(0, 0.7) for _ in range(count)]


def quantile(values, share):
    return sorted(values)[int(share * len(values))]


def readable(line):
    """The request of a line; None if it is none: one that is being written, or that met a full disk."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def requests_in_file(directory):
    """Sum over the workers of the last value of their counter in what to-files.yaml writes."""
    last = {}
    for line in filter(readable, text(directory / "metrics.jsonl").split("\n")):
        for resource in json.loads(line)["resourceMetrics"]:
            attributes = {a["key"]: next(iter(a["value"].values())) for a in resource["resource"].get("attributes", ())}
            for metric in resource["scopeMetrics"][0]["metrics"]:
                if metric["name"] == "requests":
                    last[attributes["service.instance.id"]] = int(metric["sum"]["dataPoints"][-1]["asInt"])
    return sum(last.values())
