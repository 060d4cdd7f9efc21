# SPDX-License-Identifier: Apache-2.0
"""RPC in: one SERVER span a call, one CONSUMER span a cast, over acknowledgement, dispatch and reply.

The span and rpc.server.call.duration begin where a worker takes the message; the wait between its arrival in the
process and that moment is a histogram of its own and `openstack.request.queue_wait` on the span. Endpoint exceptions
are caught inside `_process_incoming`, so they are read where they pass, at the dispatcher. A server cannot tell a
fanout from another cast: both are `cast` here.
"""

from __future__ import annotations

import functools
import sys
from time import perf_counter
from typing import Any, NamedTuple

from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import oslo_messaging_names as names
from otel_openstack.metrics.cells import Record
from otel_openstack.patching import Patch
from otel_openstack.tracing import asking

DURATION = metrics.histogram("rpc.server.call.duration")
WAIT = metrics.histogram("openstack.rpc.server.request.time_in_queue")
REPLY = metrics.histogram("openstack.rpc.server.reply.duration")
REPLY_ERRORS = metrics.counter("openstack.rpc.server.reply.errors")
SENT = metrics.counter("messaging.client.sent.messages")
CONSUMED = metrics.counter("messaging.client.consumed.messages")

UNKNOWN_METHOD = "_OTHER"
LATE_REPLY = "late_reply"
REPLY_TEMPLATE = "reply_{id}"
AMQP = "rabbitmq"  # the only broker whose driver waits for replies in this way
REPLY_QUEUE_GONE = "oslo_messaging.exceptions.MessageUndeliverable"

# Attributes of ours on oslo.messaging's own objects, which last as long as a message or a dispatcher.
ARRIVAL = "_otel_openstack_arrival"
SERVING = "_otel_openstack_serving"
METHODS = "_otel_openstack_methods"

_MOST_METHODS = 1000


class Service(NamedTuple):
    """What is the same for all messages of one method to one topic, with what records those that went well."""

    method: str
    call_type: str
    system: str
    span: str
    kind: SpanKind
    attributes: dict[str, Any]
    waited: Record
    consumed: Record
    took: Record


class Serving:
    """One message at work."""

    __slots__ = ("error", "operation", "service")

    operation: tracing.Operation  # set when all else is known, since it is current from then on

    def __init__(self, service: Service) -> None:
        self.service = service
        self.error: BaseException | None = None


_services: dict[tuple[Any, ...], Service] = {}


