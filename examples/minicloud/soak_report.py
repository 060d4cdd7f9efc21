# SPDX-License-Identifier: Apache-2.0
"""Samples of a long run to a table: does a process grow, and because of us?

A slope is fitted over everything after the warm-up, against the number of servers made so far, on medians of blocks of
servers: samples that follow each other are not independent, and would make the slope look surer than it is. It is
judged with its own uncertainty, and against the slope of the same process in the control, over the same servers: what
fills up grows steeper at the beginning of a run than later.
"""

from __future__ import annotations

import bisect
import json
import math
import statistics
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

# Pools of threads and connections fill one thread at a time, the last (neutron-rpc-server's) with server 370; caches
# of statements are full before.
WARM_UP = 400  # servers
FEWEST = 200  # servers after the warm-up, below which nothing is judged
BLOCKS = 15
FEWEST_BLOCKS = 6
SURE = 3.0  # standard errors
TYPES = 8  # of those of which there are more, said of a process that grows


class Quantity(NamedTuple):
    """How much more of it per 1,000 servers than in the control is still called flat, and why that much."""

    allowed: float
    why: str


QUANTITIES = {
    "rss": Quantity(2.0, "MiB; two runs without us differ by as much: the allocator keeps an arena for each thread"),
    "pss": Quantity(2.0, "MiB; as rss"),
    "threads": Quantity(0.5, "a pool of 64 may get its last thread later in one run than in another"),
    "descriptors": Quantity(0.5, "the same of a pool of connections"),
    "greenlets": Quantity(5.0, "those of requests and timers under way come and go"),
    "objects": Quantity(5000.0, "of 200,000 to 500,000; garbage that is not collected yet is among them"),
    "ours": Quantity(200.0, "objects of our classes; one that is kept of each request would be 10,000"),
}


class Fit(NamedTuple):
    """One quantity of one process: medians of the first and last block, the slope per 1,000 servers, its error."""

    first: float
    last: float
    slope: float
    error: float


@dataclass
class Variant:
    """One run: per process (service and number) the fit of each quantity, and the types that became more."""

    name: str
    began: str
    minutes: float
    servers: int
    failed: int
    fits: dict[str, dict[str, Fit]] = field(default_factory=dict)
    grown_types: dict[str, dict[str, int]] = field(default_factory=dict)


def read_all(directories: list[Path]) -> list[Variant]:
    """Read variants, each up to the number of servers that all of them made."""
    fewest = min(len(_done(directory)) for directory in directories)
    return [read(directory, fewest) for directory in directories]


def read(directory: Path, fewest: int) -> Variant:
    done = _done(directory)
    client = (directory / "soak-client.log").read_text().splitlines()
    noted = [json.loads(line) for line in (directory / "processes.jsonl").read_text().splitlines()]
    variant = Variant(
        directory.name,
        time.strftime("%Y-%m-%d %H:%M", time.localtime(noted[0]["time"])),
        (noted[-1]["time"] - noted[0]["time"]) / 60,
        len(done),
        sum(line.startswith("failed ") for line in client),
    )
    by_pid: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for sample in noted:
        by_pid[sample["service"], sample["pid"]].append(sample)
    numbers: dict[str, int] = defaultdict(int)
    for (service, pid), samples in sorted(by_pid.items()):
        label = f"{service}.{numbers[service]}"
        numbers[service] += 1
        inside = directory / f"objects-{pid}.jsonl"
        objects = [json.loads(line) for line in inside.read_text().splitlines()] if inside.exists() else []
        fits = {
            name: _fit([(bisect.bisect(done, s["time"]), s[name]) for s in source if name in s], fewest)
            for source in (samples, objects)
            for name in QUANTITIES
            if any(name in s for s in source)
        }
        variant.fits[label] = {name: fit for name, fit in fits.items() if fit is not None}
        variant.grown_types[label] = _grown(objects, done, fewest)
    return variant


def _done(directory: Path) -> list[float]:
    """When each server was gone again."""
    client = (directory / "soak-client.log").read_text().splitlines()
    return sorted(float(line.split()[2]) for line in client if line.startswith("done "))


def _fit(points: list[tuple[int, float]], fewest: int) -> Fit | None:
    """Least squares of the medians of blocks after the warm-up; None where that is too little."""
    blocks: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for servers, value in points:
        if WARM_UP <= servers <= fewest:
            blocks[(servers - WARM_UP) * BLOCKS // (fewest - WARM_UP + 1)].append((servers, value))
    kept = [
        (statistics.fmean(x for x, _ in block) / 1000, statistics.median(y for _, y in block))
        for _, block in sorted(blocks.items())
    ]
    if len(kept) < FEWEST_BLOCKS:
        return None
    mean_x, mean_y = (statistics.fmean(values) for values in zip(*kept, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in kept)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in kept) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in kept)
    return Fit(kept[0][1], kept[-1][1], slope, math.sqrt(rest / (len(kept) - 2) / spread))


