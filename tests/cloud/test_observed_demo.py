# SPDX-License-Identifier: Apache-2.0
"""`make demo OBSERVE=1` from the first process to the last: it waits at a terminal, and leaves nothing behind.

A recorded run is replayed in the place of the cloud; what observes it, the page, the wait and the end are the demo's.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cloud.recorded import Run
from tests.collector.peers import binary, wait

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not all(map(shutil.which, ("go", "npm", "prometheus"))), reason="needs Go, npm and Prometheus"),
]
PROGRAM = Path(__file__).with_name("programs") / "observed_demo.py"
PROMPT = b"until Enter or Ctrl-C"
NAMES = {"collector", "statsd", "prometheus", "jaeger"}
CTRL_C = b"\x03"


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, *command):
        self.master, slave = pty.openpty()
        self.shown = b""
        self.child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.set_blocking(self.master, False)

    def shows(self, what):
        self.read()
        assert self.child.poll() is None, self.shown.decode()[-3000:]
        return what in self.shown

    def read(self):
        with contextlib.suppress(OSError):  # nothing new; nobody there any more
            self.shown += os.read(self.master, 65536)

    def press(self, key):
        os.write(self.master, key)

    def ended(self):
        self.read()  # or it would wait for somebody to read
        return self.child.poll() is not None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.child.poll() is None:
            self.child.terminate()  # it stops everything that it started
        deadline = time.monotonic() + 40
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.child.kill()
        self.child.wait()
        os.close(self.master)


def of(directory):
    """The processes that have the directory's cloud in their environment: pid and command."""
    marked, found = f"MINICLOUD={directory}".encode(), {}
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and marked in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@pytest.mark.parametrize("keys", [(b"\r",), (CTRL_C, CTRL_C)], ids=["enter", "ctrl-c and once more"])
def test_it_stays_until_it_is_told_and_leaves_nothing(run: Run, tmp_path, keys):
    binary()
    command = (sys.executable, PROGRAM, run.directory, "--dir", tmp_path, "--venv", sys.prefix)
    with Terminal(*command) as terminal:
        wait(lambda: terminal.shows(PROMPT), "the prompt", 120)
        started = of(tmp_path)
        assert {path.name for path in (tmp_path / "pid").iterdir()} == NAMES
        assert len(started) >= len(NAMES)
        assert 'class="number differs"' not in (tmp_path / "observe.html").read_text(), terminal.shown.decode()[-3000:]
        assert int(re.search(rb"(\d+) spans in Jaeger, \1 in the files", terminal.shown)[1]) > 50
        time.sleep(1)
        assert of(tmp_path) == started, "they stay"
        for key in keys:
            terminal.press(key)
            time.sleep(0.5)
        wait(terminal.ended, "the end", 40)
        assert terminal.child.returncode == 0, terminal.shown.decode()[-3000:]
        assert of(tmp_path) == {}
        assert not [*(tmp_path / "pid").iterdir()]
