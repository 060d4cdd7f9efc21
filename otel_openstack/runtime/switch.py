# SPDX-License-Identifier: Apache-2.0
"""The kill switch: while a file exists, nothing is measured, traced or exported; without it everything begins anew.

While it is on, the export thread looks for the file about every half second, also while a collector keeps it waiting.
While it is off there is no thread of ours: whoever passes through a hook looks, at most as often. What stops and starts
again is not known here; it is told, in the order in which it asked to be.
"""

from __future__ import annotations

import contextlib
import posix
from collections.abc import Callable

from otel_openstack import settings
from otel_openstack.runtime import notices, originals, process, worker

INTERVAL = 0.5  # seconds between two looks

off = False

_next_look = 0.0
_lock = originals.allocate_lock()
_leaving: list[Callable[[], None]] = []
_returning: list[Callable[[], None]] = []


def on_change(*, leave: Callable[[], None], come_back: Callable[[], None] | None = None) -> None:
    """Call `leave` when the process is switched off, and `come_back`, in the reverse order, when it is on again.

    Both run in whatever thread noticed it, once a change, must not block and must not record anything.
    """
    _leaving.append(leave)
    if come_back is not None:
        _returning.insert(0, come_back)


def look() -> None:
    """Notice that the file is there, or gone. Cheap, never blocks, never raises; from any thread."""
    global _next_look
    now = originals.monotonic()
    if now < _next_look or not _lock.acquire(False):
        return
    try:
        _next_look = now + INTERVAL
        if _is_there() is not off:
            _turn()
    finally:
        _lock.release()


def _is_there() -> bool:
    path = settings.get().switch_file
    if not path:
        return False
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def _turn() -> None:
    global off
    path = settings.get().switch_file
    if off:
        if not worker.revive():
            return  # its last send is being given up; the next look tries again
        process.resume()
        _tell(_returning)
        off = False
        notices.say("warning", f"switched on again: {path} is gone")
    else:
        off = True
        _tell(_leaving)
        process.suspend()
        worker.halt()
        notices.say("warning", f"switched off by {path}: nothing is measured and sent until it is removed")


def _tell(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        with contextlib.suppress(Exception):
            callback()


def _reborn() -> None:
    global _lock, _next_look
    _lock = originals.allocate_lock()
    _next_look = 0.0


process.on_child(_reborn)
process.on_enter(look)
worker.on_beat(look)
