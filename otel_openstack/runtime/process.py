# SPDX-License-Identifier: Apache-2.0
"""Which process this is, and what has to happen when it is a new one.

Python tells about a fork through `os.register_at_fork`, but uWSGI forks its workers from C and tells nobody. So the pid
is compared at every use as well: `ensure()` is called wherever something is recorded, and whoever finds a new pid first
runs the child's callbacks. Nothing starts before the first use, and nothing at all in a uWSGI master: it forks without
Python's hooks, and a child that is forked while a thread of ours waits for the interpreter hangs for ever.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Callable
from typing import Any

from otel_openstack.runtime import originals
from otel_openstack.runtime.originals import getpid

Callback = Callable[[], None]

_children: list[Callback] = []
_entrances: list[Callback] = []
_starters: list[Callback] = []

_known = 0  # the pid that the state below belongs to
_started = 0  # the pid in which ensure() has been through; 0: in none
_held = False
_suspended = False  # switched off, see switch.py
_withdrawn = False  # for good
_instance_id = ""
_start_time = 0
# A lock a pid: a lock inherited in the middle of its use would never be released in the child.
_gates: dict[int, Any] = {}
_entering: dict[int, int] = {}


def ensure() -> None:
    """Make sure that this process exports: cheap enough for hot paths, a comparison of pids."""
    if _started != getpid():
        _enter()


def entered() -> int:
    """Do what `ensure` does, and return what `start_time_unix_nano` does."""
    if _started != getpid():
        _enter()
        _recognise()
    return _start_time


def started() -> bool:
    """Whether `ensure()` has been through in this very process, so that there may be something to export."""
    return _started == getpid()


def held_back() -> bool:
    """Whether this process, or in a child's callbacks its parent, recorded in a uWSGI master, which exports nothing."""
    return _held


def withdraw() -> None:
    """Start nothing any more, in this process and in what it forks: it has become a helper with privileges."""
    global _started, _withdrawn
    _withdrawn = True
    _started = 0


def on_child(callback: Callback) -> None:
    """Run `callback` in every forked child, in the order of registration: reset to zero, new locks.

    It runs in whatever thread comes first, must not block, and must not record anything. Errors are swallowed: a child
    that cannot reset its telemetry still has a service to run.
    """
    _children.append(callback)


def on_enter(callback: Callback) -> None:
    """Run `callback` in every process before anything starts; it may `suspend()` the process."""
    _entrances.append(callback)


def on_start(callback: Callback) -> None:
    """Run `callback` once in every process that records something, at its first record."""
    _starters.append(callback)


def suspend() -> None:
    """Start nothing from now on, as if nothing had been recorded yet. A child inherits it."""
    global _started, _suspended
    _suspended = True
    _started = 0


def resume() -> None:
    """Let the next record start everything again; what counts begins now."""
    global _start_time, _suspended
    _start_time = originals.time_ns()
    _suspended = False


def pid() -> int:
    """Return the pid of this process."""
    return getpid()


def instance_id() -> str:
    """Return the random id of this process (`service.instance.id`); a forked child has its own."""
    _recognise()
    return _instance_id


def start_time_unix_nano() -> int:
    """Return when the telemetry of this process began, in nanoseconds since the epoch."""
    _recognise()
    return _start_time


def _recognise() -> None:
    if _known != getpid():
        _enter()


def _in_uwsgi_master() -> bool:
    """Whether uWSGI is loading the application in the process that it forks the workers from."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None or not hasattr(uwsgi, "worker_id") or uwsgi.worker_id() or uwsgi.mule_id():
        return False
    return uwsgi.masterpid() in (0, getpid())


def _enter() -> None:
    global _held, _started
    if _withdrawn:
        return
    me = getpid()
    gate = _gates.setdefault(me, originals.allocate_lock())
    thread = originals.get_ident()
    if _entering.get(me) == thread:
        return  # a callback, or a signal handler above one, that records something itself
    with gate:
        if _started == me:
            return
        _entering[me] = thread
        try:
            if _known != me:
                _become()
            if _in_uwsgi_master():
                _held = True
                return
            if not _suspended:
                _run(_entrances)
            if _suspended:
                return
            _run(_starters)
            _started = me
        finally:
            _entering.pop(me, None)


def _become() -> None:
    """Take the identity of this process and let everybody reset."""
    global _held, _known, _started, _instance_id, _start_time
    _known = getpid()
    _started = 0
    _instance_id = str(uuid.UUID(bytes=os.urandom(16), version=4))
    _start_time = originals.time_ns()
    _run(_children)
    _held = False


def _after_fork() -> None:
    _gates.clear()
    _entering.clear()
    _become()


def _run(callbacks: list[Callback]) -> None:
    for callback in callbacks:
        with contextlib.suppress(Exception):
            callback()


_become()
os.register_at_fork(after_in_child=_after_fork)
