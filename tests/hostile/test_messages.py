# SPDX-License-Identifier: Apache-2.0
"""Messages of other versions and of strangers: a server answers and fails as it does without us."""

from __future__ import annotations

import copy
import queue
import time
import warnings
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_openstack.patching.guard import failures
from otel_openstack.testing import recording
from tests.hostile import corpus

LONGEST = 5.0  # seconds; what is quadratic takes minutes
MOST_BYTES = 64 * 1024
MODULES = ("oslo_messaging_client", "oslo_messaging_server", "oslo_messaging_notify")


class Endpoint:
    """Tells what it is called with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def echo(self, context: Any, value: Any) -> Any:
        self.seen.append(copy.copy(context))
        return value

    def fail(self, context: Any, value: Any) -> None:
        raise KeyError(value)

    def info(self, context: Any, publisher: Any, event: Any, payload: Any, metadata: Any) -> None:
        self.seen.append((copy.copy(context), publisher, event, payload, metadata))

    def sample(self, messages: list[Any]) -> None:
        self.seen.append(copy.copy(messages))

    warn = error = critical = audit = debug = info


class Server:
    """An RPC server, a notification listener and one for batches; messages are put into their hands."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries' own imports
            import oslo_messaging
            from oslo_config import cfg
            from oslo_messaging._drivers import impl_fake

        cfg.CONF([])
        self.incoming = impl_fake.FakeIncomingMessage
        self.endpoint = Endpoint()
        target = oslo_messaging.Target(topic="compute", server="host1")
        rpc, notifications = (
            oslo_messaging.get_rpc_transport(cfg.CONF, "fake:/"),
            oslo_messaging.get_notification_transport(cfg.CONF, "fake:/"),
        )
        self.rpc = oslo_messaging.get_rpc_server(rpc, target, [self.endpoint])
        listen = (notifications, [target], [self.endpoint])
        self.listener = oslo_messaging.get_notification_listener(*listen)
        self.batches = oslo_messaging.get_batch_notification_listener(*listen, batch_size=2)

    def answer(self, server: Any, waits: bool, *messages: tuple[Any, Any]) -> Any:
        """Return what the endpoints saw, what was replied, and the exception that came out."""
        self.endpoint.seen.clear()
        replies: queue.Queue[Any] = queue.Queue()
        made = [
            self.incoming(copy.deepcopy(context), copy.deepcopy(body), replies if waits else None, lambda: None)
            for context, body in messages
        ]
        raised = None
        try:
            server._process_incoming(made)
        except Exception as error:
            raised = (type(error), str(error))
        told = [(result, type(error), str(error)) for result, error in list(replies.queue)]
        return list(self.endpoint.seen), told, raised


@pytest.fixture(scope="module")
def both():
    """The server without us and with us."""
    plain = Server()
    with recording() as telemetry, telemetry.patched(*MODULES):
        yield plain, telemetry


def without_keys(seen: Any) -> Any:
    """Return contexts as endpoints get them from us: the propagation keys are ours, and taken out."""
    if isinstance(seen, dict):
        return {
            key: without_keys(value)
            for key, value in seen.items()
            if key not in ("traceparent", "tracestate", "baggage")
        }
    return type(seen)(map(without_keys, seen)) if isinstance(seen, list | tuple) else seen


def same(both: Any, kind: str, waits: bool, *messages: tuple[Any, Any]) -> None:
    server, telemetry = both
    target = getattr(server, kind)
    start = time.monotonic()
    ours = server.answer(target, waits, *messages)
    assert time.monotonic() - start < LONGEST
    with_us = without_keys(ours)
    telemetry_spans = telemetry.provider.queue.take(9)
    method = type(target)._process_incoming
    original = method.__wrapped__
    type(target)._process_incoming = original
    try:
        theirs = server.answer(target, waits, *messages)
    finally:
        type(target)._process_incoming = method
    telemetry.provider.queue.take(9)
    assert with_us == without_keys(theirs)
    assert failures() == {}
    assert all(span._weight < MOST_BYTES for span in telemetry_spans)


def test_contexts_of_rpc(both):
    for context in corpus.CONTEXTS:
        for waits in (True, False):
            same(both, "rpc", waits, (context, corpus.BODIES[0]))


def test_bodies_of_rpc(both):
    for body in (*corpus.BODIES, *corpus.BROKEN):
        same(both, "rpc", True, ({"traceparent": corpus.PARENT}, body))


def test_notifications(both):
    for context in corpus.CONTEXTS:
        same(both, "listener", False, (context, corpus.PAYLOADS[0]))
        same(both, "batches", False, (context, corpus.PAYLOADS[0]), ({}, corpus.PAYLOADS[0]))
    for payload in corpus.PAYLOADS:
        same(both, "listener", False, ({}, payload))


values = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=200),
    st.text("0123456789abcdef-, \t\n=", max_size=200),
    st.binary(max_size=9),
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.one_of(
            st.sampled_from(["traceparent", "tracestate", "baggage", "request_id", "project_id"]), st.text(max_size=9)
        ),
        st.one_of(values, st.lists(values, max_size=3), st.dictionaries(st.text(max_size=3), values, max_size=2)),
        max_size=6,
    ),
    st.sampled_from(["rpc", "listener"]),
)
@example({"traceparent": corpus.PARENT, "baggage": "\ud800=1"}, "rpc")
def test_random_contexts(both, context, kind):
    same(both, kind, True, (context, corpus.BODIES[0] if kind == "rpc" else corpus.PAYLOADS[0]))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "null",
        "5",
        "[]",
        "{}",
        "{",
        '{"class": 5}',
        '{"class": "KeyError", "module": "builtins", "message": 5}',
        "x" * 100_000,
    ],
)
def test_failures_that_come_as_a_reply(both, data):
    """What the driver makes of a reply's failure is what it makes of it without us, an exception of its own with it."""
    from oslo_messaging._drivers import common

    def outcome(function):
        try:
            made = function(data, [])
        except Exception as error:
            made = error
        return type(made).__name__, str(made)

    assert outcome(common.deserialize_remote_exception) == outcome(common.deserialize_remote_exception.__wrapped__)
