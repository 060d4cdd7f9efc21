# SPDX-License-Identifier: Apache-2.0
"""Expressions of developers on nova's own objects, in the cloud's environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cloud.conftest import VENV

PROGRAM = Path(__file__).parent / "programs" / "nova_objects.py"


@pytest.mark.cloud
def test_reading_an_instance_loads_nothing():
    command = [VENV / "bin" / "python", "-W", "ignore", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["called"]), done.stdout + done.stderr
