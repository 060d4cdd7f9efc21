# SPDX-License-Identifier: Apache-2.0
"""Several sinks as one: everything goes to each of them, once."""

from __future__ import annotations

from collections.abc import Sequence

from otel_openstack.exporters.sink import Encoding, Outcome, Signal, Sink


class Fanout:
    """Sends each payload to all `sinks`, which share one encoding.

    A payload counts as delivered when every sink has dealt with it and one at least took it. Where one has to retry,
    the others are not asked again when the same payload comes back.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self.encoding: Encoding = self._sinks[0].encoding
        self._payload = b""
        self._done: dict[int, tuple[Outcome, int]] = {}

    def send(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        """See `Sink.send`."""
        if payload is not self._payload:
            self._payload, self._done = payload, {}
        for place, sink in enumerate(self._sinks):
            if place not in self._done:
                answer = sink.send(signal, payload, items, deadline)
                if answer[0] is not Outcome.RETRY:
                    self._done[place] = answer
        if len(self._done) < len(self._sinks):
            return Outcome.RETRY, 0
        answers, self._payload, self._done = tuple(self._done.values()), b"", {}
        taken = [rejected for outcome, rejected in answers if outcome is Outcome.DELIVERED]
        return (Outcome.DELIVERED, min(taken)) if taken else (Outcome.REJECTED, 0)

    def close(self) -> None:
        """Close all of them."""
        for sink in self._sinks:
            sink.close()

    def describe(self) -> str:
        """See `Sink.describe`."""
        return " and ".join(sink.describe() for sink in self._sinks)
