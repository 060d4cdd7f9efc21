# SPDX-License-Identifier: Apache-2.0
"""The part of upstream's own unit tests for which CI has time; `make upstream` runs all."""

from __future__ import annotations

import pytest

from tests.upstream import run
from tests.upstream.compare import Verdict, counts, verdicts
from tests.upstream.suites import SUITES, Suite


@pytest.mark.parametrize("suite", [suite for suite in SUITES if suite.quick], ids=lambda suite: suite.name)
def test_nothing_fails_that_passes_without_us(suite: Suite) -> None:
    result = run.run(suite)
    assert result.problems == []
    assert [(verdict.test, verdict.error) for verdict in result.defects] == []


def outcomes(**entries: str) -> dict[str, dict[str, str]]:
    return {test: {"outcome": outcome, "error": ""} for test, outcome in entries.items()}


def test_what_passes_only_without_us_is_found() -> None:
    """Also a test that we skip or that never ran; one that passes in a later run of ours is flaky."""
    without = outcomes(same="passed", broken="passed", gone="passed", skips="passed", flaky="passed", both="failed")
    ours = outcomes(same="passed", broken="error", skips="skipped", flaky="failed", both="failed", other="passed")
    again = outcomes(broken="failed", skips="skipped", flaky="passed")
    found = verdicts([without, outcomes(flaky="passed")], [ours, again], {"skips": "it has to"})
    assert {verdict.test: verdict.kind for verdict in found} == {
        "broken": "defect", "gone": "defect", "skips": "known", "flaky": "flaky"
    }  # fmt: skip
    assert isinstance(found[0], Verdict)
    assert counts(without, ours) == {"passed": 1, "failed": 1, "differs": 5}
