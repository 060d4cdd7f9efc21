# SPDX-License-Identifier: Apache-2.0
"""The level, what a record of it holds, and the filter that tells such records from others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from otel_openstack import settings

METRIC: int = settings.get().metric_log_level
"""The level: between INFO and WARNING unless the option `metric_log_level` says otherwise."""

METRICS = "metrics"
"""Measurements of the logger `x` are handled by the logger `metrics.x`, so that a configuration can divert them all."""

KINDS = ("counter", "gauge", "histogram")
KEY = "metric"
"""Attribute of a record that holds its `Measurement`."""

logging.addLevelName(METRIC, "METRIC")

Value = str | int | float | bool


class Measurement(NamedTuple):
    """A number that was measured; as a text it reads well in an ordinary log."""

    name: str
    value: int | float
    kind: str
    """counter (it is added), gauge (it holds until the next), histogram (one of many)"""
    unit: str
    attributes: Mapping[str, Value]

    def __str__(self) -> str:
        """Return the line of an ordinary log."""
        unit = f" {self.unit}" if self.unit else ""
        told = "".join(f" {key}={value}" for key, value in self.attributes.items())
        return f"{self.name} {self.value}{unit}{told}"


def measurement(record: logging.LogRecord) -> Measurement | None:
    """Return what a record measured; None if it is an ordinary one."""
    found = getattr(record, KEY, None)
    return found if isinstance(found, Measurement) else None


class MetricFilter(logging.Filter):
    """Passes records of level METRIC only, or with `without` all others.

    Args:
        without: the records of the level are left out, and all others pass.
    """

    def __init__(self, without: bool = False) -> None:
        super().__init__()
        self._without = without

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return (record.levelno == METRIC) is not self._without
