# SPDX-License-Identifier: Apache-2.0
"""Calls and casts on RabbitMQ: spans, metrics, context, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_openstack import tracing
from otel_openstack.testing import SpanView, Telemetry
from tests.messaging.bus import Bus
from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.servers


class UnexpectedError(Exception):
    pass


class Endpoint:
    """What a service exposes; it notes the contexts it was given."""

    def __init__(self, om: Any) -> None:
        self.om = om
        self.contexts: list[dict[str, Any]] = []
        self.served = threading.Semaphore(0)
        self.waiting = threading.Event()
        self.go = threading.Event()
        self.expecting = om.expected_exceptions(LookupError)(self._missing)

    def echo(self, ctxt: dict[str, Any], value: Any) -> Any:
        ctxt.pop("client_timeout", None)  # the driver's own, on RabbitMQ
        self.contexts.append(ctxt)
        self.served.release()
        return value

    def wait(self, ctxt: dict[str, Any]) -> None:
        self.waiting.set()
        assert self.go.wait(10)

    def fail(self, ctxt: dict[str, Any]) -> None:
        raise UnexpectedError("secret value")

    def key(self, ctxt: dict[str, Any]) -> None:
        raise KeyError("k")

    def _missing(self, ctxt: dict[str, Any]) -> None:
        raise LookupError("not here")


CONTEXT = {
    "user_id": "u1",
    "project_id": "p1",
    "request_id": "req-1",
    "global_request_id": "req-2",
    "auth_token": "gAAAAsecret",
    "user_name": "alice",
}


def serve(bus: Bus, topic: str = "compute", **options: Any) -> Endpoint:
    endpoint = Endpoint(bus.om)
    bus.serve(topic, endpoint, **options)
    return endpoint


def spans(seen: Telemetry, count: int) -> list[SpanView]:
    return seen.wait(lambda: seen.spans() if len(seen.spans()) >= count else None)


def by_kind(found: list[SpanView]) -> dict[str, SpanView]:
    assert len({span.kind for span in found}) == len(found), found
    return {span.kind: span for span in found}


@pytest.fixture(params=["fake", "rabbit"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return request.getfixturevalue(request.param)


def test_a_call_is_a_client_and_a_server_span_in_one_trace(bus: Bus, seen: Telemetry) -> None:
    endpoint = serve(bus)
    given = dict(CONTEXT)
    operation = tracing.root("test", "request", tracing_kind("SERVER"))
    assert bus.client("compute").call(given, "echo", value=7) == 7
    operation.finish()
    found = {span.name + span.kind: span for span in spans(seen, 3)}
    request, client, server = found["requestSERVER"], found["compute/echoCLIENT"], found["compute/echoSERVER"]
    assert {client.trace_id, server.trace_id} == {request.trace_id}
    assert client.parent == request.span_id
    assert server.parent == client.span_id
    assert server.parent_is_remote
    assert client.attributes == {
        "rpc.system.name": "oslo_messaging",
        "rpc.method": "compute/echo",
        "openstack.rpc.call.type": "call",
        "messaging.destination.name": "compute",
    }
    assert server.attributes.pop("openstack.request.queue_wait") < 5  # type: ignore[attr-defined]
    assert server.attributes == {
        "rpc.system.name": "oslo_messaging",
        "rpc.method": "compute/echo",
        "openstack.rpc.call.type": "call",
        "openstack.request_id": "req-1",
        "openstack.global_request_id": "req-2",
        "openstack.project_id": "p1",
        "openstack.user_id": "u1",
    }
    assert request.attributes["openstack.rpc.calls"] == 1
    # Neither the caller's context nor the endpoint's was touched by ours.
    assert given == CONTEXT
    assert endpoint.contexts == [CONTEXT]


def tracing_kind(name: str) -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind[name]


def test_a_call_is_measured_on_both_sides(bus: Bus, seen: Telemetry) -> None:
    serve(bus)
    bus.client("compute").call({}, "echo", value=1)
    spans(seen, 3)
    (client,) = seen.points("rpc.client.call.duration")
    assert client.attributes == {
        "rpc.system.name": "oslo_messaging",
        "rpc.method": "compute/echo",
        "openstack.rpc.call.type": "call",
    }
    (server,) = seen.wait(lambda: seen.points("rpc.server.call.duration"))
    assert server.attributes == client.attributes
    assert client.count == server.count == 1
    assert server.sum > 0
    assert seen.points("openstack.rpc.server.request.time_in_queue")[0].count == 1
    assert not seen.points("messaging.client.operation.duration")


@pytest.mark.parametrize(
    ("prepared", "operation", "template", "destination"),
    [
        ({}, "cast", "compute", "compute"),
        ({"server": "host1"}, "cast_to_server", "compute.{server}", "compute.host1"),
        ({"fanout": True}, "fanout_cast", "compute_fanout", "compute_fanout"),
        (
            {"fanout": True, "server": "host1"},
            "fanout_cast_to_server",
            "compute_fanout",
            "compute_fanout",
        ),
    ],
)
def test_a_cast_is_a_producer_and_a_consumer_span(
    bus: Bus, seen: Telemetry, prepared: dict[str, Any], operation: str, template: str, destination: str
) -> None:
    endpoint = serve(bus)
    bus.client("compute", **prepared).cast(CONTEXT, "echo", value=1)
    assert endpoint.served.acquire(timeout=10)
    found = by_kind(spans(seen, 3))
    producer, consumer = found["PRODUCER"], found["CONSUMER"]
    assert producer.name == "cast compute/echo"
    assert consumer.name == "process compute/echo"
    assert consumer.parent == producer.span_id
    system = producer.attributes["messaging.system"]
    assert producer.attributes == {
        "rpc.system.name": "oslo_messaging",
        "rpc.method": "compute/echo",
        "openstack.rpc.call.type": "fanout" if "fanout" in prepared else "cast",
        "messaging.destination.name": destination,
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": "send",
        "messaging.destination.template": template,
    }
    (sent,) = seen.points("messaging.client.operation.duration")
    assert sent.attributes == {
        "messaging.system": system,
        "messaging.operation.name": operation,
        "messaging.operation.type": "send",
        "messaging.destination.template": template,
    }
    assert consumer.attributes["openstack.rpc.call.type"] == "cast"
    (served,) = seen.wait(lambda: seen.points("rpc.server.call.duration"))
    assert served.attributes["openstack.rpc.call.type"] == "cast"
    assert not seen.points("rpc.client.call.duration")
    # A loose cast stands under a background root.
    assert found["INTERNAL"].attributes["openstack.rpc.calls"] == 1
    assert found["INTERNAL"].name == "startup " + found["INTERNAL"].name.partition(" ")[2]


def test_no_host_is_in_a_name_or_a_metric(rabbit: Bus, seen: Telemetry) -> None:
    endpoint = serve(rabbit, "agent.cn-0815", server="cn-0815")
    client = rabbit.client("agent.cn-0815", server="cn-0815")
    client.call({}, "echo", value=1)
    client.cast({}, "echo", value=1)
    rabbit.client("agent.cn-0815", fanout=True).cast({}, "echo", value=1)
    for _ in range(3):
        assert endpoint.served.acquire(timeout=10)
    assert not [span.name for span in spans(seen, 9) if "cn-0815" in span.name]
    for name in ("rpc.client.call.duration", "rpc.server.call.duration", "messaging.client.operation.duration"):
        points = seen.wait(lambda name=name: seen.points(name))
        assert not [point for point in points if "cn-0815" in str(point.attributes)]
    assert {point.attributes["rpc.method"] for point in seen.points("rpc.server.call.duration")} == {"agent/echo"}


def test_a_fanout_reaches_every_server_in_one_trace(rabbit: Bus, seen: Telemetry) -> None:
    endpoints = [serve(rabbit, server=f"host{number}") for number in range(3)]
    rabbit.client("compute", fanout=True).cast({}, "echo", value=1)
    for endpoint in endpoints:
        assert endpoint.served.acquire(timeout=10)
    found = spans(seen, 5)
    (producer,) = [span for span in found if span.kind == "PRODUCER"]
    consumers = [span for span in found if span.kind == "CONSUMER"]
    assert len(consumers) == 3
    assert {span.parent for span in consumers} == {producer.span_id}


def test_a_namespace_takes_the_place_of_the_topic(rabbit: Bus, seen: Telemetry) -> None:
    endpoint = Endpoint(rabbit.om)
    endpoint.target = rabbit.om.Target(namespace="state", version="1.2")  # type: ignore[attr-defined]
    rabbit.serve("reports", endpoint)
    rabbit.client("reports", namespace="state", version="1.1").call({}, "echo", value=1)
    assert {span.name for span in spans(seen, 3) if span.kind != "INTERNAL"} == {"state/echo"}


@pytest.mark.parametrize(
    ("method", "raised", "kind"),
    [
        ("fail", "RemoteError", f"{UnexpectedError.__module__}.{UnexpectedError.__qualname__}"),
        ("key", "KeyError", "KeyError"),
    ],
)
def test_an_error_of_the_endpoint(rabbit: Bus, seen: Telemetry, method: str, raised: str, kind: str) -> None:
    serve(rabbit)
    with pytest.raises((rabbit.om.RemoteError, KeyError)) as caught:
        rabbit.client("compute").call({}, method)
    assert type(caught.value).__name__ == raised
    found = by_kind(spans(seen, 3))
    for side in ("CLIENT", "SERVER"):
        assert found[side].status == "ERROR"
        assert found[side].attributes["error.type"] == kind
    assert found["CLIENT"].attributes["openstack.rpc.error.origin"] == "remote"
    # The server's traceback, which the remote error carries, does not leave with the client's span.
    assert not found["CLIENT"].events
    assert not found["CLIENT"].description
    (client,) = seen.points("rpc.client.call.duration")
    assert client.attributes["error.type"] == kind
    assert client.attributes["openstack.rpc.error.origin"] == "remote"
    (server,) = seen.wait(lambda: seen.points("rpc.server.call.duration"))
    assert server.attributes["error.type"] == kind
    assert not seen.points("openstack.rpc.client.timeouts")


def test_an_allowed_remote_class_is_told_without_the_suffix(rabbit: Bus, seen: Telemetry) -> None:
    rabbit.transport._driver._allowed_remote_exmods.append("oslo_messaging.exceptions")

    class Raises:
        def go(self, ctxt: Any) -> None:
            raise rabbit.om.MessagingTimeout("of a server further on")

    rabbit.serve("compute", Raises())
    with pytest.raises(rabbit.om.MessagingTimeout):
        rabbit.client("compute").call({}, "go")
    client = by_kind(spans(seen, 3))["CLIENT"]
    assert client.attributes["error.type"] == "oslo_messaging.exceptions.MessagingTimeout"
    assert client.attributes["openstack.rpc.error.origin"] == "remote"
    assert not seen.points("openstack.rpc.client.timeouts")  # not this call's own


def test_an_expected_exception_is_no_error_of_the_server(rabbit: Bus, seen: Telemetry) -> None:
    serve(rabbit)
    with pytest.raises(LookupError):
        rabbit.client("compute").call({}, "expecting")
    found = by_kind(spans(seen, 3))
    assert found["SERVER"].status == "UNSET"
    assert found["CLIENT"].attributes["error.type"] == "LookupError"
    (server,) = seen.wait(lambda: seen.points("rpc.server.call.duration"))
    assert "error.type" not in server.attributes


def test_an_unknown_method_is_other_on_the_server(rabbit: Bus, seen: Telemetry) -> None:
    serve(rabbit)
    for number in range(3):
        with pytest.raises(rabbit.om.RemoteError):
            rabbit.client("compute").call({}, f"hostile{number}")
    servers = [span for span in spans(seen, 9) if span.kind == "SERVER"]
    assert {span.name for span in servers} == {"_OTHER"}
    assert servers[0].attributes["rpc.method_original"] == "compute/hostile0"
    assert servers[0].attributes["error.type"] == "oslo_messaging.rpc.dispatcher.NoSuchMethod"
    (server,) = seen.wait(lambda: [p for p in seen.points("rpc.server.call.duration") if p.count == 3])
    assert server.attributes["rpc.method"] == "_OTHER"


def test_a_timeout(bus: Bus, seen: Telemetry) -> None:
    with pytest.raises(bus.om.MessagingTimeout):
        bus.client("nobody.host1", timeout=0.3).call({}, "echo", value=1)
    client = by_kind(spans(seen, 2))["CLIENT"]
    assert client.attributes["error.type"] == "oslo_messaging.exceptions.MessagingTimeout"
    assert client.attributes["openstack.rpc.error.origin"] == "local"
    (timeout,) = seen.points("openstack.rpc.client.timeouts")
    assert timeout.value == 1
    assert timeout.attributes == {"rpc.method": "nobody/echo", "messaging.destination.template": "nobody.{server}"}
    (point,) = seen.points("rpc.client.call.duration")
    assert point.attributes["error.type"] == "oslo_messaging.exceptions.MessagingTimeout"
    assert 0.25 < point.sum < 5


def test_the_wait_in_the_servers_queue_is_no_run_time(rabbit: Bus, seen: Telemetry) -> None:
    """One worker: the second call waits for the first to end, and runs for no time itself."""
    endpoint = serve(rabbit, workers=1)
    client = rabbit.client("compute")
    caller = threading.Thread(target=client.call, args=({}, "wait"))
    caller.start()
    assert endpoint.waiting.wait(10)
    client.cast({}, "echo", value=1)
    time.sleep(0.5)  # what is measured
    endpoint.go.set()
    caller.join(10)
    assert endpoint.served.acquire(timeout=10)
    consumer = seen.wait(lambda: [span for span in seen.spans() if span.kind == "CONSUMER"])[0]
    assert consumer.attributes["openstack.request.queue_wait"] > 0.3
    assert (consumer.end - consumer.start) / 1e9 < 0.3
    by_method = {p.attributes["rpc.method"]: p for p in seen.points("openstack.rpc.server.request.time_in_queue")}
    assert by_method["compute/echo"].sum > 0.3
    assert by_method["compute/wait"].sum < 0.3
    run = seen.wait(lambda: {p.attributes["rpc.method"]: p.sum for p in seen.points("rpc.server.call.duration")})
    assert run["compute/wait"] > 0.3
    assert run["compute/echo"] < 0.3


def test_the_work_of_an_endpoint_stands_under_its_server_span(rabbit: Bus, seen: Telemetry) -> None:
    class Conductor:
        def build(self, ctxt: Any) -> None:
            rabbit.client("compute").cast(ctxt, "echo", value=1)

    endpoint = serve(rabbit)
    rabbit.serve("conductor", Conductor())
    rabbit.client("conductor").call({}, "build")
    assert endpoint.served.acquire(timeout=10)
    found = {span.name + span.kind: span for span in spans(seen, 5)}
    server = found["conductor/buildSERVER"]
    assert found["cast compute/echoPRODUCER"].parent == server.span_id
    assert len({span.trace_id for span in found.values()}) == 1
    assert server.attributes["openstack.rpc.calls"] == 1


def test_a_context_from_a_stranger_is_read_without_harm(rabbit: Bus, seen: Telemetry) -> None:
    endpoint = serve(rabbit)
    strange = {"traceparent": ["00-x"], "tracestate": 7, "request_id": {"a": 1}, "user_id": "u" * 5000}
    rabbit.transport._driver.send(
        rabbit.om.Target(exchange=rabbit.exchange, topic="compute"), strange, {"method": "echo", "args": {"value": 1}}
    )
    assert endpoint.served.acquire(timeout=10)
    (consumer,) = spans(seen, 1)
    assert consumer.parent is None
    assert len(consumer.attributes["openstack.user_id"]) <= 120
    assert "openstack.request_id" not in consumer.attributes


def test_an_object_as_context_is_not_changed(rabbit: Bus, seen: Telemetry) -> None:
    class Context:
        def __init__(self) -> None:
            self.request_id = "req-9"

        def to_dict(self) -> dict[str, Any]:
            return vars(self)

    endpoint = serve(rabbit)
    given = Context()
    rabbit.client("compute").call(given, "echo", value=1)
    assert vars(given) == {"request_id": "req-9"}
    assert endpoint.contexts == [{"request_id": "req-9"}]
    found = by_kind(spans(seen, 3))
    assert found["SERVER"].parent == found["CLIENT"].span_id


def test_the_fake_driver_hands_over_the_very_object(fake: Bus, seen: Telemetry) -> None:
    """It serializes nothing: whoever tests a service with it compares what arrives with what was given."""

    class Context:
        def to_dict(self) -> dict[str, Any]:
            return {"request_id": "req-9"}

        def pop(self, *_key: Any) -> None:
            """Have nothing of the driver's; `Endpoint` takes that out."""

    endpoint = serve(fake)
    given = Context()
    fake.client("compute").call(given, "echo", value=1)
    assert endpoint.contexts == [given]
    assert {span.kind for span in spans(seen, 3)} >= {"CLIENT", "SERVER"}


