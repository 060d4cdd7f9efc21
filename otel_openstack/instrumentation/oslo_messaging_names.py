# SPDX-License-Identifier: Apache-2.0
"""Names of low cardinality for what oslo.messaging addresses: topics, methods, brokers, and context on the wire.

A topic may hold a host or an id (`compute.host1`, `q-agent-notifier-port-update.host1`, `guestagent.<uuid>`). Neither
belongs into a span's name or a metric: what follows the first dot becomes `{server}`, ids become `{id}`.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry import propagate

from otel_openstack.pattern import Pattern
from otel_openstack.tracing import inbound, propagators

SCOPE = "otel_openstack.oslo_messaging"
SYSTEM = "oslo_messaging"

# Topics that hold a dot of their own; what follows them is a server.
DOTTED_TOPICS = (
    "blazar.manager",
    "ironic.conductor_manager",
    "watcher.applier.control",
    "watcher.decision.control",
    "watcher.decision.status",
)

# What a transport URL calls the broker, and what the conventions call it.
BROKERS = {"rabbit": "rabbitmq", "kombu": "rabbitmq", "amqp": "amqp", "kafka": "kafka", "fake": "fake"}

# Of the request context that travels with a message, and the span attributes they become: never names, never tokens.
IDENTITY = (
    ("request_id", "openstack.request_id"),
    ("global_request_id", "openstack.global_request_id"),
    ("project_id", "openstack.project_id"),
    ("user_id", "openstack.user_id"),
    ("domain", "openstack.domain_id"),
)
# Where else it may be, the first one counts: oslo.context's own names, services' own.
OTHERWISE = (
    ("user", "openstack.user_id"),
    ("project", "openstack.project_id"),
    ("domain_id", "openstack.domain_id"),
    ("project_domain", "openstack.domain_id"),
    ("user_domain", "openstack.domain_id"),
)
INSTANCE = "openstack.instance_id"

# Neutron's versioned objects have a topic for each type and version: `neutron-vo-Port-1.11`.
VERSIONED_TOPIC = Pattern(r"neutron-vo-\w+-\d+\.\d+")

_ID = Pattern(r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(?![0-9a-fA-F])")
_MOST = 1000  # topics remembered
_SHORTEST_HOST = 3  # a shorter host name is likely a part of a word
_LONGEST = 120  # characters of a name taken from a message


class Topic(NamedTuple):
    """A topic without its server, and with `{server}` in its place."""

    base: str
    template: str


_topics: dict[str, Topic] = {}
_fields: tuple[object, frozenset[str]] = (None, frozenset())


def topic(name: object) -> Topic:
    """Return the low-cardinality forms of the topic called `name`."""
    if not isinstance(name, str) or not name:
        return Topic("unknown", "unknown")
    found = _topics.get(name)
    if found is None:
        if len(_topics) >= _MOST:
            _topics.clear()
        found = _topics[name] = _parse(name)
    return found


def _parse(name: str) -> Topic:
    for known in DOTTED_TOPICS:
        if name == known or name.startswith(f"{known}."):
            return Topic(known, known if name == known else f"{known}.{{server}}")
    if VERSIONED_TOPIC.fullmatch(name):
        return Topic(name, name)
    head, dot, _ = name.partition(".")
    base = without_ids(head)
    return Topic(base, f"{base}.{{server}}" if dot else base)


def without_ids(name: str) -> str:
    """Return `name`, bounded, with ids as `{id}` and this host's name as `{server}`."""
    host = socket.gethostname()
    found = _ID.sub("{id}", name[:_LONGEST])
    return found.replace(host, "{server}") if len(host) > _SHORTEST_HOST else found


def destination(target: Any) -> tuple[str, str]:
    """Return where a message to `target` goes: the name on the broker, and its template."""
    name, template = str(target.topic), topic(target.topic).template
    if target.fanout:
        return f"{name}_fanout", f"{template}_fanout"
    if target.server:
        return f"{name}.{target.server}", template if template.endswith("{server}") else f"{template}.{{server}}"
    return name, template


def method(namespace: object, topic_base: str, name: object) -> str:
    """Return the fully qualified name of an RPC method: `{namespace, else topic}/{method}`."""
    return f"{namespace or topic_base}/{name}"[:_LONGEST]


def broker(driver: Any) -> str:
    """Return the messaging.system behind a driver of oslo.messaging."""
    url = getattr(driver, "_url", None)
    return broker_of(url)


def broker_of(url: Any) -> str:
    """Return the messaging.system that a TransportURL names."""
    return _system(getattr(url, "transport", None))


@functools.lru_cache(64)
def _system(transport: object) -> str:
    scheme = str(transport or "unknown").split("+", 1)[0]
    return BROKERS.get(scheme, scheme)


def identity(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the span attributes that a request context on the wire tells."""
    found = {}
    for key, attribute in IDENTITY:
        value = context.get(key)
        if isinstance(value, str):
            found[attribute] = value[:_LONGEST]
    if len(found) < len(IDENTITY):
        for key, attribute in OTHERWISE:
            if key in context and attribute not in found and isinstance(context[key], str):
                found[attribute] = context[key][:_LONGEST]
    return found


def told(message: tuple[Any, Any]) -> dict[str, str]:
    """Return whom a message is for, by its request context and its arguments."""
    context, arguments = message
    if not isinstance(context, dict):
        return {}
    found = identity(context)
    if isinstance(arguments, dict) and ("instance" in arguments or "instance_uuid" in arguments):
        found.update(instance(arguments))
    return found


def instance(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return which server a message is about, where one of nova's methods is called with it."""
    given = arguments.get("instance")
    if isinstance(given, dict):  # a versioned object on the wire
        data = given.get("nova_object.data")
        given = data.get("uuid") if isinstance(data, dict) else None
    else:
        given = arguments.get("instance_uuid")
    return {INSTANCE: given} if isinstance(given, str) and _ID.fullmatch(given) else {}


def fields() -> frozenset[str]:
    """Return the keys that the propagator in force uses; asked for once, a composite one joins sets for it."""
    global _fields
    propagator = propagate.get_global_textmap()
    if _fields[0] is not propagator:
        _fields = propagator, frozenset(propagator.fields)
    return _fields[1]


def carrier(context: Any) -> dict[str, str]:
    """Return the propagation keys of a context off the wire; what is no string there is not trusted."""
    if not isinstance(context, Mapping):
        return {}
    parent = context.get("traceparent")
    # The usual case: a parent of the usual form, which needs no bounds, and nothing else that propagators know.
    if (
        type(parent) is str
        and len(parent) == propagators.PARENT_LENGTH
        and parent.isascii()
        and "tracestate" not in context
        and "baggage" not in context
        and propagators.usual()
    ):
        return {"traceparent": parent}
    found = {}
    for key in fields():
        given = context.get(key)
        if given is not None and (value := inbound.header(key, given)) is not None:
            found[key] = value
    return found


def stripped(context: dict[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return a copy of `context` without the propagation keys: endpoints see the context that the caller gave."""
    copy = dict(context)
    for key in keys:
        del copy[key]
    return copy
