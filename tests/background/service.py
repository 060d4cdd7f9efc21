# SPDX-License-Identifier: Apache-2.0
"""Runs a script in a process of its own: the backend of oslo.service and eventlet are chosen once per process.

The script finds `seen` (Telemetry, with the background modules applied), `call()` (a client call that is traced) and
`show(object)`, whose last argument the test gets back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PRELUDE = """
import warnings
warnings.simplefilter("ignore")
import sys, json, time
if {eventlet}:
    import eventlet
    eventlet.monkey_patch()
from otel_openstack import instrumentation, tracing, settings
from otel_openstack.testing import recording
from opentelemetry.trace import SpanKind
MODULES = ("threads", "futures", "futurist", "eventlet", "oslo_service_startup", "oslo_service_periodic",
           "oslo_service_loops", "futurist_periodics")
context = recording()
seen = context.__enter__()
instrumentation.install(MODULES)
from oslo_service import backend
backend.init_backend(backend.BackendType.EVENTLET if {eventlet} else backend.BackendType.THREADING)
import logging
logging.disable(logging.CRITICAL)

def call(name="GET"):
    operation = tracing.child("test", name, SpanKind.CLIENT)
    operation.totals.add_http(operation.finish())

def show(result):
    print("RESULT " + json.dumps(result))

def names():
    return sorted(span.name for span in seen.spans())

def tree():
    spans = seen.spans()
    known = {{span.span_id: span.name for span in spans}}
    return sorted([span.name, known.get(span.parent) if span.parent else None] for span in spans)

def traces():
    return len({{span.trace_id for span in seen.spans()}})

def durations():
    points = seen.points("openstack.periodic_task.duration")
    return {{point.attributes["openstack.periodic_task.name"]: point.count for point in points}}
"""


def run(script: str, *, eventlet: bool = False) -> Any:
    """Run `script` and return what it showed."""
    source = PRELUDE.format(eventlet=eventlet) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    shown = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert shown, done.stdout + done.stderr
    return json.loads(shown[-1].removeprefix("RESULT "))
