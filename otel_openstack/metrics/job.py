# SPDX-License-Identifier: Apache-2.0
"""What the export thread does for metrics: every second what changed, every minute everything."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from otel_openstack import settings
from otel_openstack.exporters import accounting
from otel_openstack.exporters.sink import Outcome, Sink
from otel_openstack.metrics import encoding
from otel_openstack.metrics.provider import PullReader
from otel_openstack.runtime import notices, originals, process

POINTS_PER_PAYLOAD = 1024
BREATH = 0.0002
"""Seconds of sleep between slices, so that a hub that waits for the interpreter gets it."""
EXPORT_INTERVAL = 60_000.0
"""Milliseconds, the default of OTEL_METRIC_EXPORT_INTERVAL."""

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
TEMPORALITIES: dict[str, dict[type, AggregationTemporality]] = {
    "CUMULATIVE": {},
    "DELTA": {Counter: _DELTA, Histogram: _DELTA, ObservableCounter: _DELTA},
    "LOWMEMORY": {Counter: _DELTA, Histogram: _DELTA},
}
"""By the values of OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE; what is not named is cumulative."""


def reader() -> PullReader:
    """Return the reader for `MetricsJob`, with the preferences that the standard variables state."""
    preference = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative").strip().upper()
    if preference not in TEMPORALITIES:
        notices.say("warning", f"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE={preference!r}: using cumulative")
    aggregation = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "").strip().lower()
    if aggregation not in ("", "explicit_bucket_histogram", "base2_exponential_bucket_histogram"):
        notices.say(
            "warning",
            f"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION={aggregation!r}: using explicit buckets",
        )
    aggregations: dict[type, Any] = {}
    if aggregation.startswith("base2"):
        aggregations[Histogram] = ExponentialBucketHistogramAggregation()
    return PullReader(dict(TEMPORALITIES.get(preference, {})), aggregations)


def export_interval() -> float:
    """Return OTEL_METRIC_EXPORT_INTERVAL in seconds."""
    given = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    try:
        milliseconds = float(given or EXPORT_INTERVAL)
        if not 0 < milliseconds < float("inf"):
            raise ValueError  # noqa: TRY301 one message for both
    except ValueError:
        notices.say("warning", f"OTEL_METRIC_EXPORT_INTERVAL={given!r} is no number of milliseconds: using 60000")
        milliseconds = EXPORT_INTERVAL
    return milliseconds / 1e3


class MetricsJob:
    """Collects, encodes and sends.

    Nothing is collected while a payload waits to be taken: the cells go on adding up meanwhile, so a collector that is
    away for an hour costs no memory and no count, whatever the temporality.
    """

    name = "metrics"

    def __init__(self, source: PullReader, sink: Sink | Callable[[], Sink], everything: float | None = None) -> None:
        """Prepare.

        Args:
            source: the reader to collect from.
            sink: where to, or what makes that at the first export.
            everything: seconds between exports of all series; by default what OTEL_METRIC_EXPORT_INTERVAL says.
        """
        self._everything = export_interval() if everything is None else everything
        self.interval = min(settings.get().flush_interval, self._everything)
        self._source = source
        self._sink = sink
        self._built: Sink | None = None
        self._account = accounting.account("metrics")
        self._begin()
        process.on_child(self._begin)

    def _begin(self) -> None:
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._next_full = 0.0

    def run(self, deadline: float, final: bool) -> None:
        """Export what changed, or all when that is due; with `final` all that is left."""
        if not self._send_waiting(deadline) and not final:
            return
        now = originals.monotonic()
        full = final or now >= self._next_full
        if full:
            self._next_full = now + self._everything
        collected = self._source.pull(changed_only=not full)
        between = _nothing if final else _breathe
        for payload, points in encoding.payloads(collected, self._destination().encoding, POINTS_PER_PAYLOAD, between):
            self._account.recorded += points
            self._waiting.append((payload, points))
        self._send_waiting(deadline)

    def suspend(self) -> None:
        """See `Job.suspend`."""
        self._begin()
        if self._built is not None:
            self._built.close()

    def _send_waiting(self, deadline: float) -> bool:
        while self._waiting:
            payload, points = self._waiting[0]
            if accounting.send(self._destination(), "metrics", payload, points, deadline) is Outcome.RETRY:
                return False
            self._waiting.popleft()
        return True

    def _destination(self) -> Sink:
        if self._built is None:
            made: Any = self._sink
            self._built = made if hasattr(made, "send") else made()
        return self._built


def _breathe() -> None:
    originals.sleep(BREATH)


def _nothing() -> None:
    pass
