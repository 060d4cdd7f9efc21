# SPDX-License-Identifier: Apache-2.0
"""Whatever a process records first starts its export: a span, a metric of ours or of others, in a child as well."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sink import Sink

COMMON = """
import os, sys, time
import otel_openstack.auto
from opentelemetry import metrics as api, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from otel_openstack import metrics
REMOTE = set_span_in_context(NonRecordingSpan(SpanContext(7, 5, True, TraceFlags(1))))
tracer = trace.get_tracer("test")
theirs = api.get_meter("test").create_counter("theirs.count")
ours = metrics.histogram("db.client.operation.duration").bind("sqlite")
"""
FIRST = {
    "a span": ("tracer.start_span('work').end()", "work"),
    "a span of a remote parent": ("tracer.start_span('work', REMOTE).end()", "work"),
    "a metric of ours, bound": ("ours(1.0)", "db.client.operation.duration"),
    "a metric of ours": ("metrics.counter('openstack.db.retries').add(1, 'f')", "openstack.db.retries"),
    "a metric of others": ("theirs.add(1)", "theirs.count"),
}
# Each is the only thing that this process does, or this child of one that did the same.
HERE = "{work}"
CHILD = """
{work}
time.sleep(float(sys.argv[1]))
if not os.fork():
    {work}
    os._exit(0)
os.wait()
"""
INSIDE = """
with tracer.start_as_current_span("above"):
    if not os.fork():
        with tracer.start_as_current_span("work"):
            pass
        os._exit(0)
    os.wait()
"""
HUB = """
import eventlet
eventlet.monkey_patch()
for _ in range(15):
    eventlet.sleep(0.1)
"""
DATABASE = """
import sqlalchemy
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    connection.execute(sqlalchemy.text("select 1"))
"""


def run(directory: Path, code: str, *arguments: str, **more: str) -> tuple[Counter[str], str]:
    """Return how many processes exported each name, and what was written."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    exporters = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"), "otlp_file")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMMON + code, *arguments],
        env=clean | exporters | {"OTEL_OPENSTACK_FILE_DIRECTORY": str(directory)} | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    names: Counter[str] = Counter()
    for path in directory.glob("*.jsonl"):
        sink = Sink()
        sink.read(path)
        names.update({span.name for _, _, span in sink.spans()} | {name for _, name, _ in sink.points()})
    return names, done.stdout + done.stderr


@pytest.mark.parametrize("first", FIRST)
def test_it_starts_a_process(tmp_path, first):
    code, name = FIRST[first]
    assert run(tmp_path, HERE.format(work=code))[0][name] == 1


@pytest.mark.parametrize("first", FIRST)
def test_it_starts_a_child_of_one_that_has_started(tmp_path, first):
    code, name = FIRST[first]
    assert run(tmp_path, CHILD.format(work=code), "0")[0][name] == 2


def test_it_starts_a_child_that_is_forked_inside_a_span(tmp_path):
    names, _ = run(tmp_path, INSIDE)
    assert names["work"] == names["above"] == 1


def test_a_green_process_in_which_nothing_happens_tells_about_its_hub(tmp_path):
    names, _ = run(tmp_path, HUB)
    assert names["openstack.event_loop.time"] == names["process.cpu.time"] == 1


def test_a_green_process_whose_hub_records_first_gets_exporters_of_the_sdk_as_well(tmp_path):
    code = HUB + "tracer.start_span('work').end()\n"
    _, output = run(tmp_path, code, OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="otlp_file,console")
    assert '"name": "work"' in output
    assert "openstack.event_loop.time" in output


def test_statements_of_no_request_are_enough(tmp_path):
    assert run(tmp_path, DATABASE)[0]["db.client.operation.duration"] == 1
