# SPDX-License-Identifier: Apache-2.0
"""Log events: the consolidated one of a request, sampled or not, and those that developers and rules ask for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry.trace import SpanContext

from otel_openstack.exporters.accounting import account
from otel_openstack.runtime import process, worker
from otel_openstack.tracing import limits
from otel_openstack.tracing.attributes import SHORT, clean, weigh
from otel_openstack.tracing.queue import Queue

REQUEST = "openstack.request"
SCOPE = "otel_openstack.events"
EVENT_WEIGHT = 400
MOST_BYTES = 1024 * 1024

NUMBERS = frozenset({int, float, bool})

_limits = limits.of_logs()
_most = sys.maxsize if _limits.attributes is None else _limits.attributes
_short = SHORT if _limits.length is None else min(SHORT, _limits.length)


class LogEvent:
    """A finished event in the queue; `time` in ns since the epoch."""

    __slots__ = ("_weight", "attributes", "flags", "name", "span_id", "time", "trace_id")

    def __init__(self, name: str, time: int, attributes: Mapping[str, Any], context: SpanContext) -> None:
        self.name = name
        self.time = time
        self.attributes = _cleaned(attributes)
        self.trace_id, self.span_id, self.flags = context.trace_id, context.span_id, int(context.trace_flags)
        self.reweigh()

    def reweigh(self) -> None:
        self._weight = EVENT_WEIGHT + weigh(self.attributes)


def _cleaned(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy without what no attribute may be; numbers and short texts need no look at each."""
    if len(attributes) <= _most and "" not in attributes:
        for value in attributes.values():
            kind = type(value)
            if kind not in NUMBERS and (kind is not str or len(value) > _short):
                break
        else:
            return dict(attributes)
    return clean(attributes, _limits.attributes, _limits.length)[0]


queue = Queue(account("logs"), MOST_BYTES, lambda: worker.wake("logs"))
wanted = False
"""Whether anybody exports events; nothing is queued for nobody."""


def request(context: SpanContext, attributes: Mapping[str, Any], duration: float, end_time: int | None) -> None:
    """Queue the event of a finished request; `duration` in seconds, `end_time` in ns since the epoch."""
    emit(REQUEST, {**attributes, "openstack.request.duration": duration}, context, end_time)


def emit(name: str, attributes: Mapping[str, Any], context: SpanContext, time: int | None = None) -> None:
    """Queue an event that belongs to the span of `context`, if that is valid; `time` in ns since the epoch, or now."""
    if wanted:
        process.ensure()
        queue.put(LogEvent(name, time_ns() if time is None else time, attributes, context))


process.on_child(queue.clear)
