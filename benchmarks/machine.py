# SPDX-License-Identifier: Apache-2.0
"""On what was measured: machine, Python, versions, and how busy it was."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from guard import this_python

PACKAGES = (
    "otel-openstack", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation-wsgi",
    "opentelemetry-instrumentation-sqlalchemy", "opentelemetry-instrumentation-oslo-messaging", "SQLAlchemy",
    "oslo.messaging", "oslo.db", "oslo.middleware", "oslo.metrics", "osprofiler", "prometheus-client", "statsd",
    "ddtrace", "sentry-sdk", "wrapt", "eventlet", "requests", "protobuf",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Return what a reader needs to know to compare."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": this_python(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load_before": os.getloadavg()[0],
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
