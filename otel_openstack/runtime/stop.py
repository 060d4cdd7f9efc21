# SPDX-License-Identifier: Apache-2.0
"""The end of a process: the last export, within one deadline, and one line on what was lost.

Three ways lead here, whichever comes first does the work: `uwsgi.atexit`, Python's atexit, and `os._exit`, in which the
workers of oslo.service, cotyledon and multiprocessing end (`instrumentation/oslo_service_stop.py`).
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from typing import Any

from otel_openstack import settings
from otel_openstack.runtime import aside, notices, originals, process, worker

LIMIT = 0.9  # seconds, at most, when the collector is slow but moves
RECHECK = 1.0  # seconds between looks at uwsgi.atexit, which has one slot that the application may overwrite

_closers: list[Callable[[], str]] = []
_claim = originals.allocate_lock()
_ended = originals.allocate_lock()
_stopper = 0


def on_end(callback: Callable[[], str]) -> None:
    """Call `callback` after the last export; what it returns, if anything, becomes the line in the log."""
    _closers.append(callback)


def stop(reason: str) -> None:
    """Export what is left, count the rest as dropped, say so. Once a process; never raises; takes at most 1 s.

    Exporters of others end meanwhile, within the same deadline.

    Args:
        reason: who called, for the log at debug level.

    """
    global _stopper
    try:
        if not process.started():
            return
        if not _claim.acquire(False):
            # Another thread is at it: the process must not end before it is done. (Or this very thread is, below a
            # signal handler that wants to be gone.)
            if _stopper != originals.get_ident() and _ended.acquire(True, LIMIT):
                _ended.release()
            return
        _stopper = originals.get_ident()
        _ended.acquire(False)
        try:
            _stop(reason)
        finally:
            _ended.release()
    except BaseException as error:
        notices.say("debug", f"the last export was cut short: {error!r}")


def _stop(reason: str) -> None:
    patience = settings.get().exit_timeout
    longest = max(patience, min(2 * patience, LIMIT))
    deadline = originals.monotonic() + longest
    aside.begin()
    in_time = worker.finish(patience, longest)
    notices.say("debug", f"stopped by {reason}" + ("" if in_time else ", the export thread was left behind"))
    for name in aside.wait(deadline):
        notices.say("warning", f"{name} did not end in time and is left behind: what it still held is lost")
    for closer in _closers:
        line = closer()
        if line:
            notices.say("warning", line)


class _UwsgiSlot:
    """Keeps our stop in `uwsgi.atexit`, in front of whatever the application puts there."""

    name = "uwsgi.atexit"
    interval = RECHECK

    def __init__(self, uwsgi: Any) -> None:
        self.uwsgi = uwsgi
        self.others: Any = None

    def run(self, deadline: float, final: bool) -> None:
        current = getattr(self.uwsgi, "atexit", None)
        if current != self.called:
            self.others = current
            self.uwsgi.atexit = self.called

    def suspend(self) -> None:
        """Keep the slot: the process still ends by it."""

    def called(self) -> None:
        try:
            if self.others is not None:
                self.others()
        finally:
            stop("uwsgi.atexit")


_slots: list[_UwsgiSlot] = []


def _install() -> None:
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None or not hasattr(uwsgi, "worker_id"):
        return
    if not _slots:
        _slots.append(_UwsgiSlot(uwsgi))
        worker.add(_slots[0])
    _slots[0].run(0.0, final=False)


def _at_exit() -> None:
    stop("atexit")


def _reborn() -> None:
    global _claim, _ended
    _claim = originals.allocate_lock()
    _ended = originals.allocate_lock()


process.on_child(_reborn)
process.on_start(_install)
# Early registered is late called: other libraries' exit handlers are still heard.
atexit.register(_at_exit)
