# SPDX-License-Identifier: Apache-2.0
"""Recorders that begin the process: what is recorded first starts the export, and a recorder has no time to look.

A recorder that sleeps has other code, which starts the process and gives all their own code back. Those sleep that are
made before the process has started, and in a forked child, or after the switch, all of them.
"""

from __future__ import annotations

from types import CodeType
from typing import Any

from otel_openstack.metrics import cells
from otel_openstack.metrics.cells import Cell, Record
from otel_openstack.runtime import process

_own: dict[int, tuple[Any, CodeType]] = {}
"""By the id of a cell: its recorder, and the code of that. Kept when all are awake, for a call that is under way."""


def lull(record: Record, cell: Cell) -> None:
    """Let the first call of `record`, the recorder of `cell`, start the process."""
    function: Any = record
    if function.__code__ not in cells.SLEEPING:
        _own[id(cell)] = function, function.__code__
        function.__code__ = cells.sleeping(function)


def rouse(record: Record, cell: Cell) -> None:
    """Give one recorder its own code back: it is about to get another."""
    function: Any = record
    if function.__code__ in cells.SLEEPING:
        function.__code__ = _own[id(cell)][1]


def rouse_all() -> None:
    """Give all recorders their own code back."""
    for function, code in tuple(_own.values()):
        if function.__code__ in cells.SLEEPING:
            function.__code__ = code


def forget() -> None:
    """Let go of the recorders that are awake: before others, or all again, are lulled."""
    for key, (function, _) in tuple(_own.items()):
        if function.__code__ not in cells.SLEEPING:
            _own.pop(key, None)


def _first(value: float, cell: Cell) -> None:
    function, _ = _own.get(id(cell), (None, None))
    process.ensure()
    if function is not None and process.started():  # where nothing may start, nothing is counted
        rouse_all()
        function(value)


cells.begin = _first

process.on_start(rouse_all)
