# SPDX-License-Identifier: Apache-2.0
"""The one thread of a process that exports.

It is a raw thread of the operating system, also under eventlet, where everything else is green: it shares with green
code only deques, lists, integers and native locks that are held for microseconds, and it never logs through green
locks. It is unknown to `threading`, so nothing joins it, and a process may end while it waits for a collector that
never answers. It starts with the first record of a process, and anew in every child.
"""

from __future__ import annotations

import contextlib
import os
import posix
from collections.abc import Callable
from typing import Any, Protocol

from otel_openstack.runtime import notices, originals, process
from otel_openstack.runtime.originals import monotonic

NEVER = float("inf")
RUN_TIME = 10.0  # seconds that a job may take when nobody is waiting for it
LEAST = 0.4  # of the patience is left, however long a send has been under way when the process ends
BEAT = 0.5  # seconds, at most, between two beats of the thread
NAME = b"otel_openstack"  # of the thread, in the system's eyes; 15 bytes at most
COMM = "/proc/thread-self/comm"
SHARE = 0.6  # of the time left at the end goes to each job that is not the last one


class Job(Protocol):
    """Something the export thread does every `interval` seconds."""

    @property
    def name(self) -> str: ...
    @property
    def interval(self) -> float: ...
    def run(self, deadline: float, final: bool) -> None:
        """Export what there is; return at `deadline` (`originals.monotonic`). After the `final` run there is none."""

    def suspend(self) -> None:
        """Let go of what is held and open, unsent: the process is switched off. Called in the export thread."""


class _Life:
    """The state of the export thread in one process; a child gets a new one."""

    def __init__(self) -> None:
        self.bell = _taken()
        self.done = _taken()
        self.woken: set[str] = set()
        self.running = False
        self.stopping = False
        self.halted = False
        self.beaten = 0.0  # when the last beat was
        self.abandoned = False
        self.moved = 0.0  # when the run under way began, or the collector last took something
        self.cutoff = NEVER  # when a send has to give up, whatever its own deadline says
        self.patience = 0.0
        self.soft = NEVER  # the end of the final round if nothing moves
        self.hard = NEVER  # and if something does
        self.rounds = 0  # full rounds begun
        self.finished = 0  # full rounds ended
        self.waiting: list[tuple[int, Any]] = []

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # rung already
            self.bell.release()


def _taken() -> Any:
    lock = originals.allocate_lock()
    lock.acquire()
    return lock


_jobs: list[Job] = []
_beats: list[Callable[[], None]] = []
_failed: set[str] = set()
_life = _Life()


def add(job: Job) -> None:
    """Let the export thread run `job` from now on, here and in every child. It starts at the first record."""
    _jobs.append(job)
    if process.started():
        _start()


def remove(job: Job) -> None:
    """Take `job` out again."""
    if job in _jobs:
        _jobs.remove(job)


def on_beat(callback: Callable[[], None]) -> None:
    """Call `callback` in the export thread about every `BEAT` seconds, also while a send waits. It may `halt()`."""
    _beats.append(callback)


def halt() -> None:
    """End the export thread without a last export; a send that is under way gives up at once."""
    life = _life
    life.halted = True
    life.cutoff = 0.0
    life.ring()


def revive() -> bool:
    """Let the thread start again at the next record; False as long as the halted one is not gone."""
    global _life
    if _life.running:
        return False
    _life = _Life()
    return True


def wake(name: str = "") -> None:
    """Run the job called `name`, or all, now instead of at its next turn. Cheap, never blocks, from any thread."""
    life = _life
    life.woken.add(name)
    life.ring()


def flush(timeout: float) -> bool:
    """Run every job once and wait for it, at most `timeout` seconds. In a green process others run meanwhile.

    Returns:
        Whether a whole round ended in time.

    """
    life = _life
    if not process.started() or not life.running or life.stopping or life.halted:
        return False
    end = monotonic() + timeout
    wanted = life.rounds + 1
    bell = _taken()
    life.waiting.append((wanted, bell))
    wake()
    if originals.is_green() and originals.get_ident() == _home:
        return _green_wait(life, wanted, end)
    return bool(bell.acquire(True, max(0.0, end - monotonic()))) and life.finished >= wanted


def cutoff() -> float:
    """Return the time at which a send gives up even if its deadline is later: soon, when the process is ending.

    Whoever waits for a collector asks it in short intervals, so it is also where the waiting thread beats.
    """
    life = _life
    if life.running and not life.stopping:
        _beat(life)
    return life.cutoff


def progress() -> None:
    """Say that the collector took something: at the end of the process it then gets more time, within the bound."""
    life = _life
    life.moved = monotonic()
    if life.stopping:
        life.cutoff = min(life.hard, max(life.cutoff, life.moved + life.patience))


