# SPDX-License-Identifier: Apache-2.0
"""The long run: servers are created and deleted for an hour, and every process must stay as large as it was.

Three variants of the same: the collector up, the collector a black hole (it accepts and never answers), and the control
without the distribution, since services grow by themselves. Memory, threads and descriptors are read from /proc;
objects and greenlets are counted inside the processes, by inside/sampler/.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import install
import lifecycle
import processes
import services
import soak_report
from layout import INSIDE, PROJECT
from progress import Failed, say

if TYPE_CHECKING:
    from layout import Cloud

KEPT = PROJECT / ".cache" / "soak"
VARIANTS = ("bare", "up", "blackhole")
COLLECTOR = "collector"
CLIENT = "soak-client"
AT_ONCE = 4  # servers
EVERY = 5.0  # seconds between samples
# So that it is full in every process before the warm-up is over: the default of 4 MiB would still fill with server 700
# where nothing leaves.
QUEUE_BYTES = "1m"
SETTLE = 15.0  # seconds before the last samples, with nothing to do


def run(cloud: Cloud, servers: int, minutes: float, variants: list[str]) -> bool:
    """Run the variants one after another; true when nothing grows because of us."""
    install.everything(cloud)
    for variant in variants:
        say(f"{variant}: up to {servers} servers or {minutes:g} minutes")
        _variant(cloud, variant, servers, minutes)
    return report(cloud)


def report(cloud: Cloud) -> bool:
    """Judge what the variants of this concurrency mode left, those of earlier runs too; each run replaces its own."""
    there = [_samples(cloud, variant) for variant in VARIANTS if _samples(cloud, variant).exists()]
    if not there:
        raise Failed(f"no samples in {_samples(cloud, VARIANTS[0]).parent}: run some variants first")
    return soak_report.write(KEPT / cloud.options.concurrency, soak_report.read_all(there))


def _samples(cloud: Cloud, variant: str) -> Path:
    return KEPT / cloud.options.concurrency / variant


def _variant(cloud: Cloud, variant: str, servers: int, minutes: float) -> None:
    samples = _samples(cloud, variant)
    shutil.rmtree(samples, ignore_errors=True)
    samples.mkdir(parents=True)
    cloud.prepare()
    cloud.options = replace(cloud.options, instrumented=variant != "bare", environment={}, samples=samples)
    try:
        lifecycle.base(cloud)
        if variant != "bare":
            cloud.options = replace(cloud.options, environment=_exports(_collector(cloud, variant)))
        lifecycle.serve(cloud)
        _watch(cloud, samples, servers, minutes)
    finally:
        lifecycle.stop_all(cloud)
    for path in cloud.log.glob("*.log"):
        shutil.copy(path, samples)


def _collector(cloud: Cloud, mode: str) -> int:
    log = cloud.log / f"{COLLECTOR}.log"
    processes.start(cloud, COLLECTOR, ["python", str(INSIDE / "collector.py"), mode], cloud.environment())
    processes.wait_ready(cloud, COLLECTOR, lambda: log.read_text().endswith("\n"), 20)
    return int(log.read_text())


def _exports(port: int) -> dict[str, str]:
    return {
        "OTEL_OPENSTACK_SPAN_QUEUE_BYTES": QUEUE_BYTES,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    }


def _watch(cloud: Cloud, samples: Path, servers: int, minutes: float) -> None:
    """Sample while the client works, and a little longer."""
    log = cloud.log / f"{CLIENT}.log"
    sampled = ["python", str(services.SAMPLER / "sampled.py")]
    command = [*sampled, "python", str(INSIDE / "soak.py"), str(servers), str(minutes * 60), str(AT_ONCE)]
    launcher = ["opentelemetry-instrument"] if cloud.options.instrumented else []
    environment = cloud.environment() | cloud.credentials()
    if cloud.options.instrumented:
        environment |= cloud.telemetry(CLIENT)
    processes.start(cloud, CLIENT, [*launcher, *command], environment)
    said = time.monotonic()
    with (samples / "processes.jsonl").open("w") as output:
        end = float("inf")
        while time.monotonic() < end:
            if end == float("inf") and not processes.alive(cloud, CLIENT):
                end = time.monotonic() + SETTLE
            _note(cloud, output)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                say(f"{log.read_text().count('done ')} servers")
            time.sleep(EVERY)
    if not log.read_text().count("done "):
        raise Failed("the client made no server", log)


def _note(cloud: Cloud, output: Any) -> None:
    names = [*(service.name for service in services.SERVICES), CLIENT]
    for name in names:
        for pid in processes.session(cloud, name):
            if (measured := _measure(pid)) is not None:
                output.write(json.dumps({"time": time.time(), "service": name, "pid": pid} | measured) + "\n")
    output.flush()


def _measure(pid: int) -> dict[str, float] | None:
    """Memory in MiB; None if it has ended."""
    process = Path(f"/proc/{pid}")
    try:
        rollup = dict(line.split(":", 1) for line in (process / "smaps_rollup").read_text().splitlines()[1:])
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return {
            "rss": int(rollup["Rss"].split()[0]) / 1024,
            "pss": int(rollup["Pss"].split()[0]) / 1024,
            "threads": int(status["Threads"]),
            "descriptors": len(list((process / "fd").iterdir())),
        }
    except (OSError, KeyError):
        return None
