# SPDX-License-Identifier: Apache-2.0
"""What a destination of telemetry has to offer."""

from __future__ import annotations

import enum
from typing import Literal, Protocol

Signal = Literal["traces", "metrics", "logs"]
Encoding = Literal["protobuf", "json"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")


class Outcome(enum.Enum):
    """What became of a payload."""

    DELIVERED = "delivered"
    RETRY = "retry"  # not taken, may be taken later
    REJECTED = "rejected"  # will never be taken


class Sink(Protocol):
    """A destination. Used by the export thread alone, built in the process that exports; a child starts afresh."""

    @property
    def encoding(self) -> Encoding:
        """The form of the payloads: OTLP protobuf, or OTLP JSON without line breaks."""

    def send(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        """Send an Export*ServiceRequest of `items` spans, points or log records; never raises.

        Args:
            signal: which of the three it is.
            payload: the request in this sink's encoding.
            items: how many items it holds.
            deadline: when to give up, in `originals.monotonic` seconds.

        Returns:
            The outcome, and how many items a delivered payload lost to a partial success.

        """

    def close(self) -> None:
        """Let go of what is open. The sink may be used again after it."""

    def describe(self) -> str:
        """Say where the data goes, for the log line at start and for `doctor`."""