def finish(patience: float, hard: float) -> bool:
    """Give every job its final run; the way `stop` ends the export thread.

    Args:
        patience: seconds to wait while nothing moves.
        hard: seconds after which to go whatever moves.

    Returns:
        Whether the final round ended in time.

    """
    life = _life
    now = monotonic()
    # A send under way has used some of the patience already. What is left is all for it: to break it off and send the
    # same again would only double the data.
    left = max(LEAST * patience, patience - (now - life.moved)) if life.moved else patience
    life.patience, life.soft, life.hard = patience, now + left, now + hard
    life.cutoff = life.soft
    life.stopping = True
    if not life.running:
        _final_round(life)
        return True
    life.ring()
    ended = bool(life.done.acquire(True, hard))
    life.abandoned = not ended
    return ended


def _green_wait(life: _Life, wanted: int, end: float) -> bool:
    import sys

    eventlet: Any = sys.modules["eventlet"]
    while life.finished < wanted and monotonic() < end and not life.halted:
        eventlet.sleep(0.005)
    return life.finished >= wanted


def _start() -> None:
    life = _life
    if life.running or not _jobs:
        return
    try:
        life.running = True
        originals.start_new_thread(_loop, (life,))
    except RuntimeError:
        life.running = False  # the interpreter is ending; the final round then runs in the thread that stops us


def _loop(life: _Life) -> None:
    notices.this_thread_is_native()
    _show_name()
    due: dict[int, float] = {}
    try:
        while not (life.stopping or life.halted):
            _pause(life, due)
            _beat(life)
            if not (life.stopping or life.halted):
                _round(life, due)
        if life.halted:
            _leave(life)
        else:
            _final_round(life)
    finally:
        life.done.release()


def _show_name() -> None:
    """Let `top -H` and its like show which of a service's threads is this one."""
    with contextlib.suppress(OSError):
        descriptor = originals.open_file(COMM, os.O_WRONLY | os.O_CLOEXEC)
        try:
            originals.write(descriptor, NAME)
        finally:
            posix.close(descriptor)


def _beat(life: _Life) -> None:
    now = monotonic()
    if now - life.beaten < BEAT or life.halted:
        return
    life.beaten = now
    for callback in _beats:
        callback()


def _leave(life: _Life) -> None:
    """Drop what the jobs hold, let go of whoever waits for a flush, and be gone."""
    for job in tuple(_jobs):
        with contextlib.suppress(Exception):
            job.suspend()
    life.running = False
    for entry in tuple(life.waiting):
        entry[1].release()


def _pause(life: _Life, due: dict[int, float]) -> None:
    now = monotonic()
    for job in _jobs:
        due.setdefault(id(job), now + job.interval)
    next_turn = min((due[id(job)] for job in _jobs), default=now + 1.0)
    if next_turn > now and not life.woken:
        life.bell.acquire(True, min(next_turn - now, BEAT))


def _round(life: _Life, due: dict[int, float]) -> None:
    life.bell.acquire(False)
    woken, life.woken = life.woken, set()
    everything = "" in woken
    if everything:
        life.rounds += 1
    for job in tuple(_jobs):
        now = monotonic()
        if everything or job.name in woken or due.get(id(job), now) <= now:
            due[id(job)] = now + job.interval
            life.moved = now
            _run(job, now + RUN_TIME, final=False)
        if life.stopping or life.halted:
            return  # with `moved` as it is: the end of the process has come in the middle of a send
    life.moved = 0.0
    if everything:
        _answer(life)


def _answer(life: _Life) -> None:
    life.finished = life.rounds
    for entry in tuple(life.waiting):
        if entry[0] <= life.finished:
            life.waiting.remove(entry)
            entry[1].release()


def _final_round(life: _Life) -> None:
    jobs = tuple(_jobs)
    end = max(life.soft, life.cutoff)
    for place, job in enumerate(jobs, start=1):
        now = monotonic()
        end = max(end, life.cutoff)
        life.cutoff = end if place == len(jobs) else now + SHARE * max(0.0, end - now)
        _run(job, life.hard, final=True)


def _run(job: Job, deadline: float, *, final: bool) -> None:
    try:
        job.run(deadline, final)
    except BaseException as error:
        if job.name not in _failed:
            _failed.add(job.name)
            notices.say("error", f"export of {job.name} failed: {type(error).__name__}: {error}")


def _reborn() -> None:
    global _life, _home
    _life = _Life()
    _home = originals.get_ident()


_home = originals.get_ident()
process.on_child(_reborn)
process.on_start(_start)
