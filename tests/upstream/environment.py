# SPDX-License-Identifier: Apache-2.0
"""The venv of upstream's tests: the libraries at the versions of the demo, their pinned test requirements, and us."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "upstream"
VENV = CACHE / "venv"
LOCK = Path(__file__).with_name("requirements.lock")


def ensure() -> None:
    """Make the venv; quick when it is there."""
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"upstream's tests get a venv in {VENV}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(LOCK), "-e", str(ROOT)], check=True)
    stamp.write_text(wanted)
