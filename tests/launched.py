# SPDX-License-Identifier: Apache-2.0
"""Small services in processes of their own, as an operator starts them, and what they exported into files."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sink import Sink

BIN = Path(sys.executable).parent
SECRET = "canary-in-the-headers"
OURS = ("OTEL_", "_OTEL_")


@dataclass
class Run:
    """A service that has ended."""

    done: subprocess.CompletedProcess[str]
    directory: Path

    @property
    def said(self) -> list[str]:
        """The lines of its standard output."""
        return self.done.stdout.splitlines()

    def spans(self) -> list[tuple[dict[str, Any], str]]:
        """Return (resource attributes, name of the span) of what was exported."""
        sink = Sink()
        for path in sorted((self.directory / "otlp").glob("*.jsonl")):
            sink.read(path)
        return [(resource, span.name) for resource, _, span in sink.spans()]


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return the environment in which an operator starts a service that exports into files."""
    return {
        "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
        "OTEL_TRACES_EXPORTER": "otlp_file",
        "OTEL_METRICS_EXPORTER": "otlp_file",
        "OTEL_OPENSTACK_FILE_DIRECTORY": str(directory / "otlp"),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
        **more,
    }


def service(directory: Path, code: str, name: str = "nova-thing") -> Path:
    """Write a service's script."""
    script = directory / name
    script.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
    script.chmod(0o755)
    return script


def run(directory: Path, code: str, *, launcher: bool = True, before: tuple[str, ...] = (), **more: str) -> Run:
    """Run the script `code` to its end, under the launcher."""
    front = [str(BIN / "opentelemetry-instrument")] if launcher else []
    done = subprocess.run(
        [*before, *front, str(service(directory, code))],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=90,
        check=False,
        env=environment(directory, **more),
    )
    return Run(done, directory)


def traces_of_us(environ: dict[str, str]) -> list[str]:
    """Return what a helper was given that it should not have."""
    return [
        f"{name}={value}"
        for name, value in environ.items()
        if name.startswith(OURS) or "auto_instrumentation" in value or SECRET in value
    ]


def environ_of(pid: int | str) -> dict[str, str]:
    """Return the environment that a running process was started with."""
    text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if entry)