def test_a_message_that_is_no_dict_is_sent(fake: Bus, seen: Telemetry) -> None:
    fake.transport._send(fake.om.Target(exchange="x", topic="compute"), {}, "text")
    (span,) = (span for span in spans(seen, 2) if span.kind == "PRODUCER")
    assert "compute" in span.name


def test_the_firehose_has_each_message_once_with_both_its_spans(rabbit: Bus, broker: RabbitMQ, seen: Telemetry) -> None:
    """The broker's own record: every request has one producing and, per delivery, one consuming span; replies none."""
    endpoint = serve(rabbit)
    received = threading.Semaphore(0)

    class Listener:
        def info(self, *args: Any) -> None:
            received.release()

    rabbit.listen("notifications", Listener())
    with broker.firehose() as firehose:
        for number in range(5):
            rabbit.client("compute").call({}, "echo", value=number)
            rabbit.client("compute", server="host1").cast({}, "echo", value=number)
            rabbit.client("compute", fanout=True).cast({}, "echo", value=number)
            rabbit.notifier("notifications").info({}, "test.event", {"number": number})
        for _ in range(15):
            assert endpoint.served.acquire(timeout=10)
        for _ in range(5):
            assert received.acquire(timeout=10)
        consuming = {"SERVER", "CONSUMER"}
        seen.wait(lambda: sum(span.kind in consuming for span in seen.spans()) >= 20)
        seen.wait(lambda: sum(not m.is_reply for m in firehose.messages("deliver")) >= 20)
        messages = firehose.messages()
    published = [m.traceparent for m in messages if m.kind == "publish" and not m.is_reply]
    delivered = [m.traceparent for m in messages if m.kind == "deliver" and not m.is_reply]
    produced = [identity(s) for s in seen.spans() if s.kind in {"CLIENT", "PRODUCER"}]
    consumed = [s for s in seen.spans() if s.kind in consuming]
    assert len(published) == len(set(published)) == 20
    assert sorted(str(parent) for parent in published) == sorted(produced)
    assert sorted(str(parent) for parent in delivered) == sorted(
        f"00-{span.trace_id:032x}-{span.parent:016x}-03" for span in consumed
    )
    replies = [m for m in messages if m.is_reply and m.kind == "publish"]
    assert len(replies) == 5
    assert not [m for m in replies if m.traceparent]
    # And our counters agree with the broker's.
    for name, kind in (
        ("messaging.client.sent.messages", "publish"),
        ("messaging.client.consumed.messages", "deliver"),
    ):
        number = sum(message.kind == kind for message in messages)
        seen.wait(lambda name=name, number=number: sum(p.value or 0 for p in seen.points(name)) == number)


