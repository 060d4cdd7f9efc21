# SPDX-License-Identifier: Apache-2.0
"""RPC out: one span an operation, and context in the message.

By the conventions a call, which waits for its result, is RPC: CLIENT here, SERVER there, named by its method. A cast or
fanout is a message: PRODUCER here, CONSUMER there, named by operation and method, with the RPC attributes beside the
messaging ones. Both sides are in one trace, parent and child: whoever receives it works for whoever sent it.

The one hook is `Transport._send`: the same in every release, below the serializers (so the context is a plain dict that
we may copy) and above the drivers. A call is a CLIENT span until its reply; a cast is a PRODUCER span until the broker
has the message. oslo.messaging's own spans (18.3 on, by configuration) are replaced by nothing, so there is one span
whatever is configured; its wire format is the same as ours, so clouds with both connect.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import oslo_log
from otel_openstack.instrumentation import oslo_messaging_names as names
from otel_openstack.levels import Level
from otel_openstack.metrics.cells import Record
from otel_openstack.patching import Patch, finished, guard, inventory
from otel_openstack.patching.inventory import State
from otel_openstack.tracing.exceptions import REMOTE_TYPE

SEND = "oslo_messaging.rpc.send"

CALLS = metrics.histogram("rpc.client.call.duration")
TIMEOUTS = metrics.counter("openstack.rpc.client.timeouts")
SENDS = metrics.histogram("messaging.client.operation.duration")
MESSAGES = metrics.counter("messaging.client.sent.messages")
REPLY_WAIT = metrics.histogram("openstack.rpc.client.reply.wait.duration")
PACK = metrics.histogram("openstack.rpc.context.pack.duration")
UNPACK = metrics.histogram("openstack.rpc.context.unpack.duration")

# oslo.messaging's own spans.
OWN_TRACING = (("oslo_messaging.tracing.send", "trace_send"), ("oslo_messaging.tracing.receive", "trace_receive"))

MOST_ROUTES = 2000

Begin = Callable[..., tuple[Any, Any]]

# oslo.messaging's own tracing.
NATIVE = "oslo.messaging's tracing"
NATIVE_REASON = "its messages are traced already"
IN_PROCESS = "fake"  # the driver that hands objects over as they are
_nothing = contextlib.nullcontext()


class Route(NamedTuple):
    """What is the same for all messages of one method to one target, with what records those that went well."""

    span: str
    kind: SpanKind
    operation: str
    method: str
    system: str
    template: str
    attributes: dict[str, Any]
    took: Record
    sent: Record


class Sending(NamedTuple):
    """One message on its way."""

    operation: tracing.Operation
    route: Route


_routes: dict[tuple[Any, ...], Route] = {}


def _route(driver: Any, target: Any, message: Any, waits: bool) -> Route:
    # RPC's own messages are dicts; a transport sends whatever else it is given, too.
    fields = message if isinstance(message, dict) else {}
    scheme = getattr(getattr(driver, "_url", None), "transport", None)
    key = (scheme, target.topic, target.server, target.fanout, fields.get("namespace"), fields.get("method"), waits)
    found = _routes.get(key)
    if found is None:
        if len(_routes) >= MOST_ROUTES:
            _routes.clear()
        found = _routes[key] = _new_route(names.broker(driver), target, fields, waits)
    return found


def _new_route(system: str, target: Any, message: dict[str, Any], waits: bool) -> Route:
    destination, template = names.destination(target)
    method = names.method(message.get("namespace"), names.topic(target.topic).base, message.get("method"))
    attributes = {
        "rpc.system.name": names.SYSTEM,
        "rpc.method": method,
        "openstack.rpc.call.type": "call" if waits else "fanout" if target.fanout else "cast",
        "messaging.destination.name": destination,
    }
    if waits:
        took = CALLS.bind(names.SYSTEM, method, "call")
        sent = MESSAGES.bind(system, "call", template)
        return Route(method, SpanKind.CLIENT, "call", method, system, template, attributes, took, sent)
    operation = f"{'fanout_cast' if target.fanout else 'cast'}{'_to_server' if target.server else ''}"
    attributes |= {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": "send",
        "messaging.destination.template": template,
    }
    took = SENDS.bind(system, operation, "send", template)
    sent = MESSAGES.bind(system, operation, template)
    return Route(f"cast {method}", SpanKind.PRODUCER, operation, method, system, template, attributes, took, sent)


def with_context(operation: tracing.Operation, context: Any, system: str) -> Any:
    """Return the request context with the operation's propagation keys; the caller's own object stays as it is.

    Drivers take a dict or something with `to_dict`, which they make a dict of themselves: all but the fake one, whose
    receivers get the very object. Anything else is left alone.
    """
    if not isinstance(context, dict):
        to_dict = getattr(context, "to_dict", None)
        if to_dict is None or system == IN_PROCESS:
            return context
        context = to_dict()
    keys: dict[str, str] = {}
    operation.carrier_inject(keys)
    return {**context, **keys}


def _begin(
    transport: Any,
    target: Any,
    context: Any,
    message: Any,
    /,
    wait_for_reply: Any = None,
    *_args: Any,
    **_kwargs: Any,
) -> tuple[Sending, Any]:
    route = _route(transport._driver, target, message, bool(wait_for_reply))
    operation = tracing.child(names.SCOPE, route.span, route.kind, route.attributes)
    try:
        return Sending(operation, route), with_context(operation, context, route.system)
    except BaseException:
        operation.finish()
        raise


def _finish(sending: Sending, error: BaseException | None) -> None:
    operation, route = sending
    # Before the end: where there was no root, this operation's end is that of its background root too.
    operation.totals.add_rpc(perf_counter() - operation.start)
    if error is None:
        route.took(operation.finish())
        route.sent(1)
        return
    remote: str | None = getattr(error, REMOTE_TYPE, None)
    kind = remote or metrics.error_type(error)
    if route.operation == "call":
        origin = "remote" if remote else "local"
        # A remote error's message holds the server's traceback: only its type is told.
        seconds = operation.finish(remote or error, {"openstack.rpc.error.origin": origin})
        CALLS.record(seconds, names.SYSTEM, route.method, "call", origin, kind)
        if not remote and _timed_out(error):
            TIMEOUTS.add(1, route.method, route.template)
    else:
        seconds = operation.finish(error)
        SENDS.record(seconds, route.system, route.operation, "send", route.template, None, kind)
    MESSAGES.add(1, route.system, route.operation, route.template, None if remote else kind)


def _timed_out(error: BaseException) -> bool:
    from oslo_messaging import exceptions

    return isinstance(error, exceptions.MessagingTimeout)


def sender(name: str, begin: Begin, finish: Callable[[Any, BaseException | None], None]) -> Callable[[Any], Any]:
    """Return what wraps a method of Transport that sends: `begin` gives a state and the context to send instead."""
    watch = guard(name)

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def send(*args: Any, **kwargs: Any) -> Any:
            state = None
            if watch.on:
                try:
                    state, context = begin(*args, **kwargs)
                    args = (*args[:2], context, *args[3:])  # (transport, target, context, message, ...)
                except Exception as failure:
                    watch.failed("before", failure)
                except BaseException as error:  # as of a signal: nothing is sent
                    if state is not None:
                        finished(watch, state, finish, state, error)
                    raise
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if state is not None:
                    finished(watch, state, finish, state, error)
                raise
            if state is not None:
                finished(watch, state, finish, state, None)
            return result

        return send

    return replace


def _note_native(conf: Any) -> None:
    if getattr(getattr(conf, "oslo_messaging_tracing", None), "tracing_enabled", False):
        inventory.aside(NATIVE, NATIVE_REASON)


def _look_for_native(conf: Any) -> None:
    """Know of oslo.messaging's own tracing before the first message, so that the start-up line can tell.

    Where its options are of another configuration, the first message tells.
    """
    if {name for name, _ in OWN_TRACING} & set(inventory.names(State.ACTIVE)):
        _note_native(conf)


def no_span(name: str) -> Callable[[Any], Any]:
    """Return what stands in for oslo.messaging's own `trace_send` or `trace_receive`: the span is ours."""
    watch = guard(name)

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        unseen = [True]

        def note(conf: Any, *_args: Any, **_kwargs: Any) -> None:
            unseen.clear()
            _note_native(conf)

        @functools.wraps(original)
        def nothing(*args: Any, **kwargs: Any) -> Any:
            if not watch.on:
                return original(*args, **kwargs)
            if unseen:
                with watch:
                    note(*args, **kwargs)
            return _nothing

        return nothing

    return replace


