# SPDX-License-Identifier: Apache-2.0
"""The event loop's question for native threads: how late does a thread run that was due.

A raw thread of the operating system sleeps and looks at its lateness, which is what a full machine and a contended GIL
look like. It runs at level detailed only, in processes without green threads, and begins in each process at its first
record, as the export thread does.
"""

from __future__ import annotations

from otel_openstack import levels, metrics
from otel_openstack.levels import Level
from otel_openstack.patching import guard, inventory
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import originals, process
from otel_openstack.semconv import instruments

PERIOD = 0.1
"""Seconds between two looks."""
NAME = "scheduling delay"

_watch = guard(NAME)
_on = False
_round = 0  # a thread of an earlier round, or of the parent, is not started again and ends


def sample(round_: int) -> None:
    """Sleep and look until the round is over."""
    record = metrics.histogram(instruments.OPENSTACK_EVENT_LOOP_DELAY).bind("thread")
    monotonic, sleep = originals.monotonic, originals.sleep
    while True:
        due = monotonic() + PERIOD
        sleep(PERIOD)
        if not _on or not _watch.on or round_ != _round or originals.is_green():
            return
        with _watch:
            record(max(0.0, monotonic() - due))


def begin() -> None:
    """Start the thread of this process; one that runs already ends. It ends by itself when its guard is off."""
    global _round
    if _on and _watch.on and not originals.is_green():
        _round += 1
        originals.start_new_thread(sample, (_round,))


def install() -> None:
    """Begin, in this process if it records already."""
    global _on
    if not levels.possible(Level.DETAILED, "event_loop"):
        inventory.note(NAME, State.SKIPPED, "level detailed is not in force")
        return
    _on = True
    inventory.note(NAME, State.ACTIVE)
    if process.started():
        begin()


def uninstall() -> None:
    """End it."""
    global _on
    _on = False
    inventory.forget(NAME)


process.on_start(begin)
