# SPDX-License-Identifier: Apache-2.0
"""The runtime is about whole processes, so each test runs a script in one of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

COMMON = """
import os, sys, time, logging, signal
logging.basicConfig(level="DEBUG", format="%(process)d %(message)s", stream=sys.stderr)
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
class Job:
    # Says each run, and does `act`.
    def __init__(self, name="job", interval=3600.0, act=None):
        self.name, self.interval, self.act = name, interval, act
    def run(self, deadline, final):
        say(self.name, "final" if final else "run", os.getpid() if "pids" in sys.argv else "")
        if self.act: self.act(deadline, final)
"""


@dataclass
class Done:
    """A script that has ended."""

    returncode: int
    out: list[str]
    err: str
    seconds: float


@pytest.fixture
def script() -> Callable[..., Done]:
    def run(text: str, *arguments: str, check: bool = True, timeout: float = 20.0) -> Done:
        begin = time.monotonic()
        command = [sys.executable, "-W", "ignore", "-c", COMMON + textwrap.dedent(text), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, done.stderr
        lines = [line.strip() for line in done.stdout.splitlines()]
        return Done(done.returncode, lines, done.stderr, time.monotonic() - begin)

    return run
