# SPDX-License-Identifier: Apache-2.0
"""Metrics: instruments of the registry with a fast path of their own, exported together with those of the SDK.

>>> duration = metrics.histogram(instruments.DB_CLIENT_OPERATION_DURATION)
>>> record = duration.bind("mysql", "SELECT", "instances")  # once
>>> record(0.002)  # some comparisons and a few increments
>>> duration.record(0.002, "mysql", "SELECT", "instances")  # labels that change: one dict lookup more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from otel_openstack.metrics import catalog
from otel_openstack.metrics.catalog import Handle, observe
from otel_openstack.metrics.instruments import Counter, Gauge, Histogram, Instrument, UpDownCounter

if TYPE_CHECKING:
    from otel_openstack.metrics.memory import Point

__all__ = [
    "Counter",
    "Gauge",
    "Handle",
    "Histogram",
    "Instrument",
    "UpDownCounter",
    "counter",
    "error_type",
    "gauge",
    "histogram",
    "observe",
    "reset",
    "testing_points",
    "up_down_counter",
]


def histogram(name: str) -> Histogram:
    """Return the histogram `name` of the registry.

    Raises:
        ValueError: there is none of that name and kind; the message says which is the nearest.
    """
    return cast("Histogram", catalog.find(name, "histogram"))


def counter(name: str) -> Counter:
    """Return the counter `name` of the registry; raises as `histogram`."""
    return cast("Counter", catalog.find(name, "counter"))


def up_down_counter(name: str) -> UpDownCounter:
    """Return the up-down counter `name` of the registry; raises as `histogram`."""
    return cast("UpDownCounter", catalog.find(name, "updowncounter"))


def gauge(name: str) -> Gauge:
    """Return the gauge `name` of the registry; raises as `histogram`."""
    return cast("Gauge", catalog.find(name, "gauge"))


def error_type(error: BaseException | type[BaseException] | str) -> str:
    """Return what stands in `error.type`: the canonical name of the class with its module, builtins without.

    Instruments bound the number of distinct ones themselves.
    """
    if isinstance(error, str):
        return error
    kind = error if isinstance(error, type) else type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def testing_points(name: str) -> list[Point]:
    """Return the points of `name` as a collection would export them now. For tests."""
    from otel_openstack.metrics import memory

    return memory.points(name)


testing_points.__test__ = False  # type: ignore[attr-defined]


def reset() -> None:
    """Forget everything recorded so far and read the levels again. For tests."""
    catalog.reset()
