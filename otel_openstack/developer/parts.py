# SPDX-License-Identifier: Apache-2.0
"""What is to be measured of a call: a part is what one decorator, or one entry of a patch file, says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_openstack import levels
from otel_openstack.levels import Level

TIMED, COUNTED, EVENT, TRACED = "timed", "counted", "event", "traced"
PHASES = ("start", "end", "error")


class Part(NamedTuple):
    """One thing to measure of every call.

    kind: timed (a histogram of seconds), counted (a counter), event (log events) or traced (a span).
    name: of the instrument, event or span, as registered.
    attributes: attribute -> expression, such as `{"flavor": "instance.flavor.name"}`; see `expressions`.
    values: attribute -> constant.
    number: of counted, the expression of what is added instead of `step`.
    step: of counted, what a call adds; below zero it is an up-down counter.
    computed: attribute -> function of the call's own arguments, for what no expression says; it must not raise.
    phases: of event, which of start, end and error are told.
    only_errors: nothing but calls that raise is measured; of traced, a span that is never current.
    level: a deeper one than the registry's.
    """

    kind: str
    name: str
    attributes: Mapping[str, str] = {}
    values: Mapping[str, Any] = {}
    number: str | None = None
    phases: tuple[str, ...] = PHASES
    only_errors: bool = False
    level: str | None = None
    step: int = 1
    computed: Mapping[str, Callable[..., Any]] = {}

    def key(self) -> tuple[Any, ...]:
        """Return what tells parts apart whose constants may differ."""
        return (self.kind, self.name, *self.attributes.items(), self.number, self.phases, self.only_errors, self.level)


def possible(level: Level, name: str) -> bool:
    """Return whether something of this name and level can ever be measured here; nothing deep is under `python -O`."""
    return (__debug__ or level is not Level.DEEP) and levels.possible(level, None, name)


def active(level: Level, name: str) -> bool:
    """Return whether it is measured now."""
    return (__debug__ or level is not Level.DEEP) and levels.active(level, None, name)
