# SPDX-License-Identifier: Apache-2.0
"""Start and stop processes: each in a session of its own, found again by pid and start time, never by name.

A process writes its own /proc stat line before it becomes the service, so a starter that is killed at any moment
leaves a record by which the next start (or `down`) stops what is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from progress import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from layout import Cloud

GRACE = 60.0  # seconds between SIGTERM and SIGKILL
POLL = 0.05
INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
RECORD = 'cat /proc/$$/stat > "$0.new" && mv "$0.new" "$0" && exec "$@"'


class Stat(NamedTuple):
    """The part of /proc/PID/stat that identifies a process."""

    pid: int
    state: str
    session: int
    started: int  # clock ticks since boot


class Stopped(NamedTuple):
    name: str
    seconds: float
    killed: bool


def start(cloud: Cloud, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
    """Run `command` in its own session, its output in log/NAME.log (the one before is kept as NAME.log.1)."""
    log, record = cloud.log / f"{name}.log", _record(cloud, name)
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    record.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", RECORD, str(record), *command],
            env=environment,
            cwd=cloud.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    while not record.exists() and process.poll() is None:
        time.sleep(0.002)


def wait_ready(cloud: Cloud, name: str, ready: Callable[[], bool], seconds: float) -> None:
    """Poll `ready` until it is true; Failed with the end of the log when the process ends or time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive(cloud, name) and not ready():
            raise Failed(f"{name} ended before it was ready", cloud.log / f"{name}.log")
        if time.monotonic() > deadline:
            raise Failed(f"{name} is not ready after {seconds:.0f} s", cloud.log / f"{name}.log")
        time.sleep(POLL)


def alive(cloud: Cloud, name: str) -> bool:
    record = _record(cloud, name)
    return record.exists() and _is_running(_parse(record.read_text()))


def leader(cloud: Cloud, name: str) -> int:
    """Pid of the process that was started as `name`."""
    return _parse(_record(cloud, name).read_text()).pid


def session(cloud: Cloud, name: str) -> list[int]:
    """Every live process that descends from `name`."""
    record = _record(cloud, name)
    return _members(cloud, _parse(record.read_text())) if record.exists() else []


def names(cloud: Cloud) -> list[str]:
    return sorted(path.name for path in cloud.pid.iterdir() if path.suffix != ".new")


def stop(cloud: Cloud, these: Iterable[str]) -> list[Stopped]:
    """SIGTERM to all of `these` at once; SIGKILL to what outlives the grace, and to children left behind.

    Who presses Ctrl-C meanwhile does not leave them behind: what still runs is killed.
    """
    with _hurry() as told:
        return _stop(cloud, these, told)


@contextlib.contextmanager
def _hurry() -> Iterator[list[int]]:
    """Note signals that would interrupt."""
    told: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = {number: signal.signal(number, lambda number, _: told.append(number)) for number in INTERRUPTING}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(cloud: Cloud, these: Iterable[str], told: list[int]) -> list[Stopped]:
    began = time.monotonic()
    waiting = {name: _parse(_record(cloud, name).read_text()) for name in these if _record(cloud, name).exists()}
    outcome: list[Stopped] = []
    for stat in waiting.values():
        if _is_running(stat):
            _signal(stat.pid, signal.SIGTERM)
    while waiting:
        late = bool(told) or time.monotonic() - began > GRACE
        for name, stat in list(waiting.items()):
            running = _is_running(stat)
            if running and not late:
                continue
            for pid in _members(cloud, stat):
                _signal(pid, signal.SIGKILL)
            outcome.append(Stopped(name, time.monotonic() - began, killed=running))
            _record(cloud, name).unlink(missing_ok=True)
            del waiting[name]
        if waiting:
            time.sleep(POLL)
    return outcome


def forget(cloud: Cloud, name: str) -> None:
    _record(cloud, name).unlink(missing_ok=True)


_children: dict[int, subprocess.Popen[bytes]] = {}


def _record(cloud: Cloud, name: str) -> Path:
    return cloud.pid / name


def _members(cloud: Cloud, recorded: Stat) -> list[int]:
    """The session's live processes. Without its leader, only those that work in the cloud's directory are ours."""
    members = [stat.pid for stat in _all() if stat.session == recorded.pid and stat.state not in "ZX"]
    return members if _is_running(recorded) else [pid for pid in members if _works_in(cloud.directory, pid)]


def _works_in(directory: Path, pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve().is_relative_to(directory)
    except OSError:
        return False


def _is_running(recorded: Stat) -> bool:
    child = _children.get(recorded.pid)
    if child is not None and child.poll() is not None:  # reaps it
        return False
    try:
        now = _parse(Path(f"/proc/{recorded.pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return now.started == recorded.started and now.state not in "ZX"


def _parse(line: str) -> Stat:
    pid, _, rest = line.partition(" (")
    fields = rest.rpartition(")")[2].split()
    return Stat(int(pid), fields[0], int(fields[3]), int(fields[19]))


def _all() -> Iterable[Stat]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield _parse((path / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
