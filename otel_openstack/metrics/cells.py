# SPDX-License-Identifier: Apache-2.0
"""Where a series accumulates: one flat list, and the function that records into it.

The functions below are the hottest code of the product. They are exact without a lock, because CPython with a GIL lets
another thread in only at a call or at a backward jump: whatever can call stands first, and from there to the end there
are only increments and stores into one list. So an update is never seen by half, and a copy of the list (one operation
in C) is consistent: its count belongs to its sum. A green thread can switch only in a call to the hub; there is none.

A number that is not finite, or negative where that has no meaning, is left out as the SDK does. Interpreters without
the GIL use `sharded`. What a recorder needs stands in its defaults, which are quicker to reach than a closure.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import count
from math import inf
from operator import add, sub
from typing import Any, Protocol

from otel_openstack.runtime import originals

Record = Callable[[float], None]
Cell = list[Any]

SUM, LOW, HIGH, FIRST_BUCKET = 0, 1, 2, 3
"""A histogram's cell: sum, min, max, then the counts of its buckets."""
VALUE, TIMES = 0, 1
"""A counter's or gauge's cell: the value, and how often (a gauge: as which of all) it was recorded."""

NO_EXTREMES = (inf, -inf)
"""Min and max of nothing."""

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

_order = count(1).__next__


class Kind(Protocol):
    """How values of one kind of instrument accumulate."""

    def empty(self, bounds: Sequence[float]) -> Cell:
        """Return the cell before anything was recorded."""

    def recorder(self, cell: Cell, bounds: list[float]) -> Record:
        """Return the function that records into `cell`."""

    def merge(self, into: Cell, other: Cell) -> None:
        """Add what the copy `other` holds to the copy `into`."""

    def subtract(self, cell: Cell, before: Cell | None) -> Cell:
        """Return what was recorded since the copy `before` was made."""

    def times(self, cell: Cell) -> int:
        """Return a number that grows with every record; 0 if there was none."""


class Histogram:
    """Counts by bucket, sum, min and max."""

    def empty(self, bounds: Sequence[float]) -> Cell:
        return [0, *NO_EXTREMES, *(0 for _ in range(len(bounds) - 2))]

    def recorder(self, cell: Cell, bounds: list[float]) -> Record:
        def record(value: float, cell: Cell = cell, bounds: list[float] = bounds, bisect: Any = bisect_left) -> None:
            index = bisect(bounds, value)
            if index:  # what is not a number is found before every bound
                # Negative and infinite values would be a new min or max, so they need looking for in there only.
                if value < cell[1]:
                    if value < 0.0:
                        return
                    cell[1] = value
                if value > cell[2]:
                    if value > 1.7976931348623157e308:  # noqa: PLR2004 a constant is quicker than a name
                        return
                    cell[2] = value
                cell[index] += 1
                cell[0] += value

        return record

    def merge(self, into: Cell, other: Cell) -> None:
        low, high = min(into[LOW], other[LOW]), max(into[HIGH], other[HIGH])
        into[:] = map(add, into, other)
        into[LOW], into[HIGH] = low, high

    def subtract(self, cell: Cell, before: Cell | None) -> Cell:
        if before is None:
            return cell[:]
        return [cell[SUM] - before[SUM], *cell[LOW:FIRST_BUCKET], *map(sub, cell[FIRST_BUCKET:], before[FIRST_BUCKET:])]

    def times(self, cell: Cell) -> int:
        return sum(cell[3:])  # a constant is quicker than a name


class Sum:
    """A running sum; a monotonic one takes no negative values."""

    def __init__(self, *, monotonic: bool) -> None:
        self.monotonic = monotonic

    def empty(self, bounds: Sequence[float]) -> Cell:
        return [0, 0]

    def recorder(self, cell: Cell, bounds: list[float]) -> Record:
        def record(value: float, cell: Cell = cell) -> None:
            if 0.0 <= value < 1e999:  # noqa: PLR2004
                cell[0] += value
                cell[1] += 1

        def record_signed(value: float, cell: Cell = cell) -> None:
            if -1e999 < value < 1e999:  # noqa: PLR2004
                cell[0] += value
                cell[1] += 1

        return record if self.monotonic else record_signed

    def merge(self, into: Cell, other: Cell) -> None:
        into[VALUE] += other[VALUE]
        into[TIMES] += other[TIMES]

    def subtract(self, cell: Cell, before: Cell | None) -> Cell:
        return cell if before is None else [cell[VALUE] - before[VALUE], cell[TIMES] - before[TIMES]]

    def times(self, cell: Cell) -> int:
        return int(cell[TIMES])


