# SPDX-License-Identifier: Apache-2.0
"""What the export thread does for statsd: at each interval collect, add up under the names of statsd, and send.

A flush that the rate limit makes longer is continued at the next turn; what is counted meanwhile adds up.
"""

from __future__ import annotations

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter

from otel_openstack.exporters.statsd import books
from otel_openstack.exporters.statsd.aggregator import SLICE, Aggregator
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.config import Config
from otel_openstack.exporters.statsd.lines import Packet
from otel_openstack.exporters.statsd.sender import Limiter, Sender
from otel_openstack.exporters.statsd.series import Series
from otel_openstack.metrics import points
from otel_openstack.metrics.job import BREATH, TEMPORALITIES
from otel_openstack.metrics.provider import PullReader
from otel_openstack.runtime import originals, process, stop

TURN = 0.25
"""Seconds of the export thread that the rate limit may take in one go: spans wait behind it."""

DELTAS: dict[type, object] = {kind: TEMPORALITIES["DELTA"][kind] for kind in (Counter, Histogram, ObservableCounter)}


def reader() -> PullReader:
    """Return the reader for `StatsdJob`: what was added, and of what goes up and down its value."""
    return PullReader(dict(DELTAS))


class StatsdJob:
    """Collects and sends."""

    name = "statsd"

    def __init__(self, source: PullReader, config: Config) -> None:
        """Prepare.

        Args:
            source: the reader to collect from, made by `reader`.
            config: one without problems.
        """
        self.interval = min(1.0, config.flush_interval)
        self.source = source
        self.books = Books()
        self._config = config
        self._sender: Sender | None = None
        self._begin()
        process.on_child(self._in_child)
        stop.on_end(self._end)

    def _begin(self) -> None:
        self._aggregator: Aggregator | None = None
        self._left: list[Series] = []
        self._packets: list[Packet] = []
        self._limiter = Limiter(self._config)
        self._next_flush = 0.0

    def _in_child(self) -> None:
        if self._sender is not None:
            self._sender.forget()
        self.books.reset()
        self._begin()

    def _end(self) -> str:
        return self.books.summary()

    def run(self, deadline: float, final: bool) -> None:
        """Send what a flush under way has left, and begin one when it is due, or with `final`."""
        until = deadline if final else min(deadline, originals.monotonic() + TURN)
        through = self._go_on(until)
        now = originals.monotonic()
        if final or (through and now >= self._next_flush):
            self._next_flush = now + self._config.flush_interval
            self._collect()
            self._go_on(until)
        if final:
            self._give_up()

    def suspend(self) -> None:
        """See `Job.suspend`."""
        self.books.drop_lines(sum(packet.lines for packet in self._packets), books.OFF)
        self._begin()
        if self._sender is not None:
            self._sender.close()

    def _collect(self) -> None:
        now = originals.time_ns() / 1e9
        aggregator = self._aggregator
        if aggregator is None:
            aggregator = self._aggregator = Aggregator(self._config, self.books, now, _breathe)
        collected = self.source.pull(changed_only=False)
        resource = collected.resource.attributes
        for scope in collected.scopes:
            aggregator.consume(resource, scope.scope.name, scope.scope.version or "", scope.metrics, now)
        ours = map(points.metric, collected.batches)
        aggregator.consume(resource, points.SCOPE.name, points.SCOPE.version or "", ours, now)
        aggregator.sweep(now)
        self._left = aggregator.catalog.all()[::-1]

    def _go_on(self, until: float) -> bool:
        """Encode and send until the time is up; returns whether the flush is through."""
        while self._packets or self._left:
            if not self._packets:
                self._packets = self._encode()
            while self._packets:
                if not self._limiter.wait(len(self._packets[0].payload), until):
                    return False
                self._destination().send(self._packets.pop(0))
            if not self._left:
                self._destination().settle()
        return True

    def _encode(self) -> list[Packet]:
        """Return full packets, and at the end of the flush the one that is not."""
        assert self._aggregator is not None  # noqa: S101 - there are series, so there is what made them
        encoder = self._aggregator.encoder
        for _ in range(SLICE):
            if not self._left:
                encoder.packets.finish()
                break
            self._left.pop().write(encoder)
        return encoder.packets.take()

    def _give_up(self) -> None:
        """Count what the end of the process, or the rate limit, has left."""
        while self._left:
            self._packets += self._encode()
        self.books.drop_lines(sum(packet.lines for packet in self._packets), books.SHUTDOWN)
        self._packets = []

    def _destination(self) -> Sender:
        if self._sender is None:
            self._sender = Sender(self._config, self.books)
        return self._sender


def _breathe() -> None:
    originals.sleep(BREATH)
