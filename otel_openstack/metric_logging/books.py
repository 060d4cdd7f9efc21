# SPDX-License-Identifier: Apache-2.0
"""What became of measurements in the log: sent as datagrams, turned into OTLP, or dropped, and why."""

from __future__ import annotations

from otel_openstack import metrics
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.runtime import process, stop
from otel_openstack.semconv import instruments

FULL = "queue full"
_books = Books()
_handles: list[metrics.Handle] = []


def whole() -> Books:
    """Return the books of this process."""
    return _books


def drop(records: int, reason: str) -> None:
    """Count records that go nowhere; `reason` is one of a few constant texts."""
    _books.drop_lines(records, reason)


def observe() -> None:
    """Have the numbers read at every collection, from the first handler on."""
    if _handles:
        return
    _handles.append(metrics.observe(instruments.OTEL_OPENSTACK_METRIC_LOG_SENT, lambda: [(_books.lines_sent, ())]))
    _handles.append(
        metrics.observe(
            instruments.OTEL_OPENSTACK_METRIC_LOG_DROPPED,
            lambda: [(number, (reason,)) for reason, number in tuple(_books.lines_dropped.items())],
        )
    )
    stop.on_end(lambda: _books.summary("measurements of the log"))


process.on_child(_books.reset)
