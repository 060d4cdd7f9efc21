# SPDX-License-Identifier: Apache-2.0
"""What was sent to statsd and what was dropped, and why. One thread writes, any may read."""

from __future__ import annotations

TOO_LONG = "too_long"  # the line fits into no packet
TOO_MANY_STREAMS = "too_many_streams"  # max_streams is reached
NOT_FINITE = "not_finite"  # NaN or infinity
NEGATIVE = "negative"  # a counter below zero
LATE = "late"  # older than a point that was seen
MALFORMED = "malformed"  # a histogram whose buckets make no sense
UNSUPPORTED = "unsupported"  # of a type that is not known
UNREACHABLE = "unreachable"  # not connected, or the name does not resolve
REFUSED = "refused"  # nobody listens
TIMEOUT = "timeout"  # the peer did not take it within write_timeout
FAILED = "failed"  # another error
SHUTDOWN = "shutdown"  # the process ended before it could be sent
OFF = "switched off"


class Books:
    """The numbers of one exporter in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start from zero, as a forked child does."""
        self.lines_sent = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.lines_dropped: dict[str, int] = {}
        self.points_dropped: dict[str, int] = {}
        self.errors = 0
        self.collisions = 0

    def sent(self, lines: int, size: int) -> None:
        """Count a packet that was taken."""
        self.lines_sent += lines
        self.packets_sent += 1
        self.bytes_sent += size

    def drop_lines(self, lines: int, reason: str) -> None:
        """Count lines that were not sent."""
        if lines:
            self.lines_dropped[reason] = self.lines_dropped.get(reason, 0) + lines

    def drop_points(self, points: int, reason: str) -> None:
        """Count points that became no line."""
        if points:
            self.points_dropped[reason] = self.points_dropped.get(reason, 0) + points

    def summary(self, what: str = "lines for statsd") -> str:
        """Return what was lost as a line for the log; empty if nothing was."""
        lost = sum(self.lines_dropped.values())
        if not lost:
            return ""
        reasons = "; ".join(sorted(self.lines_dropped))
        return f"{lost} {what} dropped of {lost + self.lines_sent} ({reasons})"
