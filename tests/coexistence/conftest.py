# SPDX-License-Identifier: Apache-2.0
"""The minimal cloud beside other tools that measure, recorded once a case; the tests read what it left.

By default everything together, in both concurrency modes. COEXIST chooses otherwise: `alone` for every case of
examples/minicloud/cases.py by itself, or CASE:MODE, several with commas. MINICLOUD_RECORDED as in tests/cloud.
"""

from __future__ import annotations

import os
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
    if existing:
        return Run(Path(existing))
    case, concurrency = request.param.split(":")
    kept = tmp_path_factory.mktemp(request.param.replace(":", "-"))
    return Run(cloud.record(concurrency, kept, DIRECTORY, "--case", case))
