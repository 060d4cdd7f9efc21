# SPDX-License-Identifier: Apache-2.0
"""What a person sees while steps run: one line a step with its time, and a sign of life during the long ones."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGN_OF_LIFE = 10.0  # seconds between two lines of a step that takes long
TAIL_LINES = 25

_began = time.monotonic()


class Failed(Exception):  # noqa: N818 -- reads as what happened
    """A step failed: what, which service (if any), and what to do, in words for a person."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log

    def __str__(self) -> str:
        message = super().__str__()
        if self.log is None:
            return message
        return f"{message}\n--- end of {self.log} ---\n{tail(self.log)}"


def say(text: str) -> None:
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Prints `name` and its seconds when it is done, and a sign of life every ten seconds until then."""
    start = time.monotonic()
    done = threading.Event()

    def live() -> None:
        while not done.wait(SIGN_OF_LIFE):
            say(f"... {name} ({time.monotonic() - start:.0f} s so far)")

    ticker = threading.Thread(target=live, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
    say(f"{name} ({time.monotonic() - start:.1f} s)")


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        return f"(cannot be read: {error})"
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (empty)"
