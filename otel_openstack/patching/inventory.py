# SPDX-License-Identifier: Apache-2.0
"""What became of each patch: waiting, active, skipped, failed or off, and why; and which other tools made room."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from otel_openstack import scrub

LONGEST = 500
"""Characters of a reason."""


class State(Enum):
    """The state of a patch."""

    WAITING = "waiting"  # its module is not imported
    ACTIVE = "active"
    SKIPPED = "skipped"  # deliberately, or its place is not there in this release
    FAILED = "failed"  # could not be applied
    OFF = "off"  # failed repeatedly at work and was switched off
    ASIDE = "stepped aside"  # another tool's telemetry, where it would repeat or disturb ours


class Entry(NamedTuple):
    """One patch: its name, its state, and the reason where there is one to tell."""

    name: str
    state: State
    reason: str = ""


_entries: dict[str, Entry] = {}
_watchers: list[Callable[[], None]] = []


def note(name: str, state: State, reason: str = "") -> None:
    """Record the state of the patch called `name`."""
    # What a patch waits for is a text of ours, there for every one of them at each start of a process.
    _entries[name] = Entry(name, state, reason if state is State.WAITING else scrub.text(reason[:LONGEST]))


def aside(name: str, reason: str) -> None:
    """Record that another tool, called `name`, makes room for ours, and tell whoever asked with `when_aside`."""
    known = _entries.get(name)
    note(name, State.ASIDE, reason)
    if _entries[name] != known:
        for callback in tuple(_watchers):
            callback()


def when_aside(callback: Callable[[], None]) -> None:
    """Call `callback` each time when something that is not known yet has stepped aside."""
    _watchers.append(callback)


def forget(name: str) -> None:
    """Drop the patch called `name` from the inventory (it was undone)."""
    _entries.pop(name, None)


def entries() -> list[Entry]:
    """Return all entries, by name."""
    return sorted(_entries.values(), key=lambda entry: entry.name)


def names(state: State) -> list[str]:
    """Return the names of the patches in `state`."""
    return [entry.name for entry in entries() if entry.state is state]


def text() -> str:
    """Return the inventory as lines for a log at level debug."""
    return "\n".join(f"{e.name}: {e.state.value}{f' ({e.reason})' if e.reason else ''}" for e in entries())
