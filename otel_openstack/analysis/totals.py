# SPDX-License-Identifier: Apache-2.0
"""What a root span says it spent in databases, RPC, HTTP and caches (the attributes written at its end)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from otel_openstack.analysis import otlp
from otel_openstack.analysis.spans import Span

PARTS = ("db", "cache", "rpc", "http")
SLOWEST_DURATION = "openstack.db.slowest.duration"
SLOWEST_SUMMARY = "openstack.db.slowest.summary"
QUEUE_WAIT = "openstack.request.queue_wait"


@dataclass(slots=True)
class Totals:
    """Calls and seconds per part, summed over spans."""

    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    queue_wait: float = 0.0


def totals(spans: Iterable[Span]) -> Totals:
    """Return the sum of the totals that these spans carry."""
    sums = Totals()
    for span in spans:
        held = span.attributes
        for part in PARTS:
            calls = otlp.integer(held.get(f"openstack.{part}.calls"))
            if calls > 0:
                sums.calls[part] = sums.calls.get(part, 0) + calls
                seconds = otlp.number(held.get(f"openstack.{part}.duration")) or 0.0
                sums.seconds[part] = sums.seconds.get(part, 0.0) + seconds
        slowest = otlp.number(held.get(SLOWEST_DURATION)) or 0.0
        sums.slowest = max(sums.slowest, (slowest, str(held.get(SLOWEST_SUMMARY) or "")))
        sums.queue_wait += otlp.number(held.get(QUEUE_WAIT)) or 0.0
    return sums
