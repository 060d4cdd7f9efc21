# SPDX-License-Identifier: Apache-2.0
"""Exponential histograms: bounds at the powers of 2^(2^-scale)."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, replace
from typing import Any

from otel_openstack.exporters.statsd.distribution import Segment
from otel_openstack.exporters.statsd.moments import Moments
from otel_openstack.exporters.statsd.progress import Cumulative, Progress

LEAST_SCALE, GREATEST_SCALE = -10, 20
# What doubles reach, in powers of two; an index beyond it names no bucket.
LEAST_EXPONENT, GREATEST_EXPONENT = -1075, 1024
MOST_BUCKETS = 640
"""Beyond it a side is read with half as many: streams that combine may lie far apart."""

Side = dict[int, int]
"""Buckets of one sign by their index; an index that is absent is empty."""


@dataclass
class Exponential:
    """An exponential histogram."""

    scale: int
    zero: int
    positive: Side
    negative: Side
    moments: Moments

    @classmethod
    def of(cls, point: Any) -> Exponential | None:
        """Read an `ExponentialHistogramDataPoint` of the SDK; None if its buckets make no sense."""
        if not LEAST_SCALE <= point.scale <= GREATEST_SCALE:
            return None
        read = cls(point.scale, point.zero_count, _side(point.positive), _side(point.negative), Moments.of(point))
        ends = [end for side in (read.positive, read.negative) if side for end in (min(side), max(side))]
        reach = [math.ldexp(end, -read.scale) for end in ends]
        return read if all(LEAST_EXPONENT <= exponent <= GREATEST_EXPONENT for exponent in reach) else None

    def coarser(self, scale: int) -> Exponential:
        """Go to a lower scale: 2^(difference) buckets become one."""
        by = self.scale - scale
        if by <= 0:
            return self
        return replace(self, scale=scale, positive=_coarser(self.positive, by), negative=_coarser(self.negative, by))

    def limited(self) -> Exponential:
        """Return it with at most `MOST_BUCKETS` on a side."""
        made = self
        while max(_width(made.positive), _width(made.negative)) > MOST_BUCKETS and made.scale > LEAST_SCALE:
            made = made.coarser(made.scale - 1)
        return made

    def plus(self, other: Exponential) -> Exponential:
        """Add; the result has the lower scale."""
        scale = min(self.scale, other.scale)
        mine, its = self.coarser(scale), other.coarser(scale)
        return Exponential(
            scale,
            mine.zero + its.zero,
            _added(mine.positive, its.positive),
            _added(mine.negative, its.negative),
            mine.moments.plus(its.moments),
        ).limited()

    def covers(self, before: Exponential) -> bool:
        """Whether no number of it, of the same scale, is below what it was."""
        if self.moments.number < before.moments.number or self.zero < before.zero:
            return False
        sides = ((self.positive, before.positive), (self.negative, before.negative))
        return all(now.get(index, 0) >= count for now, was in sides for index, count in was.items())

    def minus(self, before: Exponential) -> Exponential:
        """Return what came since, of the same scale."""
        return Exponential(
            self.scale,
            self.zero - before.zero,
            {index: count - before.positive.get(index, 0) for index, count in self.positive.items()},
            {index: count - before.negative.get(index, 0) for index, count in self.negative.items()},
            self.moments.minus(before.moments),
        )

    def segments(self) -> list[Segment]:
        """Return where the observations lie, ascending: the negative side backwards, zero, the positive side."""
        ends = [(index, *self._ends(index)) for index in sorted(self.negative, reverse=True)]
        found = [Segment(-high, -low, float(self.negative[index])) for index, low, high in ends]
        ends = [(index, *self._ends(index)) for index in sorted(self.positive)]
        positive = [Segment(low, high, float(self.positive[index])) for index, low, high in ends]
        zero = [Segment(0.0, 0.0, float(self.zero))] if self.zero else []
        bounded = [*map(self.moments.bound, found)], [*map(self.moments.bound, positive)]
        return [segment for segment in (*bounded[0], *zero, *bounded[1]) if segment.number]

    def _ends(self, index: int) -> tuple[float, float]:
        high = _power(index + 1, self.scale)
        return min(_power(index, self.scale), high), high


@dataclass
class ExponentialHistory:
    """What a cumulative stream said last."""

    cumulative: Cumulative = field(default_factory=Cumulative)
    last: Exponential | None = None

    def advance(self, point: Exponential, start: int, time: int, began: int) -> tuple[Progress, Exponential | None]:
        """Return how the point relates to the one before, and what is new in it, if anything is."""
        before, now = self.last, point
        if before is not None:
            scale = min(before.scale, point.scale)
            before, now = before.coarser(scale), point.coarser(scale)
        decreased = before is not None and not now.covers(before)
        moved = self.cumulative.advance(start, time, began, decreased=decreased)
        if moved is Progress.LATE:
            return moved, None
        self.last = point
        if moved is Progress.BASELINE:
            return moved, None
        fresh = now.minus(before) if moved is Progress.FORWARD and before is not None else now
        return moved, fresh if fresh.moments.number else None


def _side(buckets: Any) -> Side:
    return {buckets.offset + place: count for place, count in enumerate(buckets.bucket_counts) if count}


def _coarser(side: Side, by: int) -> Side:
    made: Side = {}
    for index, count in side.items():
        made[index >> by] = made.get(index >> by, 0) + count
    return made


def _added(one: Side, other: Side) -> Side:
    return {index: one.get(index, 0) + other.get(index, 0) for index in one.keys() | other.keys()}


def _width(side: Side) -> int:
    return max(side) - min(side) + 1 if side else 0


def _power(index: int, scale: int) -> float:
    try:
        return float(2.0 ** math.ldexp(index, -scale))
    except OverflowError:
        return sys.float_info.max
