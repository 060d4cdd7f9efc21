# SPDX-License-Identifier: Apache-2.0
"""From what a stream has counted in all to what it has counted since: statsd wants what was added."""

from __future__ import annotations

import enum


class Progress(enum.Enum):
    """How a cumulative point relates to the one before it."""

    FIRST = enum.auto()  # the first that counts from zero: all of it is new
    BASELINE = enum.auto()  # the first of one that began before us: none of it is known to be new
    FORWARD = enum.auto()  # what was added since is new
    RESET = enum.auto()  # it began anew: all of it is new
    LATE = enum.auto()  # an older point than one that was seen


class Cumulative:
    """Follows the points of one stream; times in ns since the epoch, 0 where a point has none."""

    def __init__(self) -> None:
        self.known = False
        self.start = 0
        self.time = 0

    def advance(self, start: int, time: int, began: int, *, decreased: bool) -> Progress:
        """Judge a point.

        Args:
            start: since when it counts.
            time: until when.
            began: when we began to watch.
            decreased: whether a value of it is below the one before.
        """
        verdict = self._judge(start, time, began, decreased=decreased)
        if verdict is not Progress.LATE:
            self.known, self.start, self.time = True, start, time
        return verdict

    def _judge(self, start: int, time: int, began: int, *, decreased: bool) -> Progress:
        if not self.known:
            return Progress.FIRST if start > began else Progress.BASELINE
        if start and self.start and start != self.start:
            return Progress.LATE if start < self.start else Progress.RESET
        if time and time < self.time:
            return Progress.LATE
        return Progress.RESET if decreased else Progress.FORWARD
