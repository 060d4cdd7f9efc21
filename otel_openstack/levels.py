# SPDX-License-Identifier: Apache-2.0
"""How deep a process measures itself: off, basic, detailed, deep; as a whole, or one group, service or instrument.

The level can move while the process runs, between off and a ceiling that is fixed at its start. What lies above the
ceiling is not patched, not wrapped, not bound: `possible` says so. What lies below it is there, and `active` says
whether it works now.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum

from otel_openstack import settings
from otel_openstack.settings import Settings


class Level(IntEnum):
    """The levels in their order; a thing is active when its own level is not above the one in force."""

    OFF = 0
    BASIC = 1
    DETAILED = 2
    DEEP = 3


class RefusedError(ValueError):
    """The level cannot be moved there; the text is what to say."""


_service = ""
_moved: tuple[Settings, Level] | None = None  # a move holds for the settings that it was made under
_listeners: list[Callable[[], None]] = []


def current(group: str | None = None, name: str | None = None) -> Level:
    """Return the level in force.

    Args:
        group: of a library (`http`, `rpc`, `db`, `pool`, ...).
        name: of an instrument, a span or an event, such as `myservice.build.duration`.

    """
    chosen = settings.get()
    return _in_force(chosen, _own(chosen, group, name))


def ceiling(group: str | None = None, name: str | None = None) -> Level:
    """Return the highest level that can come into force in this process."""
    chosen = settings.get()
    own = _own(chosen, group, name)
    return _highest(chosen) if own is None else own


def active(level: Level | str, group: str | None = None, name: str | None = None) -> bool:
    """Return whether something of `level` is to be measured now."""
    return _level(level) <= current(group, name)


def possible(level: Level | str, group: str | None = None, name: str | None = None) -> bool:
    """Return whether something of `level` can ever be measured in this process; if not, let it cost nothing."""
    return _level(level) <= ceiling(group, name)


def nothing_active() -> bool:
    """Return whether nothing is to be measured now, by whatever name."""
    chosen = settings.get()
    return not any(_in_force(chosen, own) for own in (None, *map(_level, chosen.levels.values())))


def nothing_possible() -> bool:
    """Return whether the process cannot measure anything, by whatever name."""
    chosen = settings.get()
    return settings.disabled(os.environ) or max([_highest(chosen), *map(_level, chosen.levels.values())]) is Level.OFF


def move(level: Level | str) -> bool:
    """Move the general level, and whatever has none of its own; below the level at start it bounds all others too.

    Returns:
        Whether that changed anything.

    Raises:
        RefusedError: it is no level, or above the ceiling.
    """
    global _moved
    chosen = settings.get()
    try:
        wanted = _level(level)
    except KeyError:
        raise RefusedError(f"level {level} is refused: it is none of {', '.join(settings.LEVELS)}") from None
    highest = _highest(chosen)
    if wanted > highest:
        raise RefusedError(
            f"level {_name(wanted)} is refused: this process was started with the ceiling {_name(highest)}; "
            f"OTEL_OPENSTACK_LEVEL_CEILING={_name(wanted)} raises it at the next start"
        )
    if wanted is current():
        return False
    _moved = (chosen, wanted)
    tell()
    return True


def tell() -> None:
    """Let everybody look at the level again."""
    for listener in tuple(_listeners):
        listener()


def serve(name: str) -> None:
    """Say which service this process is, for levels of single services."""
    global _service
    _service = name


def on_move(listener: Callable[[], None]) -> None:
    """Call `listener` when the level has moved; in any thread, must not block or raise."""
    _listeners.append(listener)


def _in_force(chosen: Settings, own: Level | None) -> Level:
    """Return the level in force for what has the level `own`, or none of its own."""
    start = _level(chosen.level)
    if _moved is None or _moved[0] is not chosen:
        return start if own is None else own
    moved = _moved[1]
    if own is None:
        return moved
    return own if moved >= start else min(own, moved)  # down moves all, up moves what has no level of its own


def _own(chosen: Settings, group: str | None, name: str | None) -> Level | None:
    """Return the level that is given to this name itself, or to what it belongs to, the nearest first."""
    given = chosen.levels
    if not given:
        return None
    while name:
        if name in given:
            return _level(given[name])
        name = name.rpartition(".")[0]
    for key in (group, _service):
        if key and key in given:
            return _level(given[key])
    return None


def _highest(chosen: Settings) -> Level:
    start = _level(chosen.level)
    return max(start, _level(chosen.level_ceiling)) if chosen.level_ceiling else start


def _level(level: Level | str) -> Level:
    return Level[level.strip().upper()] if isinstance(level, str) else level


def _name(level: Level) -> str:
    return level.name.lower()