class RemoteErrors:
    """Marks an exception that came back over the wire with the class it had at the server."""

    def before(self, data: Any, *_args: Any, **_kwargs: Any) -> Any:
        return data

    def finish(self, data: Any, result: Any, error: BaseException | None) -> None:
        if error is None and isinstance(result, BaseException):
            failure = json.loads(str(data))
            module, name = failure.get("module"), failure.get("class")
            told = name if module in {None, "builtins", "exceptions"} else f"{module}.{name}"
            with contextlib.suppress(AttributeError, TypeError):
                setattr(result, REMOTE_TYPE, str(told)[:200])


class ReplyWait:
    """Times the wait of one call for its reply."""

    def before(self, *_args: Any, **_kwargs: Any) -> float:
        return perf_counter()

    def finish(self, start: float, result: Any, error: BaseException | None) -> None:
        failed = error if error is not None else result if isinstance(result, BaseException) else None
        REPLY_WAIT.record(perf_counter() - start, "call", error_type(failed))


class Packing:
    """Times the packing of a request context into a message."""

    instrument = PACK

    def before(self, *_args: Any, **_kwargs: Any) -> float:
        return perf_counter()

    def finish(self, start: float, result: Any, error: BaseException | None) -> None:
        self.instrument.record(perf_counter() - start)


