# SPDX-License-Identifier: Apache-2.0
"""Recording by attribute name: the registry, not the hook, knows the order of an instrument's labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from otel_openstack import metrics
from otel_openstack.semconv.instruments import INSTRUMENTS


@functools.cache
def instrument(kind: str, name: str) -> Any:
    """Return the instrument `name`: there is one in a process, and finding it checks what it is."""
    return getattr(metrics, kind)(name)


def labels(name: str, facts: Mapping[str, Any]) -> list[Any]:
    """Return the positional labels of the instrument `name`; a fact that is missing is an absent attribute."""
    return [facts.get(attribute) for attribute in INSTRUMENTS[name].attributes]


def reader(name: str) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Return what reads the labels of the instrument `name` off facts that have all of its attributes, two at least."""
    return itemgetter(*INSTRUMENTS[name].attributes)


def record(name: str, value: float, facts: Mapping[str, Any]) -> None:
    """Record `value` (in the registry's unit) in the histogram `name`; below its level nothing happens."""
    found = instrument("histogram", name)
    if found.enabled:
        found.record(value, *labels(name, facts))


def count(name: str, facts: Mapping[str, Any]) -> None:
    """Add one to the counter `name`."""
    instrument("counter", name).record(1, *labels(name, facts))


def move(name: str, step: int, facts: Mapping[str, Any]) -> None:
    """Move the up-down counter `name` by `step`."""
    instrument("up_down_counter", name).record(step, *labels(name, facts))
