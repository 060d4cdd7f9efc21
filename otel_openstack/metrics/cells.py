# SPDX-License-Identifier: Apache-2.0
"""Where a series accumulates: one flat list, and the function that records into it.

The functions below are the hottest code of the product. They are exact without a lock, because CPython with a GIL lets
another thread in only at a call or at a backward jump: whatever can call stands first, and from there to the end there
are only increments and stores into one list. So an update is never seen by half, and a copy of the list (one operation
in C) is consistent: its count belongs to its sum. A green thread can switch only in a call to the hub; there is none.

A number that is not finite, or negative where that has no meaning, is left out as the SDK does. Interpreters without
the GIL use `sharded`. What a recorder needs stands in its defaults, which are quicker to reach than a closure.

A histogram's recorder is written for its boundaries: a tree of comparisons with constants finds the bucket in a third
of the time that a call of bisect takes, and only the outermost buckets look for values that are not to be counted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from math import inf
from operator import add, sub
from types import CodeType, FunctionType
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
        return FunctionType(_tree(tuple(bounds[FIRST_BUCKET:])), globals(), "record", (cell,))

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


@functools.lru_cache(128)
def _tree(bounds: tuple[float, ...]) -> CodeType:
    """Return the code that records a value into a histogram's cell with these boundaries, in ascending order."""
    names: dict[str, Any] = {}
    exec("\n".join(_lines(bounds)), names)  # noqa: S102 nothing in it is from outside but numbers
    code: CodeType = names["record"].__code__
    return code


def _lines(bounds: tuple[float, ...]) -> Iterator[str]:
    yield "def record(value, cell):"
    yield from _choice(bounds, 0, len(bounds), " ")
    # What is below the lowest bucket with a bound, or above the highest, has returned.
    yield " if value < cell[1]: cell[1] = value"
    yield " if value > cell[2]: cell[2] = value"
    yield " cell[0] += value"


def _choice(bounds: tuple[float, ...], low: int, high: int, indent: str) -> Iterator[str]:
    """Yield what finds the bucket of a value that is in one of the buckets from `low` to `high`, and counts it."""
    if low < high:
        middle = (low + high) // 2
        yield f"{indent}if value <= {_literal(bounds[middle])}:"
        yield from _choice(bounds, low, middle, indent + " ")
        yield f"{indent}else:"
        yield from _choice(bounds, middle + 1, high, indent + " ")
        return
    if low == 0 or bounds[low - 1] < 0.0:
        yield f"{indent}if value < 0.0: return"
    if (
        low == len(bounds) or bounds[low] == inf
    ):  # what is not a number is on no side of a bound, so it gets here as well
        yield f"{indent}if not value <= {sys.float_info.max!r}: return"
    yield f"{indent}cell[{FIRST_BUCKET + low}] += 1"


def _literal(bound: float) -> str:
    return repr(bound).replace("inf", "1e999")


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
"""Stand before the bounds of a histogram, so that a bound has the place of its bucket in the cell."""


Shard = tuple[Any, Record, Cell]
"""What one thread records with: a lock, what writes under it, and the cell."""


def sharded(kind: Kind, bounds: list[float]) -> tuple[Record, Callable[[], list[Shard]]]:
    """Return a recorder for interpreters without the GIL, and a function that lists its shards.

    Each thread has a cell and a lock that only a collection contends for. Cells go by thread ident, which the system
    gives again once a thread has ended, so there are never more of them than there were threads at one time.
    """
    shards: dict[int, Shard] = {}
    ident = originals.get_ident

    def record(value: float) -> None:
        shard = shards.get(ident())
        if shard is None:
            cell = kind.empty(bounds)
            shard = shards[ident()] = (originals.allocate_lock(), kind.recorder(cell, bounds), cell)
        lock, write, _ = shard
        with lock:
            write(value)

    return record, lambda: list(shards.values())


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
    rewrite(record, kind, bounds)
    cell.pop()


def rewrite(record: Record, kind: Kind, bounds: list[float]) -> None:
    """Give a recorder, which hooks hold by now, the code for these bounds."""
    function: Any = record
    fresh: Any = kind.recorder([], bounds)
    function.__code__ = fresh.__code__


def _forwards() -> dict[int, Any]:
    """Return code that calls the last item of a cell, by the number of defaults that it finds."""

    def without_more(value: float, cell: Cell) -> None:
        cell[-1](value)

    def of_gauge(value: float, cell: Cell, _: Any) -> None:
        cell[-1](value)

    functions: tuple[Any, ...] = (without_more, of_gauge)
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

    def without_more(value: float, cell: Cell) -> None:
        begin(value, cell)

    def of_gauge(value: float, cell: Cell, _: Any) -> None:
        begin(value, cell)

    functions: tuple[Any, ...] = (without_more, of_gauge)
    return {function.__code__.co_argcount - 1: function.__code__ for function in functions}


_SLEEPING = _sleepers()
SLEEPING = frozenset(_SLEEPING.values())
