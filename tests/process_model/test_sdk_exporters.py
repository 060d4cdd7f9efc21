# SPDX-License-Identifier: Apache-2.0
"""Exporters of the SDK's kind, as a vendor ships them, that hang: the process ends no more than 1 s later for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

VENDOR = """
import os, time
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

blocked = time.sleep  # not what eventlet makes of it: it holds a green hub

def step(name):
    os.write(1, f"{name}\\n".encode())
    how = os.environ.get("TEST_" + name.upper().replace(".", "_"), "")
    if how == "raise":
        raise ValueError(name)
    if how:
        (blocked if how == "blocked" else time.sleep)(60 if how in ("hang", "blocked") else float(how))
    os.write(1, f"{name} done\\n".encode())

class Spans(SpanExporter):
    def export(self, spans):
        step("spans.export")
        return SpanExportResult.SUCCESS
    def shutdown(self):
        step("spans.shutdown")

class Points(MetricExporter):
    def export(self, data, timeout_millis=0, **others):
        step("points.export")
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=0):
        step("points.force_flush")
        return True
    def shutdown(self, timeout_millis=0, **others):
        step("points.shutdown")
"""
ENTRY_POINTS = "[opentelemetry_{signal}_exporter]\nvendor = vendor:{name}\n"
SERVICE = """
import os, sys, time
import otel_openstack.auto
if sys.argv[1] == "eventlet":
    import eventlet
    eventlet.monkey_patch()
from opentelemetry import metrics, trace
with trace.get_tracer("test").start_as_current_span("work"):
    metrics.get_meter("test").create_counter("work").add(1)
time.sleep(float(sys.argv[3]))
os.write(1, f"end {time.monotonic()}\\n".encode())
getattr(os, "_exit")(0) if sys.argv[2] == "_exit" else sys.exit(0)
"""
PROMISED = 1.0  # seconds
SLACK = 1.5  # the interpreter's own end, on a loaded machine


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    (tmp_path / "vendor.py").write_text(VENDOR)
    information = tmp_path / "vendor-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1\n")
    points = [("traces", "Spans"), ("metrics", "Points")]
    text = "".join(ENTRY_POINTS.format(signal=signal, name=name) for signal, name in points)
    (information / "entry_points.txt").write_text(text)
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def run(
    vendor: Path, concurrency: str = "native", end: str = "exit", wait: float = 0.0, **more: str
) -> tuple[list[str], float, str]:
    """Return what the exporters did, how long the end took in seconds, and the log."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "service.py", concurrency, end, str(wait)],
        env=clean
        | {"PYTHONPATH": str(vendor), "OTEL_TRACES_EXPORTER": "vendor", "OTEL_METRICS_EXPORTER": "vendor"}
        | more,
        cwd=vendor,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ended = time.monotonic()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    began = next(float(line.split()[1]) for line in lines if line.startswith("end "))
    return lines, ended - began, done.stderr


@pytest.mark.parametrize("end", ["exit", "_exit"])
@pytest.mark.parametrize("concurrency", ["native", "eventlet"])
def test_at_the_end_they_get_what_there_is(vendor, concurrency, end):
    lines, _, log = run(vendor, concurrency, end, TEST_SPANS_EXPORT="0.1", TEST_POINTS_EXPORT="0.1")
    assert {"spans.export done", "points.export done"} <= set(lines), log
    assert "left behind" not in log
    if concurrency == "native":
        assert {"spans.shutdown done", "points.shutdown done"} <= set(lines), log


HANGING = [
    # At the end, in every step; both at once must not add up.
    ("native", 0.0, {"TEST_SPANS_EXPORT": "hang", "TEST_POINTS_EXPORT": "hang"}),
    ("native", 0.0, {"TEST_SPANS_SHUTDOWN": "hang", "TEST_POINTS_SHUTDOWN": "hang"}),
    ("eventlet", 0.0, {"TEST_SPANS_EXPORT": "hang", "TEST_POINTS_FORCE_FLUSH": "hang"}),
    ("eventlet", 0.0, {"TEST_SPANS_EXPORT": "blocked", "TEST_POINTS_EXPORT": "blocked"}),
    # In the exporters' own threads, since long before.
    ("native", 1.0, {"TEST_SPANS_EXPORT": "hang", "TEST_POINTS_EXPORT": "hang"}),
    ("eventlet", 1.0, {"TEST_SPANS_EXPORT": "hang", "TEST_POINTS_EXPORT": "hang"}),
]


@pytest.mark.parametrize(("concurrency", "wait", "hanging"), HANGING)
def test_one_that_hangs_does_not_hold_the_end(vendor, concurrency, wait, hanging):
    soon = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "100"} if wait else {}
    lines, seconds, log = run(vendor, concurrency, "exit" if wait else "_exit", wait, **hanging, **soon)
    assert any(line.endswith(("export", "flush", "shutdown")) for line in lines), log
    assert seconds < PROMISED + SLACK, log
    assert log.count("exporter Spans did not end in time and is left behind") == 1, log
    assert log.count("exporter Points did not end in time and is left behind") == 1, log
    assert "Traceback" not in log


def test_one_that_hangs_does_not_keep_the_other_from_its_end(vendor):
    lines, _, log = run(vendor, TEST_SPANS_EXPORT="hang")
    assert "points.shutdown done" in lines
    assert "Points" not in log


def test_one_that_fails_is_one_line(vendor):
    _, _, log = run(vendor, TEST_SPANS_SHUTDOWN="raise")
    assert log.count("exporter Spans failed at the end of the process: ValueError: spans.shutdown") == 1
