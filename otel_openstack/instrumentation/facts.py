# SPDX-License-Identifier: Apache-2.0
"""Recording by attribute name: the registry, not the hook, knows the order of an instrument's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_openstack import metrics
from otel_openstack.semconv.instruments import INSTRUMENTS


def labels(name: str, facts: Mapping[str, Any]) -> list[Any]:
    """Return the positional labels of the instrument `name`; a fact that is missing is an absent attribute."""
    return [facts.get(attribute) for attribute in INSTRUMENTS[name].attributes]


def record(name: str, value: float, facts: Mapping[str, Any]) -> None:
    """Record `value` (in the registry's unit) in the histogram `name`; below its level nothing happens."""
    instrument = metrics.histogram(name)
    if instrument.enabled:
        instrument.record(value, *labels(name, facts))


def count(name: str, facts: Mapping[str, Any]) -> None:
    """Add one to the counter `name`."""
    metrics.counter(name).add(1, *labels(name, facts))


def move(name: str, step: int, facts: Mapping[str, Any]) -> None:
    """Move the up-down counter `name` by `step`."""
    metrics.up_down_counter(name).add(step, *labels(name, facts))
