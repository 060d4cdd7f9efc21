# SPDX-License-Identifier: Apache-2.0
"""How deep a process measures itself: off, basic, detailed, deep; as a whole or one group (http, rpc, db, ...)."""

from __future__ import annotations

from enum import IntEnum

from otel_openstack import settings


class Level(IntEnum):
    """The levels in their order; a thing is active when its own level is not above the one in force."""

    OFF = 0
    BASIC = 1
    DETAILED = 2
    DEEP = 3


def current(group: str | None = None) -> Level:
    """Return the level in force for `group` (`http`, `rpc`, `db`, `pool`, ...), or for everything else."""
    chosen = settings.get()
    name = chosen.levels.get(group, chosen.level) if group else chosen.level
    return Level[name.upper()]


def active(level: Level | str, group: str | None = None) -> bool:
    """Return whether something of `level` in `group` is to be measured in this process."""
    needed = Level[level.upper()] if isinstance(level, str) else level
    return needed <= current(group)
