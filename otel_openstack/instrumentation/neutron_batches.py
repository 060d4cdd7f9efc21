# SPDX-License-Identifier: Apache-2.0
"""neutron's batches of events to nova: sent under the request that caused them, not under whoever holds the lock.

One short-lived thread sends what all requests have queued meanwhile. Events of one request go out as a task of that
request. A batch for several requests belongs to none of them: it is a trace of its own with a link to each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind

from otel_openstack import tracing
from otel_openstack.patching import Patch, finished, guard
from otel_openstack.semconv import attributes as names
from otel_openstack.tracing import Captured

SEND = "neutron.batch.send"
SCOPE = "otel_openstack.neutron"
MOST_PENDING = 1000

Source = tuple[Captured, SpanContext]

# By the identity of the event, which is kept here so that no other object can get it.
_pending: dict[int, tuple[Any, Source]] = {}


class _Queued:
    """Remembers for which request an event is queued."""

    def before(self, notifier: Any, event: Any) -> None:
        captured = tracing.capture()
        if captured is not None and event and len(_pending) < MOST_PENDING:
            _pending[id(event)] = (event, (captured, trace.get_current_span().get_span_context()))

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Do nothing: the event is on its way."""


def _sent_by_ours(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give `BatchNotifier(batch_interval, callback)` a callback that runs for the right request."""
    if "callback" in kwargs:
        return args, {**kwargs, "callback": _attributed(kwargs["callback"])}
    notifier, interval, callback, *rest = args
    return (notifier, interval, _attributed(callback), *rest), kwargs


def _attributed(callback: Callable[[Any], Any]) -> Callable[[Any], Any]:
    watch = guard(SEND)

    @functools.wraps(callback)
    def send(events: Any) -> Any:
        if not watch.on:
            _pending.clear()  # of events that are sent unseen nothing may stay
            return callback(events)
        sources: list[Source] = []
        operation = None
        with watch:
            sources = [_pending.pop(id(event))[1] for event in events if id(event) in _pending]
            if len({context.trace_id for _, context in sources}) > 1:
                operation = _batch(callback, len(events), [context for _, context in sources])
        if operation is not None:
            try:
                return callback(events)
            finally:
                finished(watch, operation, operation.finish)
        return sources[0][0].run(callback, events) if sources else callback(events)

    return send


def _batch(callback: Callable[[Any], Any], size: int, contexts: list[SpanContext]) -> tracing.Operation:
    name = f"batch {getattr(callback, '__qualname__', 'send_events')}"
    operation = tracing.root(SCOPE, name, SpanKind.INTERNAL, {names.MESSAGING_BATCH_MESSAGE_COUNT: size})
    try:
        for context in contexts:
            operation.span.add_link(context)
        return operation
    except BaseException:
        operation.let_go()
        raise


def uninstall() -> None:
    """Forget what waits."""
    _pending.clear()


PATCHES: tuple[Patch, ...] = (
    Patch("neutron.batch.queue", "neutron.notifiers.batch_notifier", "BatchNotifier.queue_event", hook=_Queued),
    Patch(SEND, "neutron.notifiers.batch_notifier", "BatchNotifier.__init__", rewrite=_sent_by_ours),
)
