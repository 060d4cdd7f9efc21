# SPDX-License-Identifier: Apache-2.0
"""One side of a comparison: a process that runs a suite, with the distribution or without."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.upstream import environment
from tests.upstream.suites import Suite

INSIDE = Path(__file__).with_name("inside.py")
WITHIN = 900  # seconds
STARTS = 20  # a process that ends in the middle is started again for the rest
DEEP = {
    "OTEL_OPENSTACK_LEVEL": "deep",
    "OTEL_OPENSTACK_STRICT": "false",
    "OTEL_TRACES_EXPORTER": "otlp_file",
    "OTEL_METRICS_EXPORTER": "otlp_file",
    "OTEL_LOGS_EXPORTER": "otlp_file",
    "OTEL_OPENSTACK_REQUEST_EVENTS": "true",
    # The tests of a suite make more spans in a second than a service does; the exit has to wait for the last of them.
    "OTEL_OPENSTACK_EXIT_TIMEOUT": "10",
}


class Side:
    """The suite on one side; `directory` keeps what it printed and exported."""

    def __init__(self, suite: Suite, directory: Path, *, instrumented: bool, more: dict[str, str]) -> None:
        self.suite = suite
        self.directory = directory
        self.instrumented = instrumented
        self.activity: dict[str, Any] = {}
        self.seconds = 0.0
        self._more = more
        self._runs = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        directory.mkdir()

    def run(self, modules: list[str] | None) -> dict[str, dict[str, Any]]:
        """Return the outcomes by id of all tests, or of those in `modules`."""
        self._runs += 1
        output = self.directory / f"outcomes-{self._runs}.jsonl"
        request = self.directory / f"request-{self._runs}.json"
        outcomes: dict[str, dict[str, Any]] = {}
        began = time.monotonic()
        for _ in range(STARTS):
            wanted = {name: getattr(self.suite, name) for name in ("package", "pattern", "green", "left_out")}
            wanted |= {"output": str(output), "modules": modules, "done": list(outcomes)}
            request.write_text(json.dumps(wanted))
            self._start(request)
            known = len(outcomes)
            if self._read(output, outcomes) or len(outcomes) == known or self._stopped:
                break
        if self._runs == 1:
            self.seconds = time.monotonic() - began
        return outcomes

    def stop(self) -> None:
        """End what runs, and start no more."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def exported(self) -> tuple[int, int]:
        """Count the spans and the metric points in the files that were exported."""
        spans = points = 0
        for path in (self.directory / "otlp").glob("*"):
            for text in path.read_text().splitlines():
                request = json.loads(text)
                spans += sum(len(s["spans"]) for r in request.get("resourceSpans", ()) for s in r["scopeSpans"])
                points += sum(
                    len(data.get("dataPoints", ()))
                    for resource in request.get("resourceMetrics", ())
                    for scope in resource["scopeMetrics"]
                    for metric in scope["metrics"]
                    for data in (metric.get("sum") or metric.get("gauge") or metric.get("histogram") or {},)
                )
        return spans, points

    def _start(self, request: Path) -> None:
        launcher = [str(environment.VENV / "bin" / "opentelemetry-instrument")] if self.instrumented else []
        command = [*launcher, str(environment.VENV / "bin" / "python"), str(INSIDE), str(request)]
        with (
            (self.directory / "output.log").open("ab") as log,
            subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            self._process = process
            try:
                process.wait(WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()

    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OS_", "PYTHON"))}
        path = f"{environment.VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
        ours = DEEP | {"OTEL_OPENSTACK_FILE_DIRECTORY": str(self.directory / "otlp")} if self.instrumented else {}
        return inherited | {"PATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"} | self._more | ours

    def _read(self, output: Path, outcomes: dict[str, dict[str, Any]]) -> bool:
        """Take in what a process noted; returns whether it came to its end. The test at which it did not, broke it."""
        started = ""
        for text in output.read_text().splitlines() if output.exists() else ():
            entry = json.loads(text)
            if "start" in entry:
                started = entry["start"]
            elif "id" in entry:
                outcomes[entry["id"]] = entry
            else:
                self.activity = entry["activity"] or {}
                return True
        if started and started not in outcomes:
            outcomes[started] = {"outcome": "hung or ended the process", "seconds": 0.0, "error": self._last_words()}
        return not started

    def _last_words(self) -> str:
        return (self.directory / "output.log").read_text(errors="replace")[-4000:]