class Gauge:
    """The last value."""

    def empty(self, bounds: Sequence[float]) -> Cell:
        return [0, 0]

    def recorder(self, cell: Cell, bounds: list[float]) -> Record:
        def record(value: float, cell: Cell = cell, order: Any = _order) -> None:
            if -1e999 < value < 1e999:  # noqa: PLR2004
                cell[:] = (value, order())

        return record

    def merge(self, into: Cell, other: Cell) -> None:
        if other[TIMES] > into[TIMES]:
            into[:] = other

    def subtract(self, cell: Cell, before: Cell | None) -> Cell:
        return cell if before is None or cell[TIMES] > before[TIMES] else [cell[VALUE], 0]

    def times(self, cell: Cell) -> int:
        return int(cell[TIMES])


KINDS: dict[str, Kind] = {
    "histogram": Histogram(),
    "counter": Sum(monotonic=True),
    "updowncounter": Sum(monotonic=False),
    "gauge": Gauge(),
}

SENTINELS = (-inf,) * FIRST_BUCKET
"""Stand before the bounds of a histogram, so that what bisect answers is the bucket's place in the cell."""


def sharded(kind: Kind, bounds: list[float]) -> tuple[Record, Callable[[], list[tuple[Any, Cell]]]]:
    """Return a recorder for interpreters without the GIL, and a function that lists its cells with their locks.

    Each thread has a cell and a lock that only a collection contends for. Cells go by thread ident, which the system
    gives again once a thread has ended, so there are never more of them than there were threads at one time.
    """
    shards: dict[int, tuple[Any, Record, Cell]] = {}
    ident = originals.get_ident

    def record(value: float) -> None:
        shard = shards.get(ident())
        if shard is None:
            cell = kind.empty(bounds)
            shard = shards[ident()] = (originals.allocate_lock(), kind.recorder(cell, bounds), cell)
        lock, write, _ = shard
        with lock:
            write(value)

    return record, lambda: [(lock, cell) for lock, _, cell in tuple(shards.values())]


def redirect(record: Record, cell: Cell, target: Record) -> None:
    """Turn the recorder of `cell`, which hooks hold by now, into one that calls `target`.

    A view or a reader may ask for an aggregation that cells do not know after instruments were bound. The target goes
    behind what the cell holds, then the function gets other code in one store.
    """
    function: Any = record
    cell.append(target)
    function.__code__ = _FORWARDS[len(function.__defaults__)]


def restore(record: Record, cell: Cell, kind: Kind, bounds: list[float]) -> None:
    """Undo `redirect`."""
    function: Any = record
    fresh: Any = kind.recorder(cell, bounds)
    function.__code__ = fresh.__code__
    cell.pop()


def _forwards() -> dict[int, Any]:
    """Return code that calls the last item of a cell, by the number of defaults that it finds."""

    def of_sum(value: float, cell: Cell) -> None:
        cell[-1](value)

    def of_gauge(value: float, cell: Cell, _: Any) -> None:
        cell[-1](value)

    def of_histogram(value: float, cell: Cell, _: Any, __: Any) -> None:
        cell[-1](value)

    functions: tuple[Any, ...] = (of_sum, of_gauge, of_histogram)
    return {function.__code__.co_argcount - 1: function.__code__ for function in functions}


_FORWARDS = _forwards()


def begin(value: float, cell: Cell) -> None:
    """Do what `sleeping` puts here: code that is exchanged finds names in the module it goes to."""


def sleeping(record: Record) -> Any:
    """Return the code of a recorder like `record` that sleeps."""
    function: Any = record
    return _SLEEPING[len(function.__defaults__)]


def _sleepers() -> dict[int, Any]:
    """Return code that calls `begin`, by the number of defaults that it finds."""

    def of_sum(value: float, cell: Cell) -> None:
        begin(value, cell)

    def of_gauge(value: float, cell: Cell, _: Any) -> None:
        begin(value, cell)

    def of_histogram(value: float, cell: Cell, _: Any, __: Any) -> None:
        begin(value, cell)

    functions: tuple[Any, ...] = (of_sum, of_gauge, of_histogram)
    return {function.__code__.co_argcount - 1: function.__code__ for function in functions}


_SLEEPING = _sleepers()
SLEEPING = frozenset(_SLEEPING.values())
