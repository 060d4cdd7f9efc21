# SPDX-License-Identifier: Apache-2.0
"""What a process pays at its start: `python benchmarks/startup.py [--repeat N] [--instructions] [--json FILE]`.

Every case runs in turn with the others, so that what else the machine does falls on all of them. CPU time (user and
system, of a process with all that it executes) is told as the least of the runs and their median, memory as the median
of the largest resident size. With --instructions also what callgrind counts up to the end of the process, which hardly
varies; of a launched one that is the process after the launcher's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent
SDK = "import opentelemetry.sdk.trace, opentelemetry.sdk.metrics"
LAUNCHER = [str(BIN / "opentelemetry-instrument"), sys.executable, "-c", "pass"]
# Nothing is exported: a start is measured. Neither variable of the launcher is inherited from whoever runs this.
BASE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
NOBODY = {
    "OTEL_PYTHON_DISTRO": "none",
    "OTEL_PYTHON_CONFIGURATOR": "none",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
}
# Case -> command, environment, the case it is compared with, milliseconds and MiB that it may take more.
CASES: dict[str, tuple[list[str], dict[str, str], str, float, float]] = {
    "python": ([sys.executable, "-c", "pass"], {}, "", 0, 0),
    "import otel_openstack": ([sys.executable, "-c", "import otel_openstack"], {}, "python", 5, 1),
    "import the SDK": ([sys.executable, "-c", SDK], {}, "python", 0, 0),
    "... and auto": ([sys.executable, "-c", f"{SDK}\nimport otel_openstack.auto"], {}, "import the SDK", 50, 5),
    "bare launcher": (LAUNCHER, NOBODY, "python", 0, 0),
    "launcher": (LAUNCHER, {}, "bare launcher", 60, 0),
    "launcher, disabled": (LAUNCHER, {"OTEL_SDK_DISABLED": "true"}, "bare launcher", 0, 0),
}


def environment(more: dict[str, str]) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "_OTEL_", "PYTHON"))}
    return {**inherited, **BASE, **more}


def once(case: str) -> tuple[float, float]:
    """Run a case; returns CPU seconds and MiB."""
    command, more, *_ = CASES[case]
    silent = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]  # the bare launcher says that it is bare
    pid = os.posix_spawn(command[0], command, environment(more), file_actions=silent)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{case} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def instructions(case: str) -> int:
    command, more, *_ = CASES[case]
    if command is LAUNCHER:
        return _launched(more)
    return _count(command, {**environment(more), "PYTHONHASHSEED": "0"})


def _launched(more: dict[str, str]) -> int:
    """Count the process that the launcher executes, with the environment that it hands on."""
    show = [*LAUNCHER[:2], "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    done = subprocess.run(show, env=environment(more), capture_output=True, text=True, check=True)
    handed = json.loads(done.stdout)
    if "_OTEL_OPENSTACK_ORIGIN" in handed:  # as it was before the process was measured
        user, _, rest = handed["_OTEL_OPENSTACK_ORIGIN"].partition(":")
        handed["_OTEL_OPENSTACK_ORIGIN"] = f"{user}:0:{rest.partition(':')[2]}"
    return _count(LAUNCHER[1:], {**handed, "PYTHONHASHSEED": "0"})


def _count(command: list[str], environ: dict[str, str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", *command]
        done = subprocess.run(under, env=environ, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return int(found.group(1))


def measure(repeat: int, *, counted: bool) -> dict[str, dict[str, float]]:
    for case in CASES:
        once(case)  # everything compiled and read once
    runs: dict[str, list[tuple[float, float]]] = {case: [] for case in CASES}
    for _ in range(repeat):
        for case in CASES:
            runs[case].append(once(case))
    found: dict[str, dict[str, float]] = {}
    for case, pairs in runs.items():
        cpu = sorted(seconds * 1e3 for seconds, _ in pairs)
        found[case] = {"least_ms": cpu[0], "median_ms": statistics.median(cpu)}
        found[case]["mib"] = statistics.median(size for _, size in pairs)
        if counted:
            found[case]["instructions"] = instructions(case)
    return found


def show(found: dict[str, dict[str, float]]) -> None:
    print(f"{'':24}{'CPU ms: least':>14}{'median':>8}{'MiB':>7}{'M instr.':>10}   more than")
    for case, (_, _, base, most_ms, most_mib) in CASES.items():
        row = found[case]
        counted = f"{row['instructions'] / 1e6:.1f}" if "instructions" in row else ""
        line = f"{case:24}{row['least_ms']:14.1f}{row['median_ms']:8.1f}{row['mib']:7.1f}{counted:>10}"
        if base:
            more_ms, more_mib = row["least_ms"] - found[base]["least_ms"], row["mib"] - found[base]["mib"]
            line += f"   {base}: {more_ms:+.1f} ms, {more_mib:+.1f} MiB"
            line += f" (allowed {most_ms:.0f} ms{f', {most_mib:.0f} MiB' if most_mib else ''})" if most_ms else ""
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(given.repeat, counted=given.instructions)
    show(found)
    if given.json:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
        given.json.write_text(json.dumps({"machine": machine, "cases": found}, indent=1))


if __name__ == "__main__":
    main()