def stamp_arrival(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Note on each message handed to the executor that it is here."""
    now = perf_counter()
    for message in args[1] if len(args) > 1 else kwargs["incoming"]:
        setattr(message, ARRIVAL, now)
    return args, kwargs


def waited(message: Any) -> float:
    """Return the seconds since the message came into this process.

    AMQP messages have a watch that runs since they were read, before the listener handed them on.
    """
    watch = getattr(message, "stopwatch", None)
    if watch is not None:
        return float(watch.elapsed())
    arrival: float | None = getattr(message, ARRIVAL, None)
    return 0.0 if arrival is None else max(0.0, perf_counter() - arrival)


def serves(dispatcher: Any, method: object) -> bool:
    """Return whether an endpoint of the dispatcher has `method`: what is found once is not looked up again."""
    known: set[str] | None = getattr(dispatcher, METHODS, None)
    if known is None:
        known = set()
        setattr(dispatcher, METHODS, known)
    if not isinstance(method, str):
        return False
    if method in known:
        return True
    if not any(hasattr(endpoint, method) for endpoint in dispatcher.endpoints):
        return False
    if len(known) < _MOST_METHODS:
        known.add(method)
    return True


class Process:
    """Opens the span of an incoming message and takes the propagation keys out of its context."""

    def before(self, server: Any, incoming: list[Any]) -> Serving:
        message = incoming[0]
        wait = waited(message)
        body, context = message.message, message.ctxt
        if not isinstance(body, dict):  # of a stranger: the server will fail on it
            body = {}
        service = _service(server, message, body)
        carrier = names.carrier(context)
        if carrier and isinstance(context, dict):
            message.ctxt = names.stripped(context, carrier)
        describe = functools.partial(_attributes, service, server, body, context)
        serving = Serving(service)
        serving.operation = tracing.root(names.SCOPE, service.span, service.kind, None, carrier, describe=describe)
        try:
            operation = serving.operation
            totals = operation.totals
            totals.queue_wait, totals.asked = wait, (names.told, (context, body.get("args")))
            service.waited(wait)
            service.consumed(1)
            setattr(message, SERVING, serving)
            return serving
        except BaseException:
            serving.operation.let_go()
            raise

    def finish(self, serving: Serving, result: Any, error: BaseException | None) -> None:
        failed, service = error if error is not None else serving.error, serving.service
        seconds = serving.operation.finish(failed)
        if failed is None and not DURATION.dimensions:
            service.took(seconds)
            return
        kind = metrics.error_type(failed) if failed is not None else None
        labels: tuple[str | None, ...] = (names.SYSTEM, service.method, service.call_type, kind)
        if DURATION.dimensions:
            labels += asking.values_for(serving.operation.totals, DURATION.dimensions)
        DURATION.record(seconds, *labels)


def _service(server: Any, message: Any, body: dict[str, Any]) -> Service:
    method, namespace = body.get("method"), body.get("namespace")
    waits = bool(getattr(message, "reply_q", None) or getattr(message, "_reply_q", None))
    if not serves(server.dispatcher, method):
        method = namespace = None
    elif not isinstance(namespace, str):
        namespace = str(namespace) if namespace else None
    driver, topic = server.transport._driver, server._target.topic
    key = (getattr(getattr(driver, "_url", None), "transport", None), topic, namespace, method, waits)
    found = _services.get(key)
    if found is None:
        if len(_services) >= _MOST_METHODS:
            _services.clear()
        found = _services[key] = _new_service(names.broker(driver), topic, namespace, method, waits)
    return found


def _new_service(system: str, topic: Any, namespace: str | None, known: str | None, waits: bool) -> Service:
    base, template = names.topic(topic)
    method = names.method(namespace, base, known) if known is not None else UNKNOWN_METHOD
    call_type = "call" if waits else "cast"
    attributes: dict[str, Any] = {
        "rpc.system.name": names.SYSTEM,
        "rpc.method": method,
        "openstack.rpc.call.type": call_type,
    }
    if not waits:
        attributes |= {
            "messaging.system": system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": str(topic),
        }
    return Service(
        method,
        call_type,
        system,
        method if waits else f"process {method}",
        SpanKind.SERVER if waits else SpanKind.CONSUMER,
        attributes,
        WAIT.bind(names.SYSTEM, method, call_type),
        CONSUMED.bind(system, "process", template),
        DURATION.bind(names.SYSTEM, method, call_type),
    )


def _attributes(service: Service, server: Any, body: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the attributes of one message's span."""
    attributes = service.attributes.copy()
    if service.method is UNKNOWN_METHOD:
        base = names.topic(server._target.topic).base
        attributes["rpc.method_original"] = names.method(body.get("namespace"), base, body.get("method"))
    attributes |= names.told((context, body.get("args")))
    return attributes


class Dispatch:
    """Reads the exception of an endpoint, which the server swallows; an expected one is no error."""

    def before(self, dispatcher: Any, incoming: Any) -> Serving | None:
        return getattr(incoming, SERVING, None)

    def finish(self, serving: Serving, result: Any, error: BaseException | None) -> None:
        if error is not None and not _expected(error):
            serving.error = error


def _expected(error: BaseException) -> bool:
    from oslo_messaging.rpc import dispatcher

    return isinstance(error, dispatcher.ExpectedException)


class Reply:
    """Times and counts the reply to a call, repetitions included; a cast has none."""

    def before(self, message: Any, *_args: Any, **_kwargs: Any) -> tuple[float, str] | None:
        if not getattr(message, "orig_msg_id", None):
            return None
        return perf_counter(), names.broker(message.listener.driver)

    def finish(self, state: tuple[float, str], result: Any, error: BaseException | None) -> None:
        start, system = state
        kind = metrics.error_type(error) if error is not None else None
        if REPLY.enabled:
            REPLY.record(perf_counter() - start, kind)
        SENT.add(1, system, "reply", REPLY_TEMPLATE, kind)
        if kind is not None:
            REPLY_ERRORS.add(1, kind)


class AbandonedReply:
    """Counts a reply that is given up since its queue is gone: it is logged there, and nowhere raised."""

    def before(self, *_args: Any, **_kwargs: Any) -> None:
        error = sys.exc_info()[1]
        REPLY_ERRORS.add(1, metrics.error_type(error) if error is not None else REPLY_QUEUE_GONE)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Nothing: `before` has counted."""


class ReplyReceived:
    """Counts the replies that come, and those for which nobody waits any more."""

    def before(self, waiters: Any, msg_id: Any, message_data: Any) -> None:
        CONSUMED.add(1, AMQP, "receive", REPLY_TEMPLATE, None)
        if msg_id not in waiters._queues:
            REPLY_ERRORS.add(1, LATE_REPLY)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Nothing: `before` has counted."""


_DRIVER = "oslo_messaging._drivers.amqpdriver"

PATCHES: tuple[Patch, ...] = (
    Patch(
        "oslo_messaging.server.arrival",
        "oslo_messaging.server",
        "MessageHandlingServer._on_incoming",
        group="rpc",
        rewrite=stamp_arrival,
    ),
    Patch(
        "oslo_messaging.rpc.process",
        "oslo_messaging.rpc.server",
        "RPCServer._process_incoming",
        group="rpc",
        hook=Process,
    ),
    Patch(
        "oslo_messaging.rpc.dispatch",
        "oslo_messaging.rpc.dispatcher",
        "RPCDispatcher.dispatch",
        group="rpc",
        hook=Dispatch,
    ),
    Patch("oslo_messaging.rpc.reply", _DRIVER, "AMQPIncomingMessage.reply", group="rpc", hook=Reply),
    Patch(
        "oslo_messaging.rpc.reply_abandoned",
        _DRIVER,
        "ObsoleteReplyQueuesCache._no_reply_log",
        group="rpc",
        hook=AbandonedReply,
    ),
    Patch("oslo_messaging.rpc.reply_received", _DRIVER, "ReplyWaiters.put", group="rpc", hook=ReplyReceived),
)


def install() -> None:
    """Forget what was bound before: it may be of other levels."""
    _services.clear()


def uninstall() -> None:
    """Nothing: what is kept is bounded."""