def _grown(objects: list[dict[str, Any]], done: list[float], fewest: int) -> dict[str, int]:
    """Types of which there are more at the end than after the warm-up, and how many."""
    typed = [s["types"] for s in objects if "types" in s and WARM_UP <= bisect.bisect(done, s["time"]) <= fewest]
    if len(typed) < 2:
        return {}
    return {name: count - typed[0][name] for name, count in typed[-1].items() if count > typed[0].get(name, count)}


def verdict(name: str, fit: Fit, control: Fit | None) -> str:
    """`flat`, `grows`, or `unclear` when the run was too short to tell."""
    excess = fit.slope - (max(0.0, control.slope) if control else 0.0)
    error = math.hypot(fit.error, control.error if control else 0.0)
    allowed = QUANTITIES[name].allowed
    if excess - SURE * error > allowed:
        return "grows"
    return "flat" if excess + error <= allowed or excess <= 0 else "unclear"


def write(directory: Path, variants: list[Variant]) -> bool:
    """Print and keep the tables; false when something grows."""
    control = next((variant for variant in variants if variant.name == "bare"), None)
    fewest = min(variant.servers for variant in variants)
    judged = {
        variant.name: _judge(variant, control if variant is not control else None, fewest)
        for variant in variants
        if variant is not control
    }
    lines = [_ground(fewest, control), *(f"  {name}: {q.allowed:g} ({q.why})" for name, q in QUANTITIES.items())]
    for variant in variants:
        lines += ["", *_table(variant, control if variant is not control else None, judged.get(variant.name, {}))]
    text = "\n".join(lines)
    print(text)
    (directory / "table.txt").write_text(text + "\n")
    whole = {variant.name: asdict(variant) | {"verdicts": judged.get(variant.name)} for variant in variants}
    (directory / "soak.json").write_text(json.dumps(whole, indent=1) + "\n")
    print(f"\nkept in {directory}")
    return not any("grows" in words.values() for labels in judged.values() for words in labels.values())


def _ground(fewest: int, control: Variant | None) -> str:
    against = "the same process in the control" if control else "nothing: what a service grows by itself counts as ours"
    if fewest < WARM_UP + FEWEST:
        return f"not enough data: {fewest} servers, {WARM_UP + FEWEST} are the fewest from which anything is judged"
    return (
        f"judged from server {WARM_UP} to {fewest}, the most that every variant made, against {against};\n"
        "allowed more per 1,000 servers:"
    )


def _judge(variant: Variant, control: Variant | None, fewest: int) -> dict[str, dict[str, str]]:
    """Process -> quantity -> verdict."""
    short = fewest < WARM_UP + FEWEST
    beside = control.fits if control else {}
    return {
        label: {
            name: "not enough data" if short else verdict(name, fit, beside.get(label, {}).get(name))
            for name, fit in fits.items()
        }
        for label, fits in variant.fits.items()
    }


def _table(variant: Variant, control: Variant | None, judged: dict[str, dict[str, str]]) -> list[str]:
    lines = [
        _headline(variant),
        _row("process", "of", "warm", "end", "per 1,000", "control", "verdict"),
    ]
    for label, fits in variant.fits.items():
        for name, fit in fits.items():
            against = control.fits.get(label, {}).get(name) if control else None
            beside = f"{against.slope:+.1f} ±{against.error:.1f}" if against else ""
            word = judged.get(label, {}).get(name, "")
            slope = f"{fit.slope:+.1f} ±{fit.error:.1f}"
            lines.append(_row(label, name, f"{fit.first:.1f}", f"{fit.last:.1f}", slope, beside, word))
        if "grows" in judged.get(label, {}).values():
            lines.append(f"    more, without what became more in the control: {_more(variant, control, label)}")
    return lines


def _headline(variant: Variant) -> str:
    counted = f"{variant.servers} servers made and deleted, {variant.failed} failed"
    return f"{variant.name}: {counted}, in {variant.minutes:.0f} minutes from {variant.began}"


def _more(variant: Variant, control: Variant | None, label: str) -> str:
    also = control.grown_types.get(label, {}) if control else {}
    more = {name: count - also.get(name, 0) for name, count in variant.grown_types[label].items()}
    most = sorted((pair for pair in more.items() if pair[1] > 0), key=lambda pair: -pair[1])[:TYPES]
    return ", ".join(f"{name} {count}" for name, count in most) or "no type of which there were many"


def _row(process: str, of: str, warm: str, end: str, slope: str, control: str, word: str) -> str:
    return f"{process:<22}{of:<13}{warm:>10}{end:>10}{slope:>20}{control:>20}  {word}"
