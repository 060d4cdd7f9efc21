# SPDX-License-Identifier: Apache-2.0
"""What periodic tasks, looping calls and start-up share: a root span of their own, a new trace each time."""

from __future__ import annotations

import functools
from time import perf_counter
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.pattern import Pattern
from otel_openstack.tracing.totals import Totals

SCOPE = "otel_openstack.background"

DURATION = metrics.histogram("openstack.periodic_task.duration")
LAG = metrics.histogram("openstack.periodic_task.lag")

_LOCALS = Pattern(r"\.?<locals>")
_LONGEST = 120


def function_name(function: Any) -> str:
    """Return the qualified name of a function, method, partial or other callable, never its repr."""
    while isinstance(function, functools.partial):
        function = function.func
    found = getattr(function, "__qualname__", None)
    name = found if isinstance(found, str) else type(function).__qualname__
    return _LOCALS.sub("", name)[:_LONGEST]


_starting: list[Totals] = []


def request() -> Totals | None:
    """Return the totals of what runs here if that is work for something; start-up is nothing to work for."""
    running = tracing.totals()
    alive = running.alive() if running is not None else None
    return None if alive is None or alive in _starting else alive


def starting(operation: tracing.Operation) -> None:
    """Remember the root of a start-up that is still going on."""
    _starting[:] = [known for known in _starting if not known.ended]
    _starting.append(operation.totals)


class Turn:
    """One run of a piece of background work, from `Turn(...)` to `finish`."""

    __slots__ = ("name", "operation", "start")

    def __init__(self, kind: str, name: str, function: str | None = None) -> None:
        attributes = {"openstack.periodic_task.name": name}
        if function is not None:
            attributes["code.function.name"] = function
        self.name = name
        self.start = perf_counter()
        self.operation = tracing.root(SCOPE, f"{kind} {name}", SpanKind.INTERNAL, attributes)

    def finish(self, error: BaseException | None = None) -> None:
        """End the turn's span and record its duration."""
        seconds = self.operation.finish(error)
        DURATION.record(seconds, self.name, metrics.error_type(error) if error is not None else None)

    def finish_unless_idle(self, error: BaseException | None = None) -> None:
        """As `finish`, but a turn that went well and did nothing that is traced leaves no span, only its duration."""
        if error is None and self.operation.discard():
            DURATION.record(perf_counter() - self.start, self.name, None)
        else:
            self.finish(error)
