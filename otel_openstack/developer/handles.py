# SPDX-License-Identifier: Apache-2.0
"""Instruments to record into by hand, and the flag for blocks that are to be deep.

    builds = counter("myservice.builds")
    builds.add(1, "m1.tiny")

    if __debug__ and deep:
        ...

Where an instrument cannot be measured in this process, its methods are one shared function that does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from otel_openstack import levels
from otel_openstack.developer import parts
from otel_openstack.levels import Level

Record = Callable[..., None]
T = TypeVar("T", bound="Handle")


def nothing(*_: Any) -> None:
    """Stand for what is not measured."""


class Handle:
    """What the four kinds share. Labels stand in the order of the attributes in the registry; None is an absent one."""

    kind = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self._instrument = _instrument(name, self.kind)

    @property
    def _record(self) -> Record:
        if self._instrument is None:
            return nothing
        from otel_openstack.runtime import process

        process.ensure()
        return self._instrument.record  # type: ignore[no-any-return]

    def bind(self, *labels: str | float | bool | None) -> Record:
        """Return what records a value with these labels: quicker than naming them each time.

        Raises:
            ValueError: there are more labels than the instrument has attributes.
        """
        return nothing if self._instrument is None else self._instrument.bind(*labels)


class Counter(Handle):
    """A sum that only grows."""

    kind = "counter"

    @property
    def add(self) -> Record:
        """`add(number, *labels)`."""
        return self._record


class UpDownCounter(Handle):
    """A sum that grows and shrinks."""

    kind = "updowncounter"

    @property
    def add(self) -> Record:
        """`add(number, *labels)`."""
        return self._record


class Histogram(Handle):
    """Values by bucket."""

    kind = "histogram"

    @property
    def record(self) -> Record:
        """`record(value, *labels)`, in the unit of the registry."""
        return self._record


class Gauge(Handle):
    """The last value."""

    kind = "gauge"

    @property
    def set(self) -> Record:
        """`set(value, *labels)`."""
        return self._record


def counter(name: str) -> Counter:
    """Return the counter `name` of a registry file.

    Raises:
        TelemetryError: there is none, where that is an error (`unregistered` in the options).
    """
    return Counter(name)


def up_down_counter(name: str) -> UpDownCounter:
    """Return the up-down counter `name` of a registry file; raises as `counter`."""
    return UpDownCounter(name)


def histogram(name: str) -> Histogram:
    """Return the histogram `name` of a registry file; raises as `counter`."""
    return Histogram(name)


def gauge(name: str) -> Gauge:
    """Return the gauge `name` of a registry file; raises as `counter`."""
    return Gauge(name)


def use_registry(path: str) -> None:
    """Use a registry file, which describes what this project measures; it is read when it is first needed.

    Args:
        path: a relative one is beside the calling module.

    """
    from otel_openstack.developer import names

    path = os.fspath(path)
    if not os.path.isabs(path):
        caller = sys._getframe(1).f_globals.get("__file__") or ""
        path = os.path.join(os.path.dirname(os.path.abspath(caller)), path)
    names.add(path)


class _Deep:
    """True while the level in force is deep: it may be moved below, and back."""

    def __bool__(self) -> bool:
        from otel_openstack.runtime import switch

        return levels.active(Level.DEEP) and not switch.off

    def __repr__(self) -> str:
        return f"<deep: {bool(self)}>"


def deep() -> Any:
    """Return the flag: the constant False where the level can never become deep in this process."""
    return _Deep() if __debug__ and levels.possible(Level.DEEP) and not levels.nothing_possible() else False


def _instrument(name: str, kind: str) -> Any:
    if levels.nothing_possible():
        return None
    from otel_openstack import metrics
    from otel_openstack.developer import names
    from otel_openstack.metrics import catalog

    entry = names.find("metric", name, kind)
    if not entry.usable or entry.model is None or not parts.possible(Level[entry.level.upper()], name):
        return None
    if catalog.known(name) is None:
        catalog.describe(entry.model)
    return metrics.counter(name) if kind == "counter" else catalog.find(name, kind)
