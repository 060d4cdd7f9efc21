# SPDX-License-Identifier: Apache-2.0
"""The benchmark: measures every group, keeps the results as JSON, prints the tables, writes the page.

    python benchmarks/run.py                    everything; benchmarks/results.json and docs/benchmarks.md
    python benchmarks/run.py --quick            some minutes; .cache/bench.json, nothing else is written
    python benchmarks/run.py GROUP...           only these groups; the other results stay as they are
    python benchmarks/run.py --cloud VENV [cloud]   the minimal cloud too (or alone), from a venv that has OpenStack

Groups: micro, instructions, request, request-instructions, request-misses, series, spans, failing, startup, cloud.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import callgrind
import failing
import machine
import report
import request_variants
import requests_whole
import scaling
import startup as start

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS, QUICK_RESULTS = HERE / "results.json", ROOT / ".cache" / "bench.json"
MODULES = ("micro_metrics", "micro_concurrent", "micro_wrappers", "micro_spans", "micro_export", "micro_hooks")
COUNTED_MODULES = ("micro_metrics", "micro_wrappers", "micro_spans", "micro_export", "micro_hooks")
TURNS = 300
APPS = ("plain", "nova")


class Effort:
    """How much is done: few rounds for daily use, many for the page."""

    def __init__(self, *, quick: bool, share: float = 1.0) -> None:
        self.quick = quick
        self.rounds = 5 if quick else max(3, int(40 * share))
        self.request_rounds = 5 if quick else max(3, int(25 * share))
        self.block = 100 if quick or share < 1 else 200
        self.apps = APPS[:1] if quick else APPS
        self.variants = list(request_variants.QUICK if quick else request_variants.BY_NAME)
        self.counted = list(requests_whole.COUNTED[:4] if quick else requests_whole.COUNTED)
        self.states = ("up", "blackhole") if quick else failing.STATES
        self.failing_variants = failing.VARIANTS[:2] if quick else failing.VARIANTS
        self.seconds, self.failing_rounds = (2.0, 1) if quick else (6.0, max(1, int(3 * share)))
        self.sizes = (1, 100, 2_000) if quick else scaling.SERIES
        self.rates = (100, 1_000) if quick else scaling.RATES


def micro(effort: Effort) -> Any:
    found: dict[str, Any] = {}
    for module in MODULES:
        command = [sys.executable, str(HERE / "micro_run.py"), "time", str(effort.rounds), module]
        found |= json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def instructions(effort: Effort) -> Any:
    """Return operation -> variant -> instructions of one item."""
    if callgrind.missing():
        return {}
    from micro_run import load

    def count(module: str) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        cases = [f"{module}/{operation}/{variant}" for operation, by in load(module).items() for variant in by]
        for label, total in callgrind.counts(HERE / "micro_run.py", ["count", str(TURNS), *cases]).items():
            _, operation, variant, items = label.split("/")
            found.setdefault(operation, {})[variant] = total / int(items)
        return found

    with ThreadPoolExecutor(2) as pool:
        return {operation: by for found in pool.map(count, COUNTED_MODULES) for operation, by in found.items()}


def request(effort: Effort) -> Any:
    rounds, block = effort.request_rounds, effort.block
    return {app: requests_whole.measure(app, effort.variants, rounds, block) for app in effort.apps}


def request_instructions(effort: Effort) -> Any:
    return requests_whole.count("plain", effort.counted)


def request_misses(effort: Effort) -> Any:
    return requests_whole.count("plain", effort.counted[:4], misses=True)


def series(effort: Effort) -> Any:
    return list(scaling.series(effort.sizes))


def spans(effort: Effort) -> Any:
    return list(scaling.spans(effort.seconds, effort.rates))


def failures(effort: Effort) -> Any:
    return failing.measure_all(effort.seconds, effort.failing_rounds, effort.states, effort.failing_variants)


def startup(effort: Effort) -> Any:
    """Return case -> CPU ms and MiB of a start, and what it may take more than its base (benchmarks/startup.py)."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        repeat = "5" if effort.quick else "20"
        # Where ours is installed without the others, whose own hooks run in every launched process.
        python = ROOT / ".venv" / "bin" / "python"
        chosen = str(python) if python.exists() else sys.executable
        command = [chosen, str(HERE / "startup.py"), "--repeat", repeat, "--json", file.name]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        found: dict[str, Any] = json.load(file)["cases"]
    return {
        case: {**row, "base": base, "most_ms": most_ms, "most_mib": most_mib}
        for case, row in found.items()
        for _, _, base, most_ms, most_mib in [start.CASES[case]]
    }


GROUPS: dict[str, Callable[[Effort], Any]] = {
    "micro": micro,
    "instructions": instructions,
    "request": request,
    "request-instructions": request_instructions,
    "request-misses": request_misses,
    "series": series,
    "spans": spans,
    "failing": failures,
    "startup": startup,
}


def cloud(venv: Path, creates: int) -> Any:
    directory = ROOT / ".cache" / "bench-cloud"
    command = [sys.executable, str(HERE / "cloud.py"), str(directory), str(venv), str(creates)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="default: all but the cloud")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cloud", type=Path, help="a venv in which the minimal cloud is installed")
    parser.add_argument("--creates", type=int, default=30)
    parser.add_argument("--share", type=float, default=1.0, help="of the rounds, where there is less time")
    parser.add_argument("--output", type=Path, help="where the results go instead")
    arguments = parser.parse_args()
    unknown = set(arguments.groups) - set(GROUPS) - {"cloud"}
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}, cloud")
    path = arguments.output or (QUICK_RESULTS if arguments.quick else RESULTS)
    path.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = json.loads(path.read_text()) if arguments.groups and path.exists() else {}
    results["machine"] = machine.describe()
    effort = Effort(quick=arguments.quick, share=arguments.share)
    for name in [name for name in arguments.groups or GROUPS if name in GROUPS]:
        _measure(results, name, lambda name=name: GROUPS[name](effort))
        _keep(path, results)
    if arguments.cloud:
        _measure(results, "cloud", lambda: cloud(arguments.cloud.resolve(), arguments.creates))
    results["machine"]["load_after"] = os.getloadavg()[0]
    _keep(path, results)
    print(report.text(results))
    if not arguments.quick and arguments.output is None:
        report.write(results)


def _keep(path: Path, results: dict[str, Any]) -> None:
    """Write one line for each operation and variant, with four digits."""
    path.write_text(json.dumps(_short(results), indent=1).replace(",\n     ", ", ").replace("[\n     ", "[") + "\n")


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _measure(results: dict[str, Any], name: str, run: Callable[[], Any]) -> None:
    began = time.monotonic()
    print(f"{name} ...", end=" ", flush=True, file=sys.stderr)
    results[name] = run()
    took = time.monotonic() - began
    results.setdefault("seconds", {})[name] = round(took, 1)
    print(f"{took:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
