# SPDX-License-Identifier: Apache-2.0
"""The minimal cloud once in each concurrency mode, recorded and stopped; the tests read what it left.

For work on the tests: MINICLOUD_VENV names an existing venv of the cloud, MINICLOUD_RECORDED a directory that a
`python examples/minicloud record --dir DIRECTORY` has left, which is then taken for every mode.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.recorded import Run

ROOT = Path(__file__).resolve().parent.parent.parent
ONCE = tuple(Path(__file__).with_name(f"test_{name}.py") for name in ("dashboards", "observed_demo"))
DIRECTORY = ROOT / ".cache" / "cloud"
VENV = Path(os.environ.get("MINICLOUD_VENV", ROOT / ".demo" / "venv"))
WITHIN = 1200  # seconds
KEPT = ("*.json", "*.jsonl", "oslo-metrics.txt")  # of the cloud's state


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take one recorded run only for some: the other one adds nothing to them but a minute."""
    again = [item for item in items if item.path in ONCE and "[threading" in item.name]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in again]


@pytest.fixture(scope="session", params=["threading", "eventlet"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything that one run of the cloud left."""
    existing = os.environ.get("MINICLOUD_RECORDED")
    return Run(Path(existing)) if existing else Run(record(request.param, tmp_path_factory.mktemp(request.param)))


def record(concurrency: str, kept: Path, directory: Path = DIRECTORY, *options: str, command: str = "record") -> Path:
    """Run the cloud in `directory` and keep what it left in `kept`."""
    words = [sys.executable, str(ROOT / "examples" / "minicloud"), command, "--concurrency", concurrency]
    words += ["--dir", str(directory), "--venv", str(VENV), *options]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=WITHIN)
        except subprocess.TimeoutExpired:
            process.terminate()  # it stops everything that it started
            output, _ = process.communicate()
    print(output)
    assert process.returncode == 0, output[-6000:]
    for name in ("otlp", "log", "otlp-deep", "log-deep"):
        if (directory / name).exists():
            shutil.copytree(directory / name, kept / name)
    (kept / "state").mkdir()
    for path in (path for kind in KEPT for path in (directory / "state").glob(kind)):
        shutil.copy(path, kept / "state")
    return kept
