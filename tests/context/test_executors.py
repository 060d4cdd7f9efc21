# SPDX-License-Identifier: Apache-2.0
"""Runs cases_executors.py in a pytest of its own: futurist imports eventlet, which then warns at every later fork."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_context_travels_with_each_item():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "cases_executors.py")]
    result = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, check=False, timeout=180)
    assert result.returncode == 0, result.stdout + result.stderr
