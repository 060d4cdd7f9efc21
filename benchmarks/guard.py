# SPDX-License-Identifier: Apache-2.0
"""The guard of the hot paths: fails when one takes more than 5 % more instructions than what is stored. `make check`.

    python benchmarks/guard.py             compare with guard.json
    python benchmarks/guard.py --update    store what is counted now, for this Python

Instructions, not time: the same on a busy machine. They differ from one build of Python to the next, so they are
compared on the same one only; elsewhere, and where there is no valgrind, the guard says so and lets pass.
"""

from __future__ import annotations

import json
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import callgrind

HERE = Path(__file__).resolve().parent
STORED = HERE / "guard.json"
ALLOWED = 0.05
TURNS = 300
# One process for each line. Of hooks what the bare call takes is counted too, and taken off.
GUARDED = {
    "micro_metrics": (
        "histogram, bound",
        "histogram, three attributes",
        "histogram, by project",
        "histogram, by the project of the request",
        "histogram, disabled",
        "counter, bound",
        "counter, three attributes",
        "gauge, bound",
    ),
    "micro_spans": (
        "span, child",
        "span, root",
        "span, five set_attribute",
        "span, sampled out",
        "operation, root",
        "operation, child",
        "operation, leaf",
    ),
    "micro_export": ("span, encoded", "point, collected and encoded"),
    "micro_hooks": (
        "request, edge",
        "request, edge, sampled out",
        "statement",
        "statement, detailed",
        "message, sent",
        "message, sent, sampled out",
        "message, served",
        "message, served, sampled out",
    ),
}


def this_python() -> str:
    """Name the build: its version, machine and compiler, and how it was optimised."""
    options = f"{sysconfig.get_config_var('PY_CFLAGS') or ''} {sysconfig.get_config_var('CONFIG_ARGS') or ''}"
    how = [word for word in ("-O3", "-O2", "--enable-optimizations", "--with-lto") if word in options]
    build = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    return f"{build}, {platform.python_compiler()}, {' '.join(how) or 'unknown options'}"


def count(module: str) -> dict[str, int]:
    """Return operation -> instructions of one turn of ours beyond the bare one."""
    cases = [f"{module}/{operation}/{variant}" for operation in GUARDED[module] for variant in ("nothing", "ours")]
    found: dict[str, dict[str, float]] = {}
    for label, total in callgrind.counts(HERE / "micro_run.py", ["count", str(TURNS), *cases]).items():
        _, operation, variant, items = label.split("/")
        found.setdefault(operation, {})[variant] = total / int(items)
    return {operation: round(by["ours"] - by["nothing"]) for operation, by in found.items()}


def count_all() -> dict[str, int]:
    with ThreadPoolExecutor(2) as pool:
        return {operation: number for found in pool.map(count, GUARDED) for operation, number in found.items()}


def compare(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """Return a line for each operation that is worse than allowed, or not stored."""
    lines = [f"{name}: not stored" for name in now if name not in before]
    for name, number in now.items():
        more = number / before[name] - 1 if name in before else 0.0
        if more > ALLOWED:
            lines.append(f"{name}: {number:,} instructions, {before[name]:,} are stored: {more:+.1%}")
    return lines


def main() -> int:
    reason = callgrind.missing()
    if reason:
        print(f"instruction counts: not compared, {reason}")
        return 0
    stored: dict[str, dict[str, int]] = json.loads(STORED.read_text()) if STORED.exists() else {}
    python = this_python()
    if "--update" in sys.argv:
        stored[python] = count_all()
        STORED.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        return 0
    if python not in stored:
        print(f"instruction counts: not compared, none are stored for {python}")
        return 0
    worse = compare(stored[python], count_all())
    if worse:
        print("instruction counts: a hot path has become slower", *worse, sep="\n  ")
        print("If it has to be: `make guard` stores the new counts; the commit message says why.")
        return 1
    print(f"instruction counts: all {len(stored[python])} within {ALLOWED:.0%} of what is stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
