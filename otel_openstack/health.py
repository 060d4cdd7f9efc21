# SPDX-License-Identifier: Apache-2.0
"""The product's own health, as metrics of every process: what was lost, what waits, what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from otel_openstack import metrics
from otel_openstack.exporters import accounting
from otel_openstack.exporters.accounting import ACCOUNTS
from otel_openstack.exporters.sink import Outcome, Signal
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.metrics import catalog
from otel_openstack.patching.guard import failures
from otel_openstack.semconv import instruments

Observations = Iterator[tuple[float, tuple[Any, ...]]]


def observe(queues: Mapping[str, Any]) -> list[metrics.Handle]:
    """Have the health of this process read at every collection.

    Args:
        queues: by signal, what waits there (`len` tells how many items).
    """
    callbacks: dict[str, Callable[[], Observations]] = {
        instruments.OTEL_OPENSTACK_ITEMS_RECORDED: _recorded,
        instruments.OTEL_OPENSTACK_ITEMS_DELIVERED: _delivered,
        instruments.OTEL_OPENSTACK_ITEMS_DROPPED: _dropped,
        instruments.OTEL_OPENSTACK_QUEUE_LENGTH: lambda: ((len(q), (signal,)) for signal, q in queues.items()),
        instruments.OTEL_OPENSTACK_INSTRUMENT_SERIES: _series,
        instruments.OTEL_OPENSTACK_PATCH_FAILURES: _failures,
    }
    accounting.on_attempt(_attempted)
    return [metrics.observe(name, callback) for name, callback in callbacks.items()]


def observe_statsd(books: Books) -> list[metrics.Handle]:
    """Have what was sent to statsd, and what was dropped, read at every collection."""

    def sent() -> Observations:
        yield books.lines_sent, ()

    def dropped(drops: dict[str, int]) -> Observations:
        return ((number, (reason,)) for reason, number in tuple(drops.items()))

    return [
        metrics.observe(instruments.OTEL_OPENSTACK_STATSD_LINES_SENT, sent),
        metrics.observe(instruments.OTEL_OPENSTACK_STATSD_LINES_DROPPED, lambda: dropped(books.lines_dropped)),
        metrics.observe(instruments.OTEL_OPENSTACK_STATSD_POINTS_DROPPED, lambda: dropped(books.points_dropped)),
    ]


def _attempted(signal: Signal, seconds: float, outcome: Outcome) -> None:
    error = None if outcome is Outcome.DELIVERED else outcome.value
    metrics.histogram(instruments.OTEL_OPENSTACK_EXPORT_DURATION).record(seconds, signal, error)


def _recorded() -> Observations:
    return ((account.recorded, (signal,)) for signal, account in ACCOUNTS.items() if account.recorded)


def _delivered() -> Observations:
    return ((account.delivered, (signal,)) for signal, account in ACCOUNTS.items() if account.recorded)


def _dropped() -> Observations:
    for signal, account in ACCOUNTS.items():
        for reason, cell in tuple(account.drops.items()):
            yield cell[0], (signal, reason)


def _series() -> Observations:
    return ((len(known.series), (known.name,)) for known in catalog.instruments() if known.series)


def _failures() -> Observations:
    return ((number, (name,)) for name, number in failures().items())
