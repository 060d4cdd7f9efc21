# SPDX-License-Identifier: Apache-2.0
"""What one reader gets of one instrument: streams by the views, cumulative or delta, with the reader's own state."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from operator import itemgetter
from typing import Any, NamedTuple

from otel_openstack.metrics import cells
from otel_openstack.metrics.catalog import Observable
from otel_openstack.metrics.cells import Cell
from otel_openstack.metrics.instruments import OVERFLOW, Instrument, Labels, Snapshot

DELTA, CUMULATIVE = 1, 2
"""Temporality, by the numbers of OTLP."""


@dataclass(eq=False)
class Stream:
    """One metric that a reader gets of an instrument."""

    name: str
    description: str
    unit: str
    kind: str
    """histogram, sum or gauge"""
    monotonic: bool
    temporality: int
    attribute_names: tuple[str, ...]
    """Those of the instrument that a view leaves."""
    boundaries: tuple[float, ...] = ()
    extremes: bool = True
    """Whether min and max are reported."""
    encoded: dict[Any, Any] = field(default_factory=dict)
    """What encoders keep of this stream: its attributes and bounds as bytes."""

    def attributes(self, labels: Labels) -> dict[str, Any]:
        """Return the attributes of a point."""
        if labels is OVERFLOW:
            return {"otel.metric.overflow": True}
        return {name: label for name, label in zip(self.attribute_names, labels, strict=True) if label is not None}


class Batch(NamedTuple):
    """The points of a stream at one collection: labels and a cell each, with the stream's own buckets."""

    stream: Stream
    start_time: int
    time: int
    points: Snapshot


class Feed:
    """The state of one reader for one instrument."""

    def __init__(self, instrument: Instrument, streams: Sequence[Stream], start_time: int) -> None:
        self.instrument = instrument
        self._start_time = start_time
        self._epoch = instrument.epoch
        self._windows: dict[Labels, tuple[float, float]] = {}
        self._closed = self._windows
        self._seen: list[Cell] = []
        self._lanes = [_Lane(instrument, stream) for stream in streams]
        if any(stream.kind == "histogram" and stream.temporality == DELTA for stream in streams):
            instrument.observers.add(self)

    def widen(self, labels: Labels, low: float, high: float) -> None:
        """See `Observer`."""
        if low <= high:
            known = self._windows.get(labels, (inf, -inf))
            self._windows[labels] = (min(known[0], low), max(known[1], high))

    def close_window(self) -> None:
        """See `Observer`."""
        self._closed, self._windows = self._windows, {}

    def touched(self) -> bool:
        """Return whether anything was recorded since the last call; always where threads have cells of their own.

        Quick, since nearly always nothing was: cells are only compared, and a record leaves none as it was.
        """
        instrument = self.instrument
        series, seen = instrument.series, self._seen
        if len(series) == len(seen) and self._epoch == instrument.epoch and not instrument.sharded:
            for one, before in zip(series, seen, strict=False):
                if one.cell != before:
                    break
            else:
                return False
        self._seen = [one.cell[:] for one in tuple(series)]
        return True

    def collect(self, start_time: int, time: int, *, changed_only: bool = False) -> list[Batch]:
        """Return the points since the beginning, or since the last call, as each stream has it.

        Args:
            start_time: since when the instrument counts, in ns since the epoch.
            time: now, in ns since the epoch.
            changed_only: leave out cumulative points that were not recorded into since the last call.
        """
        if self._epoch != self.instrument.epoch:
            self._forget(start_time)
        snapshot = self.instrument.snapshot(self)
        windows = self._closed
        previous, self._start_time = self._start_time, time
        batches = []
        for lane in self._lanes:
            points = lane.points(snapshot, windows, changed_only=changed_only)
            if points:
                start = previous if lane.stream.temporality == DELTA else start_time
                batches.append(Batch(lane.stream, max(start, start_time), time, points))
        return batches

    def _forget(self, start_time: int) -> None:
        self._epoch = self.instrument.epoch
        self._start_time = start_time
        for lane in self._lanes:
            lane.before.clear()


class _Lane:
    """A stream with what it reported last."""

    def __init__(self, instrument: Instrument, stream: Stream) -> None:
        self.stream = stream
        self.before: dict[Labels, Any] = {}
        self._instrument = instrument
        self._kind = instrument.kind
        self._observed = isinstance(instrument, Observable)
        self._mark_of: Callable[[Cell], Any] = itemgetter(cells.VALUE) if self._observed else instrument.kind.times
        names = instrument.attribute_names
        self._places = None if stream.attribute_names == names else [names.index(n) for n in stream.attribute_names]

    def points(self, snapshot: Snapshot, windows: dict[Labels, tuple[float, float]], *, changed_only: bool) -> Snapshot:
        cumulative = self._merged(self._shaped(snapshot))
        delta = self.stream.temporality == DELTA
        if delta and self.stream.kind != "gauge":
            return self._deltas(cumulative, windows)
        changed = self._changed(cumulative)
        return changed if changed_only or (delta and not self._observed) else cumulative

    def _shaped(self, snapshot: Snapshot) -> Snapshot:
        """Add up finer buckets, where the instrument has more bounds than the stream."""
        bounds = self._instrument.bounds[cells.FIRST_BUCKET :]
        if self.stream.kind != "histogram" or len(bounds) == len(self.stream.boundaries):
            return snapshot
        places = [bisect_left(self.stream.boundaries, bound) for bound in bounds] + [len(self.stream.boundaries)]
        return [(labels, _coarser(cell, places, len(self.stream.boundaries))) for labels, cell in snapshot]

    def _merged(self, snapshot: Snapshot) -> Snapshot:
        """Merge the points that are one without the attributes that a view leaves out."""
        if self._places is None:
            return snapshot
        merged: dict[Labels, Cell] = {}
        for labels, cell in snapshot:
            kept = labels if labels is OVERFLOW else tuple(labels[place] for place in self._places)
            if kept in merged:
                self._kind.merge(merged[kept], cell)
            else:
                merged[kept] = cell[:]
        return list(merged.items())

    def _deltas(self, cumulative: Snapshot, windows: dict[Labels, tuple[float, float]]) -> Snapshot:
        points = []
        for labels, cell in cumulative:
            delta = self._kind.subtract(cell, self.before.get(labels))
            self.before[labels] = cell
            if self._observed or self._kind.times(delta):
                points.append((labels, delta))
        return self._windowed(points, windows) if self.stream.kind == "histogram" else points

    def _windowed(self, points: Snapshot, windows: dict[Labels, tuple[float, float]]) -> Snapshot:
        """Give deltas the min and max of their own time."""
        extremes = dict(self._merged([(labels, [0, low, high]) for labels, (low, high) in windows.items()]))
        for labels, cell in points:
            cell[cells.LOW : cells.FIRST_BUCKET] = extremes.get(labels, (0, inf, -inf))[cells.LOW : cells.FIRST_BUCKET]
        return points

    def _changed(self, cumulative: Snapshot) -> Snapshot:
        before, mark_of = self.before, self._mark_of
        points = []
        for point in cumulative:
            labels, cell = point
            mark = mark_of(cell)
            if before.get(labels) != mark:
                before[labels] = mark
                points.append(point)
        return points


def _coarser(cell: Cell, places: list[int], last: int) -> Cell:
    wide = [*cell[: cells.FIRST_BUCKET], *(0 for _ in range(last + 1))]
    for place, number in zip(places, cell[cells.FIRST_BUCKET :], strict=True):
        wide[cells.FIRST_BUCKET + place] += number
    return wide
