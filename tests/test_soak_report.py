# SPDX-License-Identifier: Apache-2.0
"""The table of the long run tells what grows because of us from what is flat and from what grows by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

MINICLOUD = Path(__file__).resolve().parent.parent / "examples" / "minicloud"
SERVERS = 1000
Curve = Callable[[float], float]  # number of servers made: MiB


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(MINICLOUD))
    import soak_report

    return soak_report


def record(directory: Path, servers: int = SERVERS, **curves: Curve) -> Path:
    """Samples of one variant: a process for each curve, a server a second."""
    directory.mkdir()
    (directory / "soak-client.log").write_text("".join(f"done {n} {float(n)}\n" for n in range(1, servers + 1)))
    noise = random.Random(7)
    with (directory / "processes.jsonl").open("w") as output:
        for moment in range(0, servers, 5):
            for pid, (name, curve) in enumerate(curves.items()):
                value = curve(moment) + noise.uniform(-0.5, 0.5)
                output.write(json.dumps({"time": moment, "service": name, "pid": pid, "rss": value}) + "\n")
    return directory


def verdicts(report: ModuleType, directory: Path, *variants: Path) -> dict[str, str]:
    report.write(directory, [report.read(variant) for variant in variants])
    kept = json.loads((directory / "soak.json").read_text())
    return {label: words["rss"] for label, words in kept["up"]["verdicts"].items()}


def test_what_grows_is_told_from_what_fills_up_and_what_grows_by_itself(report: ModuleType, tmp_path: Path) -> None:
    control = record(tmp_path / "bare", flat=lambda n: 100, leaks=lambda n: 100, filling=lambda n: 90, own=lambda n: n)
    up = record(
        tmp_path / "up",
        flat=lambda n: 110,
        leaks=lambda n: 110 + n / 100,  # 10 MiB each 1,000
        filling=lambda n: 90 + min(n, 250) / 10,  # full before the end of the warm-up
        own=lambda n: 10 + n,
    )
    assert verdicts(report, tmp_path, control, up) == {
        "flat.0": "flat", "leaks.0": "grows", "filling.0": "flat", "own.0": "flat"
    }  # fmt: skip
    assert "grows" in (tmp_path / "table.txt").read_text()


def test_a_short_run_judges_nothing(report: ModuleType, tmp_path: Path) -> None:
    up = record(tmp_path / "up", servers=60, leaks=lambda n: n)
    assert verdicts(report, tmp_path, up) == {"leaks.0": "too short"}
