# SPDX-License-Identifier: Apache-2.0
"""Imports go one way, from the command line down to the tables; a package that has no place in the order fails."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import otel_openstack

ROOT = Path(otel_openstack.__file__).parent

# Each layer imports from those below it and from itself.
LAYERS = (
    {"cli"},
    {"auto", "launched", "launcher"},
    {"distro"},
    {"patch_files"},
    {
        "announcement",
        "instrumentation",
        "bridges",
        "configuration",
        "health",
        "process_metrics",
        "sdk_exporters",
        "withheld",
    },
    {"developer", "dimensions", "metric_logging", "notifications"},
    {"metrics", "tracing", "exporters"},
    {"patching", "runtime", "resource"},
    {"settings", "levels", "semconv", "scrub", "conventions", "pattern"},
)
BESIDE = {"analysis", "testing"}  # imported by cli only
MAY_IMPORT_ALL = {"testing"}
ALONE = {"environment_variables", "sitecustomize_check"}  # loaded by the launcher in its own process

# What must not be imported before the service has chosen its concurrency, and what costs every process too much.
FORBIDDEN = (
    "eventlet",
    "oslo_messaging",
    "oslo_service",
    "futurist",
    "requests",
    "urllib3",
    "wrapt",
    "grpc",
    "google.protobuf",
    "opentelemetry.exporter",
    "keystoneauth1",
)


def place(name):
    return next((number for number, layer in enumerate(LAYERS) if name in layer), None)


def imports(path):
    """Yield the parts of otel_openstack that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "otel_openstack":
            parts = node.module.split(".")
            yield from ([parts[1]] if len(parts) > 1 else [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("otel_openstack."))


def test_every_part_has_a_place():
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    known = set().union(*LAYERS, BESIDE, ALONE, {"__init__"})
    assert parts - known == set()


def test_imports_go_one_way():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for target in imports(path):
            if target.startswith("__") or target == part or part in MAY_IMPORT_ALL:
                continue
            if target in BESIDE:
                if part != "cli":
                    wrong.append(f"{path.relative_to(ROOT)} imports {target}")
            elif part in BESIDE or (
                place(part) is not None and place(target) is not None and place(target) < place(part)
            ):
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert wrong == []


def test_starting_imports_nothing_early(tmp_path):
    code = "import otel_openstack.auto, sys; assert otel_openstack.auto.active; print(*sys.modules)"
    environment = {"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "otlp_file", "OTEL_METRICS_EXPORTER": "otlp_file"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith(FORBIDDEN)] == []
    assert done.stderr == ""
