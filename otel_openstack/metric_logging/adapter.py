# SPDX-License-Identifier: Apache-2.0
"""`LOG.metric(...)`, beside everything that the logger can do already."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from math import isfinite
from typing import Any

from otel_openstack.metric_logging import books
from otel_openstack.metric_logging.records import KEY, KINDS, METRIC, METRICS, Measurement

NOT_A_MEASUREMENT = "not a measurement"


def get_logger(name: str | None = None) -> MetricAdapter:
    """Return the logger `name` with `metric`."""
    return MetricAdapter(logging.getLogger(name))


class MetricAdapter(logging.LoggerAdapter):  # type: ignore[type-arg] # it has no parameter before Python 3.11
    """A logger, or an adapter such as oslo.log's, that can also log measurements."""

    def __init__(self, logger: Any) -> None:
        """Prepare.

        Args:
            logger: a `logging.Logger`, or whatever `oslo_log.log.getLogger` returns.
        """
        super().__init__(logger, {})
        plain = logger
        while isinstance(plain, logging.LoggerAdapter):
            plain = plain.logger
        self._adapter = logger if plain is not logger else None
        self._name: str = plain.name
        self._target = logging.getLogger(METRICS if plain.name == "root" else f"{METRICS}.{plain.name}")

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Leave ordinary messages as they are."""
        return msg, kwargs

    def __getattr__(self, name: str) -> Any:
        """Return what the logger has beyond `logging`'s adapters, such as oslo.log's `trace` and `audit`."""
        if name == "logger":
            raise AttributeError(name)
        return getattr(self.logger, name)

    def metric(
        self,
        name: str,
        value: float = 1,
        kind: str = "counter",
        unit: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Log a measurement at level METRIC; never raises, and is one comparison where the level is off.

        Args:
            name: of the metric, such as `compute.build.duration`.
            value: a finite number; of a counter what is added, not negative.
            kind: counter, gauge or histogram.
            unit: of the value; `s` for seconds, which statsd is told in milliseconds.
            attributes: few, of few values each.
        """
        target = self._target
        if not target.isEnabledFor(METRIC):
            return
        try:
            number = int(value) if isinstance(value, int) else float(value)  # of flags and of other libraries' numbers
            plain = type(name) is str and type(unit) is str and not isinstance(value, str | bytes)
            if not plain or kind not in KINDS or not isfinite(number) or (number < 0 and kind == "counter"):
                books.drop(1, NOT_A_MEASUREMENT)
                return
            measured = Measurement(name, number, kind, unit, dict(attributes) if attributes else {})
            extra: dict[str, Any] = {}
            if self._adapter is not None:
                extra.update(self._adapter.process(measured, {})[1].get("extra") or {})
            extra[KEY] = measured
            code = (frame := sys._getframe(1)).f_code
            where = (code.co_filename, frame.f_lineno, measured, (), None, code.co_name, extra)
            target.handle(target.makeRecord(self._name, METRIC, *where))
        except Exception:
            books.drop(1, NOT_A_MEASUREMENT)
