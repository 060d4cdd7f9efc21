# SPDX-License-Identifier: Apache-2.0
"""Two runs of a suite, test by test."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

GOOD = ("passed", "skipped")
Outcomes = dict[str, dict[str, Any]]  # id: outcome, seconds, error


class Verdict(NamedTuple):
    """A test that did not end alike. `with_us` and `without` are the outcomes of every run, re-runs included."""

    test: str
    kind: str  # defect, flaky, known, better
    without: list[str]
    with_us: list[str]
    error: str
    reason: str = ""


def suspects(without: Outcomes, with_us: Outcomes) -> list[str]:
    """Ids that passed without us and did not with us; also one that we would have skipped, or never ran."""
    return [test for test, entry in without.items() if _outcome(with_us, test) != entry["outcome"] and _good(entry)]


def verdicts(without: list[Outcomes], with_us: list[Outcomes], known: dict[str, str]) -> list[Verdict]:
    """Judge the suspects of the first run by all runs: a defect is what never once passed with us."""
    found = []
    for test in suspects(without[0], with_us[0]):
        ours = [_outcome(run, test) for run in with_us if run is with_us[0] or test in run]
        theirs = [_outcome(run, test) for run in without if run is without[0] or test in run]
        kind = "flaky" if set(ours) & set(GOOD) & set(theirs) else "known" if test in known else "defect"
        error = with_us[0].get(test, {}).get("error", "")
        found.append(Verdict(test, kind, theirs, ours, error, known.get(test, "")))
    better = [
        test
        for test, entry in with_us[0].items()
        if entry["outcome"] == "passed" and test in without[0] and not _good(without[0][test])
    ]
    return found + [Verdict(test, "better", [without[0][test]["outcome"]], ["passed"], "") for test in better]


def counts(without: Outcomes, with_us: Outcomes) -> Counter[str]:
    """How the tests ended: `passed`, `skipped` and `failed` are those that ended so both times."""
    total: Counter[str] = Counter()
    for test in without.keys() | with_us.keys():
        sides = {outcome if (outcome := _outcome(side, test)) in GOOD else "failed" for side in (without, with_us)}
        total[sides.pop() if len(sides) == 1 else "differs"] += 1
    return total


def _outcome(run: Outcomes, test: str) -> str:
    return str(run[test]["outcome"]) if test in run else "not run"


def _good(entry: dict[str, Any]) -> bool:
    return entry["outcome"] in GOOD
