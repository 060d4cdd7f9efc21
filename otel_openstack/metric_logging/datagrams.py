# SPDX-License-Identifier: Apache-2.0
"""A handler that sends batches of lines over UDP or a Unix datagram socket.

`emit` formats and puts into a bounded queue, without a lock and without I/O; the export thread packs and sends. Text
only: `logging.handlers.DatagramHandler` pickles, which nobody should read from a network.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque

from otel_openstack.exporters.statsd.config import Config, problems
from otel_openstack.exporters.statsd.lines import Packet, Packets
from otel_openstack.exporters.statsd.sender import Limiter, Sender
from otel_openstack.metric_logging import books
from otel_openstack.metric_logging.adapter import NOT_A_MEASUREMENT
from otel_openstack.metric_logging.formats import JSONFormatter
from otel_openstack.metric_logging.records import MetricFilter
from otel_openstack.metric_logging.unlocked import UnlockedHandler
from otel_openstack.runtime import originals, process, worker

SHUTDOWN, OFF, HELD = "shutdown", "switched off", "not exporting"
TURN = 0.25
"""Seconds of the export thread that the rate limit may take in one go."""
OVERHEAD = 64
"""Bytes that a queued line costs beside its text."""

_handlers: weakref.WeakSet[DatagramHandler] = weakref.WeakSet()


class DatagramHandler(UnlockedHandler):
    """Sends records of level METRIC, formatted as JSON unless another formatter is set.

    Args:
        endpoint: `host:port` of UDP, or the path of a Unix datagram socket.
        packet_size: bytes of a datagram at most; a longer line is dropped and counted.
        interval: seconds between two batches.
        queue_bytes: bound of what waits.
        packets_per_second: bound of what is sent; the rest waits. 0 is no bound.
        only_metrics: whether other records are left out.

    Raises:
        ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        endpoint: str = "127.0.0.1:8125",
        packet_size: int = 1432,
        interval: float = 1.0,
        queue_bytes: int = 1024 * 1024,
        packets_per_second: int = 500,
        only_metrics: bool = True,
    ) -> None:
        super().__init__()
        self._config = Config(
            endpoint=endpoint, max_packet_size=packet_size, rate_limit_packets_per_second=packets_per_second
        )
        for key, problem in problems(self._config):
            raise ValueError(f"{key}: {problem}")
        self.setFormatter(JSONFormatter())
        if only_metrics:
            self.addFilter(MetricFilter())
        self._most_bytes = queue_bytes
        self._job = _Job(self, float(interval))
        self.begin()
        books.observe()
        _handlers.add(self)
        worker.add(self._job)

    def begin(self) -> None:
        """Start with nothing, as a forked child does."""
        self.lines: deque[str] = deque()
        self.waiting = 0  # bytes, about

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue; what does not fit is dropped and counted."""
        try:
            process.ensure()
            if not process.started():
                books.drop(1, HELD)
                return
            line = self.format(record)
            size = len(line) + OVERHEAD
            if not line or self.waiting + size > self._most_bytes:
                books.drop(1, books.FULL if line else NOT_A_MEASUREMENT)
                return
            self.waiting += size
            self.lines.append(line)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Send what waits, soon."""
        worker.wake(self._job.name)

    def close(self) -> None:
        """Take no more records; what waits is sent at the next turn of the export thread."""
        self._job.over = True
        worker.wake(self._job.name)
        super().close()

    def config(self) -> Config:
        """Return where it sends to."""
        return self._config


class _Job:
    """What the export thread does for one handler."""

    name = "metric log"

    def __init__(self, handler: DatagramHandler, interval: float) -> None:
        self.interval = interval
        self.over = False
        self._handler = handler  # also when nobody else holds it any more: what it took is sent
        self.begin(handler.config())

    def begin(self, config: Config) -> None:
        self._packets = Packets(config.max_packet_size, books.whole())
        self._full: list[Packet] = []
        self._limiter = Limiter(config)
        self._sender = Sender(config, books.whole())

    def in_child(self, config: Config) -> None:
        self._sender.forget()
        self.begin(config)

    def run(self, deadline: float, final: bool) -> None:
        """Pack what waits and send it, as far as the rate limit allows."""
        handler = self._handler
        until = deadline if final else min(deadline, originals.monotonic() + TURN)
        while self._full or handler.lines:
            if not self._full:
                self._pack(handler)
            while self._full:
                if not self._limiter.wait(len(self._full[0].payload), until):
                    if final:
                        self._give_up(handler)
                    return
                self._sender.send(self._full.pop(0))
        self._sender.settle()
        if self.over:
            worker.remove(self)
            self._sender.close()

    def suspend(self) -> None:
        """See `Job.suspend`."""
        handler = self._handler
        books.drop(len(handler.lines) + sum(packet.lines for packet in self._full), OFF)
        handler.begin()
        self._sender.close()
        self.begin(handler.config())

    def _pack(self, handler: DatagramHandler) -> None:
        """Take lines until a packet is full, or there are no more."""
        while handler.lines and not self._packets.full:
            line = handler.lines.popleft()
            handler.waiting -= len(line) + OVERHEAD
            self._packets.add(*line.split("\n"))
        if not handler.lines:
            self._packets.finish()
        self._full += self._packets.take()

    def _give_up(self, handler: DatagramHandler) -> None:
        while handler.lines:
            self._pack(handler)
        books.drop(sum(packet.lines for packet in self._full), SHUTDOWN)
        self._full = []


def _in_child() -> None:
    for handler in tuple(_handlers):
        handler.begin()
        handler._job.in_child(handler.config())


process.on_child(_in_child)
