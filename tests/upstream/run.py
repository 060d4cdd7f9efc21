# SPDX-License-Identifier: Apache-2.0
"""Upstream's own unit tests, without and with the distribution at level deep: what passes only without is our defect.

    python tests/upstream/run.py [--quick] [SUITE ...]

The table at the end, and summary.json with everything, are kept in .cache/upstream.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.upstream import compare, environment, servers
from tests.upstream.process import Side
from tests.upstream.suites import BY_NAME, KNOWN, SUITES, Suite

RERUNS = 2


@dataclass
class Result:
    """What came out of one suite."""

    suite: str
    counts: dict[str, int]
    verdicts: list[compare.Verdict]
    problems: list[str]  # why the run proves nothing
    spans: int
    points: int
    patches: int
    failures: dict[str, int]  # hooks that failed without harm, by patch
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def defects(self) -> list[compare.Verdict]:
        return [verdict for verdict in self.verdicts if verdict.kind == "defect"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *BY_NAME], metavar="SUITE", help=", ".join(BY_NAME))
    parser.add_argument("--quick", action="store_true", help="what CI runs")
    arguments = parser.parse_args()
    chosen = [BY_NAME[name] for name in arguments.suites] or [s for s in SUITES if _wanted(s, quick=arguments.quick)]
    signal.signal(signal.SIGTERM, _interrupted)
    results = [run(suite) for suite in chosen]
    report(results)
    return 1 if any(result.defects or result.problems for result in results) else 0


def _interrupted(number: int, _frame: FrameType | None) -> None:
    """Servers and processes that were started are stopped on the way out."""
    raise KeyboardInterrupt(number)


def _wanted(suite: Suite, *, quick: bool) -> bool:
    """A suite with a pattern is a part of another one, for those who are in a hurry."""
    return suite.quick if quick else suite.pattern == "test*.py"


def run(suite: Suite) -> Result:
    """Run one suite on both sides at the same time, and what differs up to two times more."""
    environment.ensure()
    directory = environment.CACHE / suite.name.replace(" ", "-")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began = time.monotonic()
    with servers.of(suite, directory) as variables:
        sides = [Side(suite, directory / name, instrumented=name == "with", more=variables[name]) for name in NAMES]
        without, with_us = both(sides, None)
        runs = ([without], [with_us])
        for _ in range(RERUNS):
            left = [v.test for v in compare.verdicts(*runs, KNOWN) if v.kind in {"defect", "known"}]
            if not left:
                break
            for known, again in zip(runs, both(sides, _modules(left)), strict=True):
                known.append({test: entry for test, entry in again.items() if test in left})
    ours = sides[1]
    spans, points = ours.exported()
    activity = ours.activity
    result = Result(
        suite.name,
        dict(compare.counts(without, with_us)),
        compare.verdicts(*runs, KNOWN),
        _problems(suite, sides, without, spans, points),
        spans,
        points,
        sum(state == "active" for state in activity.get("patches", {}).values()),
        activity.get("failures", {}),
        {side.directory.name: side.seconds for side in sides} | {"all": time.monotonic() - began},
    )
    print(line(result), flush=True)
    return result


NAMES = ("without", "with")


def both(sides: list[Side], modules: list[str] | None) -> list[compare.Outcomes]:
    with ThreadPoolExecutor(len(sides)) as pool:
        try:
            return list(pool.map(lambda side: side.run(modules), sides))
        except BaseException:
            for side in sides:
                side.stop()
            raise


def _modules(tests: list[str]) -> list[str]:
    """Modules of the tests: `module.Class.test` or `module.Class.test(scenario)`."""
    return sorted({test.partition("(")[0].rpartition(".")[0].rpartition(".")[0] for test in tests})


def _problems(suite: Suite, sides: list[Side], without: compare.Outcomes, spans: int, points: int) -> list[str]:
    """Why a run would prove nothing: too few tests, or a distribution that was not at work."""
    bare, ours = sides
    problems = []
    passed = Counter(entry["outcome"] for entry in without.values())["passed"]
    if not passed or 2 * passed < len(without) - Counter(e["outcome"] for e in without.values())["skipped"]:
        problems.append(f"only {passed} of {len(without)} tests pass without us")
    if bare.activity:
        problems.append("the distribution was active in the run without it")
    states = ours.activity.get("patches", {})
    active = tuple(name for name, state in states.items() if state == "active")
    problems += [f"no patch of {p}* was active" for p in suite.proof if not any(n.startswith(p) for n in active)]
    problems += [f"patch {name} is {state}" for name, state in states.items() if state in {"failed", "off"}]
    if ours.activity.get("level") != "deep" or ours.activity.get("strict"):
        problems.append("not at level deep as in production")
    problems += [f"hook {patch} failed {times} times" for patch, times in ours.activity.get("failures", {}).items()]
    if not suite.silent and not (spans and points):
        problems.append(f"{spans} spans and {points} points were exported")
    return problems


def line(result: Result) -> str:
    kinds = Counter(verdict.kind for verdict in result.verdicts)
    counts = result.counts
    return (
        f"{result.suite:<30}{counts.get('passed', 0):>7}{counts.get('failed', 0):>12}{counts.get('skipped', 0):>9}"
        f"{kinds['defect']:>9}{kinds['known']:>7}{kinds['flaky']:>7}{kinds['better']:>8}"
        f"{result.spans:>8}{result.points:>8}{result.patches:>9}{sum(result.failures.values()):>6}"
        f"{result.seconds['without']:>9.0f}{result.seconds['with']:>6.0f}"
    )


HEAD = (
    f"{'suite':<30}{'passed':>7}{'failed both':>12}{'skipped':>9}{'DEFECTS':>9}{'known':>7}{'flaky':>7}{'better':>8}"
    f"{'spans':>8}{'points':>8}{'patches':>9}{'hooks':>6}{'s bare':>9}{'s us':>6}"
)


def report(results: list[Result]) -> None:
    print(f"\n{HEAD}")
    for result in results:
        print(line(result))
    print("better: failed without us only. hooks: how often a hook failed without harm.")
    for result in results:
        for problem in result.problems:
            print(f"! {result.suite}: {problem}")
        for verdict in result.verdicts:
            print(f"  {verdict.kind}: {verdict.test}: {verdict.without} without us, {verdict.with_us} with us")
            if verdict.kind == "defect":
                print(f"{verdict.error[-1500:]}\n")
            elif verdict.reason:
                print(f"    {verdict.reason}")
    path = environment.CACHE / "summary.json"
    path.write_text(json.dumps([_plain(result) for result in results], indent=1) + "\n")
    print(f"kept: {os.path.relpath(path)}")


def _plain(result: Result) -> dict[str, Any]:
    return asdict(result) | {"verdicts": [verdict._asdict() for verdict in result.verdicts]}


if __name__ == "__main__":
    sys.exit(main())
