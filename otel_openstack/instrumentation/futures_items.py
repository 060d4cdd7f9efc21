# SPDX-License-Identifier: Apache-2.0
"""An item of work on its way through a pool: it carries the submitter's context, and tells its wait and its run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation.futures_pools import Entry
from otel_openstack.instrumentation.threads_infrastructure import loops, module_of
from otel_openstack.patching import guard
from otel_openstack.semconv import instruments
from otel_openstack.tracing import Captured

_watch = guard("pool.item")


class Item:
    """Called by the pool's worker with the submitted function and its arguments."""

    __slots__ = ("_captured", "_entry", "_submitted")

    def __init__(self, entry: Entry | None, captured: Captured | None) -> None:
        self._entry = entry
        self._captured = captured
        self._submitted = perf_counter()

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        entry = self._entry
        if not _watch.on:
            return function(*args, **kwargs)
        started = perf_counter()
        if entry is not None:
            with _watch:
                entry.running.add(self)
                _waited(entry, started - self._submitted)
        try:
            if self._captured is None:
                return function(*args, **kwargs)
            return self._captured.run(function, *args, **kwargs)
        finally:
            if entry is not None:
                with _watch:
                    entry.running.discard(self)
                    ran(entry.kind, True, function, perf_counter() - started)


def _waited(entry: Entry, seconds: float) -> None:
    histogram = metrics.histogram(instruments.OPENSTACK_POOL_WAIT_DURATION)
    if histogram.enabled:
        histogram.record(seconds, entry.kind, entry.name())


def ran(loop: str, native: bool, function: Any, seconds: float) -> None:
    """Record how long `function` ran, at the level that asks for it."""
    histogram = metrics.histogram(instruments.OPENSTACK_EVENT_LOOP_FUNCTION_DURATION)
    if histogram.enabled:
        histogram.record(
            seconds, "eventlet" if loop == "green" else loop, native and loop != "green", name_of(function)
        )


def name_of(function: Any) -> str:
    """Return the qualified name of `function` for code.function.name."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module_of(function)}.{name}"


def item_for(entry: Entry | None, function: Any) -> Item:
    """Return the carrier for one submission of `function` by the caller of this."""
    return Item(entry, None if loops(function) else tracing.capture())
