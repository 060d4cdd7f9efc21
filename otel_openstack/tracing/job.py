# SPDX-License-Identifier: Apache-2.0
"""The export of spans and of events: from the queue into requests, and to the sink.

Of everything that was recorded the books say what became of it: delivered, or dropped and why. A request that was not
taken is kept and tried again, later and later; meanwhile the queue fills, and what it cannot hold is dropped there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from opentelemetry.sdk.resources import Resource

from otel_openstack import resource as resources
from otel_openstack import settings
from otel_openstack.exporters import accounting
from otel_openstack.exporters.sink import Outcome, Signal, Sink
from otel_openstack.runtime import originals, process
from otel_openstack.tracing import encoding, encoding_json, events
from otel_openstack.tracing.encoding import Encoded
from otel_openstack.tracing.queue import Queue

BATCH_ITEMS = 512
BATCH_BYTES = 2 * 1024 * 1024
BREATH = 0.0001  # seconds between two slices
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds between attempts
NOT_ENCODABLE = "not encodable"


class Encoder(Protocol):
    """Turns queued records into a request."""

    def encode(self, items: Sequence[Any], pause: Callable[[], object]) -> Encoded: ...


class QueueJob:
    """A job of the export thread that empties one queue. Make it with `spans` or `logs`."""

    def __init__(
        self, signal: Signal, queue: Queue, sink: Sink, make: Callable[[], Encoder], interval: float | None = None
    ) -> None:
        self.name: str = signal
        self.interval = settings.get().flush_interval if interval is None else interval
        self._signal: Signal = signal
        self._queue = queue
        self._sink = sink
        self._make = make
        self._begin()
        process.on_child(self._begin)

    def _begin(self) -> None:
        self._encoder: Encoder | None = None
        self._unsent: Encoded | None = None
        self._pause = 0.0
        self._not_before = 0.0

    def run(self, deadline: float, final: bool) -> None:
        """Send what waits until `deadline`; what is refused stays for the next run."""
        if originals.monotonic() < self._not_before and not final:
            self._queue.weigh()
            return
        while originals.monotonic() < deadline:
            request = self._unsent or self._next()
            if request is None:
                return
            self._unsent = request
            outcome = accounting.send(self._sink, self._signal, request.payload, request.items, deadline)
            if outcome is Outcome.RETRY:
                self._wait()
                self._queue.weigh()
                return
            self._unsent = None
            self._pause = 0.0

    def suspend(self) -> None:
        """See `Job.suspend`."""
        self._begin()
        self._sink.close()

    def _next(self) -> Encoded | None:
        """Return the next request that holds anything."""
        while items := self._queue.take(BATCH_ITEMS, BATCH_BYTES):
            if self._encoder is None:
                self._encoder = self._make()
            encoded = self._encoder.encode(items, _yield)
            if encoded.failed:
                accounting.account(self._signal).drop(encoded.failed, NOT_ENCODABLE)
            if encoded.items:
                return encoded
        return None

    def _wait(self) -> None:
        self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
        self._not_before = originals.monotonic() + self._pause


def spans(queue: Queue, sink: Sink) -> QueueJob:
    """Return the job that exports the spans of a provider's queue."""
    form = encoding_json if sink.encoding == "json" else encoding
    return QueueJob("traces", queue, sink, form.SpanEncoder)


def logs(sink: Sink, resource: Callable[[], Resource] = resources.current) -> QueueJob:
    """Return the job that exports the events of requests."""
    form = encoding_json if sink.encoding == "json" else encoding
    return QueueJob("logs", events.queue, sink, lambda: form.LogEncoder(resource))


def _yield() -> None:
    """Let other threads have the interpreter: a green hub must not wait for a whole batch to be encoded.

    A sleep of zero would let go of it and take it again before a thread that waits has woken up; and each time that
    thread's patience of five milliseconds, after which it would be given the interpreter, would begin anew.
    """
    originals.sleep(BREATH)
