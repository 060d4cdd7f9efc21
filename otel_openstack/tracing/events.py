# SPDX-License-Identifier: Apache-2.0
"""The consolidated event of a request: its totals as one log record, whether its span is sampled or not."""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any

from opentelemetry.trace import SpanContext

from otel_openstack.exporters.accounting import account
from otel_openstack.runtime import process, worker
from otel_openstack.tracing import limits
from otel_openstack.tracing.attributes import clean, weigh
from otel_openstack.tracing.queue import Queue

REQUEST = "openstack.request"
SCOPE = "otel_openstack.events"
EVENT_WEIGHT = 400
MOST_BYTES = 1024 * 1024

_limits = limits.of_logs()


class LogEvent:
    """A finished event in the queue; `time` in ns since the epoch."""

    __slots__ = ("_weight", "attributes", "flags", "name", "span_id", "time", "trace_id")

    def __init__(self, name: str, time: int, attributes: Mapping[str, Any], context: SpanContext) -> None:
        self.name = name
        self.time = time
        self.attributes, _ = clean(attributes, _limits.attributes, _limits.length)
        self.trace_id, self.span_id, self.flags = context.trace_id, context.span_id, int(context.trace_flags)
        self.reweigh()

    def reweigh(self) -> None:
        self._weight = EVENT_WEIGHT + weigh(self.attributes)


queue = Queue(account("logs"), MOST_BYTES, lambda: worker.wake("logs"))


def request(context: SpanContext, attributes: Mapping[str, Any], duration: float, end_time: int | None) -> None:
    """Queue the event of a finished request; `duration` in seconds, `end_time` in ns since the epoch."""
    process.ensure()
    time = time_ns() if end_time is None else end_time
    queue.put(LogEvent(REQUEST, time, {**attributes, "openstack.request.duration": duration}, context))


process.on_child(queue.clear)
