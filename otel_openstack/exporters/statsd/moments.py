# SPDX-License-Identifier: Apache-2.0
"""What a histogram says beside its buckets."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from otel_openstack.exporters.statsd.distribution import Segment


class Moments(NamedTuple):
    """Number, sum, least and greatest; None is not known."""

    number: int = 0
    total: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, point: Any) -> Moments:
        """Read a point of the SDK; what is no number is not known: one NaN among observations makes the sum one."""
        low, high = _finite(point.min), _finite(point.max)
        if low is not None and high is not None and low > high:
            low = high = None
        return cls(point.count, _finite(point.sum), low, high)

    def minus(self, before: Moments) -> Moments:
        """Return what came since; low and high bound it still."""
        known = self.total is not None and before.total is not None
        total = self.total - before.total if known else None  # type: ignore[operator]
        return self._replace(number=self.number - before.number, total=total)

    def plus(self, other: Moments) -> Moments:
        """Combine; what not both know is not known."""
        if not self.number:
            return other
        return Moments(
            self.number + other.number,
            None if self.total is None or other.total is None else self.total + other.total,
            None if self.low is None or other.low is None else min(self.low, other.low),
            None if self.high is None or other.high is None else max(self.high, other.high),
        )

    def bound(self, segment: Segment) -> Segment:
        """Cut a segment to what low and high allow; an end without bound is the other, or zero before a positive."""
        low, high, count = segment
        if self.low is not None and self.low > low:
            low = min(self.low, high)
        if self.high is not None and self.high < high:
            high = max(self.high, low)
        if low == -math.inf:
            low = 0.0 if high > 0 else high
        if high == math.inf:
            high = low
        return Segment(low, high, count)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
