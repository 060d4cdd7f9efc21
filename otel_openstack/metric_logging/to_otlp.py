# SPDX-License-Identifier: Apache-2.0
"""A handler that turns measurements of the log into OTLP: points of metrics, or log events.

Metrics have a bounded number of names, and each a bounded number of series. What a name means is settled by its first
record: kind, unit, and which attributes it has; attributes that come later are left out, another kind is dropped.
"""

from __future__ import annotations

import logging
import re

from opentelemetry import trace

from otel_openstack.metric_logging import books
from otel_openstack.metric_logging.adapter import NOT_A_MEASUREMENT
from otel_openstack.metric_logging.formats import attributes
from otel_openstack.metric_logging.records import Measurement, MetricFilter, measurement
from otel_openstack.metric_logging.unlocked import UnlockedHandler
from otel_openstack.metrics import catalog
from otel_openstack.metrics.instruments import Instrument
from otel_openstack.runtime import process
from otel_openstack.semconv.model import Instrument as Model
from otel_openstack.tracing import events

MOST_NAMES = 1000
MOST_SERIES = 1000
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0)
"""Of a histogram that no registry file describes; in its unit."""
NAME = re.compile(r"[A-Za-z][\w.\-/]{0,254}", re.ASCII)
SIGNALS = ("metrics", "logs")

TOO_MANY_NAMES, OTHER_KIND, NOBODY = "too many names", "another kind than before", "nobody exports events"


class OTLPHandler(UnlockedHandler):
    """Records measurements as points of metrics, or queues them as log events.

    Args:
        signal: `metrics` or `logs`.

    Raises:
        ValueError: it is neither.
    """

    def __init__(self, signal: str = "metrics") -> None:
        super().__init__()
        if signal not in SIGNALS:
            raise ValueError(f"{signal!r} is none of {', '.join(SIGNALS)}")
        self._take = self._point if signal == "metrics" else self._event
        self._known: dict[str, Instrument | None] = {}
        self.addFilter(MetricFilter())
        books.observe()

    def emit(self, record: logging.LogRecord) -> None:
        """Record a measurement; what is none is dropped and counted."""
        try:
            measured = measurement(record)
            if measured is None or NAME.fullmatch(measured.name) is None:
                books.drop(1, NOT_A_MEASUREMENT)
                return
            process.ensure()
            self._take(measured, record)
        except Exception:
            self.handleError(record)

    def _point(self, measured: Measurement, record: logging.LogRecord) -> None:
        told = attributes(measured)
        try:
            instrument = self._known[measured.name]
        except KeyError:
            instrument = self._instrument(measured, tuple(sorted(told)))
        if instrument is None or instrument.model.kind != measured.kind:
            books.drop(1, TOO_MANY_NAMES if instrument is None else OTHER_KIND)
            return
        instrument.record(measured.value, *(told.get(name) for name in instrument.model.attributes))

    def _instrument(self, measured: Measurement, names: tuple[str, ...]) -> Instrument | None:
        """Return the instrument of a name that is new here; None when there are too many."""
        if len(self._known) >= MOST_NAMES:
            return None
        model = catalog.known(measured.name)
        if model is None:
            bounds = BOUNDARIES if measured.kind == "histogram" else None
            what = (measured.name, measured.kind, measured.unit, "Logged at level METRIC.", names, "basic", bounds)
            catalog.describe(Model(*what, observable=False, limit=MOST_SERIES, stability="development"))
            model = catalog.known(measured.name)
        if model is None or model.observable:
            self._known[measured.name] = None
        else:
            self._known[measured.name] = catalog.find(measured.name, model.kind)
        return self._known[measured.name]

    def _event(self, measured: Measurement, record: logging.LogRecord) -> None:
        if not events.wanted:
            books.drop(1, NOBODY)
            return
        told = {**attributes(measured), "metric.value": measured.value, "metric.kind": measured.kind}
        if measured.unit:
            told["metric.unit"] = measured.unit
        context = trace.get_current_span().get_span_context()
        events.emit(measured.name, told, context, int(record.created * 1e9))
