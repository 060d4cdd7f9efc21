# SPDX-License-Identifier: Apache-2.0
"""Work at the end of a process that may hang, as an exporter of others: each in a native thread that is left behind.

The threads are there from the first record of a process on and wait: an interpreter that is ending starts none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_openstack.runtime import notices, originals, process


class _Aside:
    """One piece of work, and its thread in this process."""

    __slots__ = ("bell", "done", "name", "waits", "work")

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.work = work
        self.renew()

    def renew(self) -> None:
        """Have no thread yet, as in a forked child."""
        self.waits = False
        self.bell: Any = originals.allocate_lock()
        self.done: Any = originals.allocate_lock()
        self.bell.acquire()
        self.done.acquire()

    def start(self) -> None:
        if self.waits:
            return
        self.waits = True
        try:
            originals.start_new_thread(self._run, ())
        except RuntimeError as error:
            self.waits = False
            notices.say("error", f"{self.name} has no thread in which to end: {error}")

    def _run(self) -> None:
        self.bell.acquire()
        notices.this_thread_is_native()
        try:
            self.work()
        except Exception as error:
            notices.say("error", f"{self.name} failed at the end of the process: {type(error).__name__}: {error}")
        finally:
            self.done.release()


_asides: list[_Aside] = []


def at_end(name: str, work: Callable[[], None]) -> None:
    """Run `work` at the end of this process and of every child, beside the last export and within the same deadline.

    Args:
        name: what it is, for the log.
        work: called in a native thread, also in a green process; what it does after the deadline is lost.

    """
    _asides.append(_Aside(name, work))
    _asides[-1].start()


def begin() -> None:
    """Let all the work begin: the process is at its end."""
    for aside in _asides:
        if aside.waits:
            aside.bell.release()


def wait(deadline: float) -> list[str]:
    """Wait for the work until `deadline` (`originals.monotonic`); returns the names of what has not ended by then."""
    return [
        aside.name
        for aside in _asides
        if aside.waits and not aside.done.acquire(True, max(0.0, deadline - originals.monotonic()))
    ]


def _start() -> None:
    for aside in _asides:
        aside.start()


def _reborn() -> None:
    for aside in _asides:
        aside.renew()


process.on_child(_reborn)
process.on_start(_start)
