# SPDX-License-Identifier: Apache-2.0
"""Histograms with given bounds: what is new in them, and what several add up to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from otel_openstack.exporters.statsd.distribution import Distribution, Segment, flatten
from otel_openstack.exporters.statsd.exponential import Exponential
from otel_openstack.exporters.statsd.moments import Moments
from otel_openstack.exporters.statsd.progress import Cumulative, Progress


@dataclass
class Explicit:
    """A histogram with given bounds; without bounds it has moments only."""

    bounds: tuple[float, ...]
    buckets: list[int]
    moments: Moments

    @classmethod
    def of(cls, point: Any) -> Explicit | None:
        """Read a `HistogramDataPoint` of the SDK; None if its buckets make no sense."""
        read = cls(tuple(point.explicit_bounds), list(point.bucket_counts), Moments.of(point))
        return read if read._well_formed() else None

    def _well_formed(self) -> bool:
        if not self.buckets:
            return not self.bounds
        if len(self.buckets) != len(self.bounds) + 1:
            return False
        ascending = all(low < high for low, high in zip(self.bounds, self.bounds[1:], strict=False))
        return ascending and all(map(math.isfinite, self.bounds))

    def below(self, other: Explicit) -> bool:
        """Whether a number of it is below the other's."""
        if self.moments.number < other.moments.number:
            return True
        return any(mine < its for mine, its in zip(self.buckets, other.buckets, strict=True))

    def minus(self, before: Explicit) -> Explicit:
        """Return what came since."""
        buckets = [mine - its for mine, its in zip(self.buckets, before.buckets, strict=True)]
        return Explicit(self.bounds, buckets, self.moments.minus(before.moments))

    def segments(self) -> list[Segment]:
        """Return where the observations lie."""
        if not self.bounds:
            return self._without_bounds()
        ends = (-math.inf, *self.bounds, math.inf)
        found = [
            self.moments.bound(Segment(ends[place], ends[place + 1], float(count)))
            for place, count in enumerate(self.buckets)
            if count
        ]
        if self.buckets[-1] and self.moments.high is None and self.moments.total is not None:
            found[-1] = self._stretched(found, self.moments.total)
        return found

    @staticmethod
    def _stretched(segments: list[Segment], total: float) -> Segment:
        """Put what lies beyond the last bound where the sum says that it lies on average."""
        rest, last = total, segments[-1]
        for low, high, count in segments[:-1]:
            rest -= (low + high) / 2 * count
        average = rest / last.number
        return Segment(average, average, last.number) if average > last.high else last

    def _without_bounds(self) -> list[Segment]:
        count, total, low, high = self.moments
        if not count:
            return []
        if low is not None and high is not None:
            return [Segment(low, high, float(count))]
        return [] if total is None else [Segment(total / count, total / count, float(count))]


class ExplicitHistory:
    """What a cumulative stream said last."""

    def __init__(self) -> None:
        self.cumulative = Cumulative()
        self._last = Explicit((), [], Moments())

    def advance(self, point: Explicit, start: int, time: int, began: int) -> tuple[Progress, Explicit | None]:
        """Return how the point relates to the one before, and what is new in it, if anything is."""
        last, same = self._last, self._last.bounds == point.bounds
        decreased = self.cumulative.known and same and point.below(last)
        moved = self.cumulative.advance(start, time, began, decreased=decreased)
        if moved is Progress.FORWARD and not same:
            moved = Progress.BASELINE  # other buckets without a new start: how much of it is new cannot be known
        if moved is Progress.LATE:
            return moved, None
        self._last = point
        if moved is Progress.BASELINE:
            return moved, None
        fresh = point.minus(last) if moved is Progress.FORWARD else point
        return moved, fresh if fresh.moments.number else None


@dataclass
class Accumulator:
    """The histograms that reach a series between two flushes."""

    moments: Moments = Moments()
    explicits: dict[tuple[float, ...], Explicit] = field(default_factory=dict)  # by bounds; nearly always one
    exponents: Exponential | None = None

    def add_explicit(self, other: Explicit) -> None:
        """Add a histogram with given bounds."""
        self.moments = self.moments.plus(other.moments)
        known = self.explicits.get(other.bounds)
        if known is None:
            self.explicits[other.bounds] = replace(other, buckets=other.buckets[:])
            return
        known.buckets = [mine + its for mine, its in zip(known.buckets, other.buckets, strict=True)]
        known.moments = known.moments.plus(other.moments)

    def add_exponential(self, other: Exponential) -> None:
        """Add an exponential histogram."""
        self.moments = self.moments.plus(other.moments)
        self.exponents = other.limited() if self.exponents is None else self.exponents.plus(other)

    def distribute(self) -> Distribution | None:
        """Say how the observations lie; None when nothing tells."""
        found = [segment for known in self.explicits.values() for segment in known.segments()]
        if self.exponents is not None:
            found += self.exponents.segments()
        total = self.moments.total
        if self.moments.number == 1 and total is not None:
            found = [Segment(total, total, 1.0)]  # a single observation is the sum
        elif not self._single():
            found = flatten(found)
        made = Distribution(found, total)
        return made if made.count else None

    def _single(self) -> bool:
        """Whether all segments come from one set of buckets, so that they follow each other."""
        used = sum(1 for known in self.explicits.values() if known.moments.number)
        used += self.exponents is not None and self.exponents.moments.number > 0
        return used <= 1 or self.moments.number == 1