class Unpacking(Packing):
    """Times the unpacking of a request context from a message."""

    instrument = UNPACK


def error_type(error: BaseException | None) -> str | None:
    """Return the class of `error`, the server's own class if it is a remote one, or None."""
    if error is None:
        return None
    return getattr(error, REMOTE_TYPE, None) or metrics.error_type(error)


PATCHES: tuple[Patch, ...] = (
    Patch(SEND, "oslo_messaging.transport", "Transport._send", group="rpc", replace=sender(SEND, _begin, _finish)),
    *(
        Patch(name, "oslo_messaging._tracing", attribute, group="rpc", replace=no_span(name))
        for name, attribute in OWN_TRACING
    ),
    Patch(
        "oslo_messaging.rpc.remote_error",
        "oslo_messaging._drivers.common",
        "deserialize_remote_exception",
        group="rpc",
        hook=RemoteErrors,
    ),
    Patch(
        "oslo_messaging.rpc.reply_wait",
        "oslo_messaging._drivers.amqpdriver",
        "ReplyWaiter.wait",
        level=Level.DETAILED,
        group="rpc",
        hook=ReplyWait,
    ),
    Patch(
        "oslo_messaging.rpc.pack_context",
        "oslo_messaging._drivers.amqp",
        "pack_context",
        level=Level.DEEP,
        group="rpc",
        hook=Packing,
    ),
    Patch(
        "oslo_messaging.rpc.unpack_context",
        "oslo_messaging._drivers.amqp",
        "unpack_context",
        level=Level.DEEP,
        group="rpc",
        hook=Unpacking,
    ),
)


def install() -> None:
    """Look at the configuration when the service has read it."""
    _routes.clear()  # what it holds bound may be of other levels
    oslo_log.after_setup(_look_for_native)


def uninstall() -> None:
    """Look no longer."""
    oslo_log.forget(_look_for_native)
