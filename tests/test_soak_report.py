# SPDX-License-Identifier: Apache-2.0
"""The table of the long run tells what grows because of us from what is flat and from what grows by itself."""

from __future__ import annotations

import json
import math
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
    report.write(directory, report.read_all(list(variants)))
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
    up = record(tmp_path / "up", servers=550, leaks=lambda n: n)
    assert verdicts(report, tmp_path, up) == {"leaks.0": "not enough data"}
    assert "not enough data: 550 servers" in (tmp_path / "table.txt").read_text()


def test_runs_of_different_length_are_compared_over_the_same_servers(report: ModuleType, tmp_path: Path) -> None:
    """What fills up slowly is steep in a short control; a longer run would hide under it what it keeps."""
    control = record(tmp_path / "bare", servers=700, fills=lambda n: 40 * (1 - 0.5 ** (n / 200)))
    up = record(tmp_path / "up", servers=2000, fills=lambda n: 40 * (1 - 0.5 ** (n / 200)) + n / 100)
    assert verdicts(report, tmp_path, control, up) == {"fills.0": "grows"}


def test_a_wave_is_no_growth(report: ModuleType, tmp_path: Path) -> None:
    """Samples that follow each other are alike: many of them at the top of a wave are no proof that it rises."""
    up = record(tmp_path / "up", waves=lambda n: 100 + 3 * math.sin(n / 95 + 4.5))
    assert verdicts(report, tmp_path, up) == {"waves.0": "unclear"}


def test_objects_of_ours_are_judged_by_themselves(report: ModuleType, tmp_path: Path) -> None:
    up = record(tmp_path / "up", keeps=lambda n: 100)
    with (up / "objects-0.jsonl").open("w") as output:
        for moment in range(0, SERVERS, 10):
            held = {"otel_openstack.tracing.span.LeanSpan": moment * 5, "builtins.dict": 200000}
            types = {"types": held} if moment % 60 == 0 else {}
            output.write(json.dumps({"time": moment, "objects": 200000, "ours": moment * 5} | types) + "\n")
    report.write(tmp_path, report.read_all([up]))
    assert json.loads((tmp_path / "soak.json").read_text())["up"]["verdicts"]["keeps.0"] == {
        "rss": "flat", "objects": "flat", "ours": "grows"
    }  # fmt: skip
    assert "otel_openstack.tracing.span.LeanSpan" in (tmp_path / "table.txt").read_text()
