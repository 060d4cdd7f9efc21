# SPDX-License-Identifier: Apache-2.0
"""Samples of a long run to a table: does a process grow, and because of us?

A slope is fitted over everything after the warm-up, against the number of servers made so far. It is judged with its
own uncertainty, and against the slope of the same process in the control.
"""

from __future__ import annotations

import bisect
import json
import math
import statistics
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

WARM_UP = 0.3  # of the servers
EDGE = 0.15  # of the samples after it: whose median is the value at the beginning and at the end
FEWEST = 100  # servers after the warm-up, below which nothing is judged: pools of threads and connections still fill
SURE = 3.0  # standard errors
# How much more per 1,000 servers than the control is still called flat: MiB, or a number.
ALLOWED = {"rss": 2.0, "pss": 2.0, "threads": 0.5, "descriptors": 0.5, "greenlets": 5.0, "objects": 5000.0}


class Fit(NamedTuple):
    """One quantity of one process: medians at both ends, and the slope per 1,000 servers with its standard error."""

    first: float
    last: float
    slope: float
    error: float


@dataclass
class Variant:
    """One run: per process (service and number) the fit of each quantity, and the types that became more."""

    name: str
    servers: int
    failed: int
    fits: dict[str, dict[str, Fit]] = field(default_factory=dict)
    grown_types: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


def read(directory: Path) -> Variant:
    client = (directory / "soak-client.log").read_text().splitlines()
    done = sorted(float(line.split()[2]) for line in client if line.startswith("done "))
    variant = Variant(directory.name, len(done), sum(line.startswith("failed ") for line in client))
    noted = [json.loads(line) for line in (directory / "processes.jsonl").read_text().splitlines()]
    by_pid: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for sample in noted:
        by_pid[sample["service"], sample["pid"]].append(sample)
    numbers: Counter[str] = Counter()
    for (service, pid), samples in sorted(by_pid.items()):
        label = f"{service}.{numbers[service]}"
        numbers[service] += 1
        inside = directory / f"objects-{pid}.jsonl"
        objects = [json.loads(line) for line in inside.read_text().splitlines()] if inside.exists() else []
        fits = {
            name: _fit([(s["time"], s[name]) for s in source if name in s], done)
            for source in (samples, objects)
            for name in ALLOWED
            if any(name in s for s in source)
        }
        variant.fits[label] = {name: fit for name, fit in fits.items() if fit is not None}
        variant.grown_types[label] = _grown(objects, done)
    return variant


def _fit(points: list[tuple[float, float]], done: list[float]) -> Fit | None:
    """Least squares of what was sampled after the warm-up; None where that is too little."""
    counted = [(bisect.bisect(done, moment) / 1000, value) for moment, value in points]
    kept = [(x, y) for x, y in counted if x * 1000 >= WARM_UP * len(done)]
    if len(kept) < 6 or len({x for x, _ in kept}) < 3:
        return None
    edge = max(1, int(EDGE * len(kept)))
    first, last = (statistics.median(y for _, y in part) for part in (kept[:edge], kept[-edge:]))
    mean_x, mean_y = (statistics.fmean(values) for values in zip(*kept, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in kept)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in kept) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in kept)
    return Fit(first, last, slope, math.sqrt(rest / (len(kept) - 2) / spread))


def _grown(objects: list[dict[str, Any]], done: list[float]) -> list[tuple[str, int]]:
    """Types of which there are more at the end than after the warm-up, the most first."""
    typed = [s for s in objects if "types" in s and bisect.bisect(done, s["time"]) >= WARM_UP * len(done)]
    if len(typed) < 2:
        return []
    first, last = typed[0]["types"], typed[-1]["types"]
    more = {name: count - first[name] for name, count in last.items() if name in first and count > first[name]}
    return sorted(more.items(), key=lambda item: -item[1])[:8]


def verdict(name: str, fit: Fit, control: Fit | None) -> str:
    """`flat`, `grows`, or `unclear` when the run was too short to tell."""
    excess = fit.slope - (max(0.0, control.slope) if control else 0.0)
    error = math.hypot(fit.error, control.error if control else 0.0)
    if excess - SURE * error > ALLOWED[name]:
        return "grows"
    return "flat" if excess + error <= ALLOWED[name] or excess <= 0 else "unclear"


def write(directory: Path, variants: list[Variant]) -> bool:
    """Print and keep the tables; false when something grows."""
    control = next((variant for variant in variants if variant.name == "bare"), None)
    lines: list[str] = []
    grows = False
    judged: dict[str, dict[str, dict[str, str]]] = {}
    for variant in variants:
        lines += ["", f"{variant.name}: {variant.servers} servers made and deleted, {variant.failed} failed"]
        lines += [_row("process", "of", "warm", "end", "per 1,000", "control", "verdict")]
        short = variant.servers * (1 - WARM_UP) < FEWEST
        for label, fits in variant.fits.items():
            for name, fit in fits.items():
                against = control.fits.get(label, {}).get(name) if control and control is not variant else None
                word = "" if control is variant else "too short" if short else verdict(name, fit, against)
                grows = grows or word == "grows"
                judged.setdefault(variant.name, {}).setdefault(label, {})[name] = word
                slope = f"{fit.slope:+.1f} ±{fit.error:.1f}"
                beside = f"{against.slope:+.1f} ±{against.error:.1f}" if against else ""
                lines.append(_row(label, name, f"{fit.first:.1f}", f"{fit.last:.1f}", slope, beside, word))
            if any(judged[variant.name].get(label, {}).get(name) == "grows" for name in fits):
                lines.append(f"    more: {variant.grown_types[label]}")
    text = "\n".join(lines)
    print(text)
    (directory / "table.txt").write_text(text + "\n")
    whole = {variant.name: asdict(variant) | {"verdicts": judged.get(variant.name)} for variant in variants}
    (directory / "soak.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(f"\nkept in {directory}")
    return not grows


def _row(process: str, of: str, warm: str, end: str, slope: str, control: str, word: str) -> str:
    return f"{process:<22}{of:<13}{warm:>10}{end:>10}{slope:>20}{control:>20}  {word}"
