# SPDX-License-Identifier: Apache-2.0
"""Runs code in a process that eventlet monkey-patches; the pytest process itself never imports it.

Patches are installed first, then eventlet comes, as in a service under the launcher.
"""

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

MODULES = ("threads", "futures_pools", "futures", "futurist", "eventlet", "event_loop", "event_loop_native")
PROLOGUE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from otel_openstack import instrumentation, settings, testing
harness = testing.recording(settings.Settings(strict=True, level={level!r}, level_ceiling={ceiling!r}))
telemetry = harness.__enter__()
MODULES = {modules!r}
{before}
instrumentation.install(MODULES)
import eventlet
if {patch!r}:
    eventlet.monkey_patch()
from opentelemetry.trace import SpanKind, get_current_span
from otel_openstack import tracing

def current_trace():
    return get_current_span().get_span_context().trace_id

def root(kind=SpanKind.SERVER):
    return tracing.root("test", "GET /servers", kind)

def trace_of(operation):
    return operation.span.get_span_context().trace_id

def points(name):
    return [[point.attributes, point.value if point.count is None else point.count] for point in telemetry.points(name)]

out = {{}}
"""
EPILOGUE = """
print("OUT:" + json.dumps(out))
"""


def run(
    body: str,
    *,
    level: str = "basic",
    ceiling: str = "",
    patch: bool = True,
    hub: str = "",
    before: str = "",
    modules: tuple[str, ...] = MODULES,
) -> dict[str, Any]:
    """Run `body` after the prologue above, `before` right before the patches; returns what it put into `out`."""
    environ = {**os.environ, "EVENTLET_HUB": hub} if hub else None
    prologue = PROLOGUE.format(level=level, ceiling=ceiling, patch=patch, modules=modules, before=before)
    code = prologue + textwrap.dedent(body) + EPILOGUE
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environ
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("OUT:")]
    assert result.returncode == 0, result.stderr
    assert lines, result.stdout + result.stderr
    return json.loads(lines[-1][4:])