def identity(span: SpanView) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-03"


def test_counters_of_messages(rabbit: Bus, seen: Telemetry) -> None:
    endpoint = serve(rabbit)
    rabbit.client("compute").call({}, "echo", value=1)
    rabbit.client("compute").cast({}, "echo", value=1)
    for _ in range(2):
        assert endpoint.served.acquire(timeout=10)
    seen.wait(lambda: len(seen.points("messaging.client.sent.messages")) == 3)

    def counted(name: str) -> set[tuple[Any, ...]]:
        keys = ("messaging.operation.name", "messaging.destination.template")
        return {(*(point.attributes[key] for key in keys), point.value) for point in seen.points(name)}

    assert counted("messaging.client.sent.messages") == {
        ("call", "compute", 1),
        ("cast", "compute", 1),
        ("reply", "reply_{id}", 1),
    }
    assert counted("messaging.client.consumed.messages") == {
        ("process", "compute", 2),
        ("receive", "reply_{id}", 1),
    }


def test_undo_leaves_the_library_as_it_was(broker: RabbitMQ, telemetry: Telemetry) -> None:
    from oslo_messaging import _tracing, transport
    from oslo_messaging._drivers import amqpdriver
    from oslo_messaging.rpc import dispatcher, server

    from tests.messaging.conftest import MODULES

    def state() -> list[Callable[..., Any]]:
        return [
            transport.Transport._send,
            transport.Transport._send_notification,
            _tracing.trace_send,
            _tracing.trace_receive,
            dispatcher.RPCDispatcher.dispatch,
            server.RPCServer._process_incoming,
            amqpdriver.AMQPIncomingMessage.reply,
        ]

    before = state()
    with telemetry.patched(*MODULES):
        assert not [new for new, old in zip(state(), before, strict=True) if new is old]
    assert state() == before
