# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/developers.md, put together as the page does, run and record what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "developers.md").read_text()


def examples(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_examples_run(tmp_path):
    (tmp_path / "telemetry.yaml").write_text(examples("yaml")[0])
    (tmp_path / "test_shop.py").write_text("\n".join(examples("python")))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    for level in ("deep", "off"):
        command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
        done = subprocess.run(
            command if level != "off" else [sys.executable, "-O", "-W", "error", "test_shop.py"],
            cwd=tmp_path, env=environment | {"OTEL_OPENSTACK_LEVEL": level}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warn" not in done.stdout + done.stderr
        assert level == "off" or "1 passed" in done.stdout
