# SPDX-License-Identifier: Apache-2.0
"""How the observations of a histogram lie: percentiles of them, and samples that stand for them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple


class Segment(NamedTuple):
    """Observations between two values, taken as spread evenly."""

    low: float
    high: float
    number: float


class Sample(NamedTuple):
    """A value that stands for a whole number of observations."""

    value: float
    weight: int


class Distribution:
    """What is known of a series' observations in one flush: segments that ascend and do not overlap, and their sum."""

    def __init__(self, segments: list[Segment], total: float | None) -> None:
        self.segments = segments
        self.count = sum(segment.number for segment in segments)
        self.total = total

    def quantile(self, share: float) -> float:
        """Interpolate linearly in the bucket, as Prometheus's histogram_quantile does."""
        rank = share * self.count
        for place, (low, high, count) in enumerate(self.segments):
            if rank <= count or place == len(self.segments) - 1:
                return low + (high - low) * min(rank / count, 1.0)
            rank -= count
        return math.nan

    def samples(self, limit: int) -> list[Sample]:
        """Return as many as `limit`, but at least one a segment.

        They are spread evenly, then all are moved, within their segments, by the share of the way that makes their mean
        the true one.
        """
        made: list[tuple[Sample, Segment]] = []
        for segment in self.segments:
            pieces = int(max(1, min(segment.number, math.floor(segment.number / self.count * limit))))
            weight, rest = divmod(int(segment.number), pieces)
            for place in range(pieces):
                value = segment.low + (segment.high - segment.low) * (place + 0.5) / pieces
                made.append((Sample(value, weight + (place < rest)), segment))
        share = 0.0 if self.total is None else _share(made, self.total)
        if share > 0:
            return [Sample(s.value + share * (segment.high - s.value), s.weight) for s, segment in made]
        if share < 0:
            return [Sample(s.value + share * (s.value - segment.low), s.weight) for s, segment in made]
        return [sample for sample, _ in made]


def _share(made: list[tuple[Sample, Segment]], total: float) -> float:
    mean = up = down = 0.0
    for (value, weight), segment in made:
        mean += value * weight
        up += (segment.high - value) * weight
        down += (value - segment.low) * weight
    missing = total - mean
    share = 0.0
    if missing > 0 and up > 0:
        share = min(missing / up, 1.0)
    elif missing < 0 and down > 0:
        share = max(missing / down, -1.0)
    return share if math.isfinite(share) else 0.0


def flatten(overlapping: Iterable[Segment]) -> list[Segment]:
    """Make segments that overlap, of streams whose buckets differ, into ones that follow each other."""
    known = list(overlapping)
    cuts = sorted({cut for segment in known for cut in segment[:2]})
    flat: list[Segment] = []
    for place, low in enumerate(cuts):
        points = sum(segment.number for segment in known if segment.low == segment.high == low)
        if points > 0:
            flat.append(Segment(low, low, points))
        if place + 1 == len(cuts):
            break
        high = cuts[place + 1]
        spread = sum(
            segment.number * (high - low) / (segment.high - segment.low)
            for segment in known
            if segment.low < segment.high and segment.low <= low and high <= segment.high
        )
        if spread > 0:
            flat.append(Segment(low, high, spread))
    return _whole_counts(flat)


def _whole_counts(segments: list[Segment]) -> list[Segment]:
    """Round so that the sum stays: a sample stands for a whole number of observations."""
    exact = given = 0.0
    whole = []
    for segment in segments:
        exact += segment.number
        count = half_up(exact) - given
        given += count
        if count >= 0.5:  # noqa: PLR2004 - half an observation
            whole.append(segment._replace(number=count))
    return whole


def half_up(value: float) -> float:
    """Round halves away from zero, as Go does."""
    whole = math.trunc(value)
    return float(whole + math.copysign(1, value)) if abs(value - whole) >= 0.5 else float(whole)  # noqa: PLR2004
