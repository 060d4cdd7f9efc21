# SPDX-License-Identifier: Apache-2.0
"""Histograms of any origin (explicit buckets, exponential ones, several processes) added up, and their percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST_BUCKETS = 4096
"""Of one point: what declares more is not believed."""


@dataclass(slots=True)
class Distribution:
    """Counts per interval (lower, upper]; the outermost may be infinite."""

    count: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    buckets: dict[tuple[float, float], int] = field(default_factory=dict)

    def add(self, other: Distribution) -> None:
        self.count += other.count
        self.total += other.total
        self.least = min(_known(self.least, other.least), default=None)
        self.most = max(_known(self.most, other.most), default=None)
        for interval, count in other.buckets.items():
            self.buckets[interval] = self.buckets.get(interval, 0) + count

    def percentile(self, share: float) -> float | None:
        """Return the value below which `share` (0 to 1) lies, interpolated within its bucket; None when empty."""
        filled = sorted(
            (pair for pair in self.buckets.items() if pair[1] > 0), key=lambda pair: (pair[0][1], pair[0][0])
        )
        known = sum(count for _, count in filled)
        if not known:
            return self.most
        rank, below = share * known, 0
        for (lower, upper), count in filled:
            if below + count >= rank:
                low, high = self._edges(lower, upper)
                return low + (high - low) * (rank - below) / count
            below += count
        return self.most

    def _edges(self, lower: float, upper: float) -> tuple[float, float]:
        low = lower if math.isfinite(lower) else min(0.0, upper)
        high = upper if math.isfinite(upper) else (self.most if self.most is not None else lower)
        if self.least is not None:
            low = max(low, self.least)
        if self.most is not None:
            high = min(high, self.most)
        return min(low, high), high


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def explicit(bounds: Sequence[float], counts: Sequence[float]) -> dict[tuple[float, float], int]:
    """Return the buckets of an explicit-bounds histogram; {} if its lists do not fit together."""
    if len(counts) != len(bounds) + 1 or len(counts) > _MOST_BUCKETS:
        return {}
    edges = [-math.inf, *bounds, math.inf]
    return {(edges[i], edges[i + 1]): int(count) for i, count in enumerate(counts) if count > 0}


def exponential(
    scale: int, zeros: int, positive: tuple[int, Sequence[float]], negative: tuple[int, Sequence[float]]
) -> dict[tuple[float, float], int]:
    """Return the buckets of an exponential histogram: (offset, counts) of each side."""
    buckets: dict[tuple[float, float], int] = {(0.0, 0.0): zeros} if zeros > 0 else {}
    for sign, (offset, counts) in ((1, positive), (-1, negative)):
        for index, count in enumerate(counts[:_MOST_BUCKETS]):
            if count > 0:
                low, high = sign * _power(scale, offset + index), sign * _power(scale, offset + index + 1)
                buckets[min(low, high), max(low, high)] = int(count)
    return buckets


def _power(scale: int, index: int) -> float:
    exponent = index * 2.0 ** -max(-20, min(20, scale))
    return math.pow(2.0, max(-1000.0, min(1000.0, exponent)))
