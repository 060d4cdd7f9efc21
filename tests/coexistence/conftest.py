# SPDX-License-Identifier: Apache-2.0
"""The minimal cloud beside other tools that measure, recorded once a case; the tests read what it left.

By default everything together, in both concurrency modes. COEXIST chooses otherwise: `alone` for every case of
examples/minicloud/cases.py by itself, or CASE:MODE, several with commas. MINICLOUD_RECORDED as in tests/cloud.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.cloud import conftest as cloud
from tests.cloud.recorded import Run

CASES = ("oslo-messaging", "oslo-middleware", "osprofiler", "oslo-metrics", "contrib", "peers", "distro")
MODES = ("threading", "eventlet")
TOGETHER = tuple(f"together:{mode}" for mode in MODES)
CHOSEN = os.environ.get("COEXIST", ",".join(TOGETHER))
ALONE = tuple(f"{case}:{mode}" for case in CASES for mode in MODES)
DIRECTORY = cloud.ROOT / ".cache" / "coexist" / "cloud"


@pytest.fixture(scope="session", params=ALONE if CHOSEN == "alone" else CHOSEN.split(","))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything that one run of the cloud left."""
    existing = os.environ.get("MINICLOUD_RECORDED")
    case, concurrency = request.param.split(":")
    kept = Path(existing) if existing else tmp_path_factory.mktemp(request.param.replace(":", "-"))
    found = Run(kept if existing else cloud.record(concurrency, kept, DIRECTORY, "--case", case))
    _lines.append(_line(request.param, found))
    return found


def _line(name: str, run: Run) -> str:
    """What this run recorded, in a line of a table."""
    creates = [
        f"{step['seconds']:.1f} s {len([s for s in run.trace(step) if not s.is_database])} spans"
        for step in run.drives[0].named("server create")
    ]
    others = Counter(line["path"].split("/")[1] for line in run.others)
    seen = ", ".join(f"{path} {count}" for path, count in others.items()) or "nothing"
    return f"{name:26} {len(run.spans):6} spans, a create {', '.join(creates)}; others got {seen}"


_lines: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _lines:
        terminalreporter.write_line(line)
