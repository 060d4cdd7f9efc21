# SPDX-License-Identifier: Apache-2.0
"""Notifications: a PRODUCER span where one is sent, a CONSUMER span where one, or a batch, is processed.

Sent: below the notifier, which swallows what goes wrong. Processed: `_process_incoming` of the listener; what an
endpoint's callback raises is swallowed there too, so the callback is wrapped. A batch of several has a link to each
message's sender, a single message has its sender as parent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from time import perf_counter
from typing import Any, NamedTuple

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import oslo_messaging_names as names
from otel_openstack.instrumentation.oslo_messaging_client import MESSAGES, SENDS, sender, with_context
from otel_openstack.instrumentation.oslo_messaging_server import CONSUMED
from otel_openstack.patching import Patch

SEND = "oslo_messaging.notify.send"

PROCESSED = metrics.histogram("messaging.process.duration")

# As in oslo_messaging.notify.dispatcher.PRIORITIES; anything else comes from a stranger and is no label.
PRIORITIES = frozenset({"audit", "debug", "info", "warn", "error", "critical", "sample"})


class Sending(NamedTuple):
    """One notification on its way."""

    operation: tracing.Operation
    system: str
    template: str
    priority: str | None


def priority_of(message: Any) -> str | None:
    """Return the priority of a notification if it is a known one."""
    found = str(message.get("priority", "")).lower() if isinstance(message, dict) else ""
    return found if found in PRIORITIES else None


def _begin(
    transport: Any, target: Any, context: Any, message: Any, /, *_args: Any, **_kwargs: Any
) -> tuple[Sending, Any]:
    system = names.broker(transport._driver)
    template = names.without_ids(str(target.topic))
    priority = priority_of(message)
    attributes = {
        "messaging.system": system,
        "messaging.operation.name": "notify",
        "messaging.operation.type": "send",
        "messaging.destination.name": str(target.topic),
        "messaging.destination.template": template,
        **_described(message, priority),
    }
    operation = tracing.child(names.SCOPE, f"notify {template}", SpanKind.PRODUCER, attributes)
    try:
        return Sending(operation, system, template, priority), with_context(operation, context, system)
    except BaseException:
        operation.finish()
        raise


def _finish(sending: Sending, error: BaseException | None) -> None:
    sending.operation.totals.add_rpc(perf_counter() - sending.operation.start)
    seconds = sending.operation.finish(error)
    kind = metrics.error_type(error) if error is not None else None
    SENDS.record(seconds, sending.system, "notify", "send", sending.template, sending.priority, kind)
    MESSAGES.add(1, sending.system, "notify", sending.template, kind)


def _described(message: Any, priority: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"openstack.notification.priority": priority} if priority else {}
    identity = message.get("message_id") if isinstance(message, dict) else None
    if isinstance(identity, str):
        told["messaging.message.id"] = identity[:64]
    return told


class Processing:
    """One notification, or a batch of them, at work."""

    __slots__ = ("error", "operation", "priority", "system", "template", "token")

    operation: tracing.Operation  # set when all else is known, since it is current from then on

    def __init__(self, system: str, template: str, priority: str | None) -> None:
        self.system = system
        self.template = template
        self.priority = priority
        self.error: BaseException | None = None
        self.token: Token[Processing | None] | None = None


_current: ContextVar[Processing | None] = ContextVar("otel_openstack_notification", default=None)


class Process:
    """Opens the span of an incoming notification or batch and takes the propagation keys out of its context."""

    def before(self, server: Any, incoming: list[Any]) -> Processing:
        first = incoming[0].message
        system = names.broker(server.transport._driver)
        priority = priority_of(first)
        template = _destination(server, priority)
        attributes: dict[str, Any] = {
            "messaging.system": system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": template,
            **_described(first, priority),
        }
        asked: dict[str, str] = {}
        carriers = [_take_context(message) for message in incoming]
        if len(incoming) > 1:
            attributes["messaging.batch.message_count"] = len(incoming)
        elif isinstance(incoming[0].ctxt, dict):
            asked = names.identity(incoming[0].ctxt)
            attributes |= asked
        parent = carriers[0] if len(incoming) == 1 else None
        processing = Processing(system, template, priority)
        name = f"process {template}"
        operation = processing.operation = tracing.root(names.SCOPE, name, SpanKind.CONSUMER, attributes, parent)
        try:
            operation.totals.asked = asked
            if parent is None:
                _link(operation, carriers)
            CONSUMED.add(len(incoming), system, "process", template, None)
            processing.token = _current.set(processing)
            return processing
        except BaseException:
            operation.let_go()
            raise

    def finish(self, processing: Processing, result: Any, error: BaseException | None) -> None:
        failed = error if error is not None else processing.error
        seconds = processing.operation.finish(failed)
        if processing.token is not None:
            _current.reset(processing.token)
        kind = metrics.error_type(failed) if failed is not None else None
        PROCESSED.record(seconds, processing.system, "process", processing.template, processing.priority, kind)


def _destination(server: Any, priority: str | None) -> str:
    topics = {str(target.topic) for target in server.targets}
    topic = names.without_ids(topics.pop()) if len(topics) == 1 else "notifications"
    return f"{topic}.{priority}" if priority else topic


def _take_context(message: Any) -> dict[str, str]:
    carrier = names.carrier(message.ctxt)
    if carrier and isinstance(message.ctxt, dict):
        message.ctxt = names.stripped(message.ctxt, carrier)
    return carrier


def _link(operation: tracing.Operation, carriers: list[dict[str, str]]) -> None:
    for carrier in carriers:
        sender_span = trace.get_current_span(propagate.extract(carrier)).get_span_context()
        if sender_span.is_valid:
            operation.span.add_link(sender_span)


def watch_callback(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Put a callback that notes its exception into `_exec_callback(self, callback, message)`'s arguments."""
    dispatcher, callback, *rest = args
    return (dispatcher, _noting(callback), *rest), kwargs


def _noting(callback: Callable[..., Any]) -> Callable[..., Any]:
    processing = _current.get()
    if processing is None:
        return callback

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return callback(*args, **kwargs)
        except Exception as error:
            processing.error = error
            raise

    return call


PATCHES: tuple[Patch, ...] = (
    Patch(
        SEND,
        "oslo_messaging.transport",
        "Transport._send_notification",
        group="rpc",
        replace=sender(SEND, _begin, _finish),
    ),
    Patch(
        "oslo_messaging.notify.process",
        "oslo_messaging.notify.listener",
        "NotificationServer._process_incoming",
        group="rpc",
        hook=Process,
    ),
    Patch(
        "oslo_messaging.notify.process_batch",
        "oslo_messaging.notify.listener",
        "BatchNotificationServer._process_incoming",
        group="rpc",
        hook=Process,
    ),
    Patch(
        "oslo_messaging.notify.callback",
        "oslo_messaging.notify.dispatcher",
        "NotificationDispatcher._exec_callback",
        group="rpc",
        rewrite=watch_callback,
    ),
    Patch(
        "oslo_messaging.notify.batch_callback",
        "oslo_messaging.notify.dispatcher",
        "BatchNotificationDispatcher._exec_callback",
        group="rpc",
        rewrite=watch_callback,
    ),
)
