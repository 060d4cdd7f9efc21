# SPDX-License-Identifier: Apache-2.0
"""What the levels add, the connection pool, replies, and oslo.messaging's own tracing switched on."""

from __future__ import annotations

import contextlib
import gc
import threading
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State
from otel_openstack.settings import Settings
from otel_openstack.testing import Telemetry, recording
from tests.messaging.bus import Bus
from tests.messaging.conftest import MODULES
from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.servers

DETAILED = ("openstack.rpc.client.reply.wait.duration", "openstack.rpc.server.reply.duration")
DEEP = ("openstack.rpc.context.pack.duration", "openstack.rpc.context.unpack.duration")


class Endpoint:
    def echo(self, ctxt: Any, value: Any) -> Any:
        return value


@contextlib.contextmanager
def running(broker: RabbitMQ, level: str) -> Iterator[tuple[Telemetry, Bus]]:
    with recording(Settings(strict=True, level=level)) as telemetry, telemetry.patched(*MODULES):
        with contextlib.closing(Bus(broker.url, f"t{uuid.uuid4().hex[:8]}")) as bus:
            bus.serve("compute", Endpoint())
            yield telemetry, bus


@pytest.mark.parametrize(("level", "names"), [("basic", ()), ("detailed", DETAILED), ("deep", DETAILED + DEEP)])
def test_a_level_adds_its_measurements(broker: RabbitMQ, level: str, names: tuple[str, ...]) -> None:
    with running(broker, level) as (telemetry, bus):
        bus.client("compute").call({}, "echo", value=1)
        telemetry.wait(lambda: telemetry.points("rpc.server.call.duration"))
        for name in DETAILED + DEEP:
            assert [point.count for point in telemetry.points(name)] == ([1] if name in names else []), name
        active = inventory.names(inventory.State.ACTIVE)
        assert ("oslo_messaging.rpc.pack_context" in active) is (level == "deep")


def test_the_connection_pool_is_read_at_collection(broker: RabbitMQ) -> None:
    with running(broker, "basic") as (telemetry, bus):

        def states() -> dict[str, float]:
            points = telemetry.points("openstack.messaging.client.connection.count")
            assert {point.attributes["messaging.system"] for point in points} <= {"rabbitmq"}
            return {point.attributes["openstack.pool.state"]: point.value or 0 for point in points}

        bus.client("compute").call({}, "echo", value=1)
        pool = bus.transport._driver._connection_pool
        telemetry.wait(lambda: states() == {"used": 0, "idle": len(pool._items)})
        used = [pool.get() for _ in range(3)]
        assert states() == {"used": 3, "idle": 0}
        for connection in used:
            pool.put(connection)
        assert states() == {"used": 0, "idle": 3}
        (limit,) = telemetry.points("openstack.messaging.client.connection.max")
        assert limit.value == 60  # two transports of 30
        assert limit.attributes == {"messaging.system": "rabbitmq", "server.address": "127.0.0.1"}
        assert pool is not None
        bus.notifications.cleanup()
        bus.transport.cleanup()
        assert states() == {}


def test_callers_that_wait_for_a_connection(seen: Telemetry) -> None:
    from oslo_messaging._drivers import pool

    class Connections(pool.ConnectionPool):
        def create(self, *args: Any, **kwargs: Any) -> object:
            return object()

    made = Connections(None, 1, 0, 60, SimpleNamespace(transport="rabbit", hosts=[]), None)
    held = made.get()
    waiter = threading.Thread(target=made.get)
    waiter.start()
    try:

        def waiting() -> list[float | None]:
            points = seen.points("openstack.pool.pending_requests")
            return [p.value for p in points if p.attributes["openstack.pool.type"] == "connection"]

        assert seen.wait(lambda: waiting() == [1])
    finally:
        made.put(held)
        waiter.join(10)
    assert waiting() == [0]
    del made, waiter
    gc.collect()  # a pool refers to itself
    assert not seen.points("openstack.messaging.client.connection.max")


def test_a_reply_that_nobody_waits_for_any_more(broker: RabbitMQ) -> None:
    with running(broker, "basic") as (telemetry, bus):
        go = threading.Event()

        class Slow:
            def slow(self, ctxt: Any) -> None:
                assert go.wait(10)

        bus.serve("slow", Slow())
        with pytest.raises(bus.om.MessagingTimeout):
            bus.client("slow", timeout=0.3).call({}, "slow")
        go.set()
        (late,) = telemetry.wait(lambda: telemetry.points("openstack.rpc.server.reply.errors"))
        assert late.attributes == {"error.type": "late_reply"}
        assert late.value == 1


def test_a_reply_that_cannot_be_sent(broker: RabbitMQ) -> None:
    with running(broker, "detailed") as (telemetry, bus):

        class Vanishing:
            def go(self, ctxt: Any) -> None:
                """Return to a queue that is not there."""

        bus.serve("vanishing", Vanishing())
        bus.transport._driver.missing_destination_retry_timeout = 0
        message = {
            "method": "go",
            "args": {},
            "_msg_id": "1",
            "_reply_q": "reply_gone",
            "_timeout": None,
        }
        bus.transport._driver.send(bus.om.Target(exchange=bus.exchange, topic="vanishing"), {}, message)
        (error,) = telemetry.wait(lambda: telemetry.points("openstack.rpc.server.reply.errors"))
        assert error.attributes["error.type"].startswith("oslo_messaging.")
        assert error.value == 1


def test_its_own_tracing_switched_on_makes_no_second_span(broker: RabbitMQ) -> None:
    with running(broker, "basic") as (telemetry, bus):
        bus.conf.set_override("tracing_enabled", True, "oslo_messaging_tracing")
        try:
            bus.client("compute").call({}, "echo", value=1)
            found = telemetry.wait(lambda: telemetry.spans() if len(telemetry.spans()) >= 3 else None)
        finally:
            bus.conf.clear_override("tracing_enabled", "oslo_messaging_tracing")
    assert sorted(span.kind for span in found) == ["CLIENT", "INTERNAL", "SERVER"]
    assert "oslo.messaging's tracing" in inventory.names(State.ASIDE)


def test_a_context_that_its_own_tracing_sent_is_our_parent(broker: RabbitMQ) -> None:
    with running(broker, "basic") as (telemetry, bus), native_tracing(bus) as native:
        target = bus.om.Target(exchange=bus.exchange, topic="compute")
        context: dict[str, Any] = {}
        with native.trace_send(bus.conf, target, "echo", "cast", context):
            bus.transport._driver.send(target, context, {"method": "echo", "args": {"value": 1}})
        found = telemetry.wait(lambda: telemetry.spans() if len(telemetry.spans()) >= 2 else None)
    (sender,) = [span for span in found if span.kind == "PRODUCER"]
    (consumer,) = [span for span in found if span.kind == "CONSUMER"]
    assert sender.name == "compute.echo"
    assert consumer.name == "process compute/echo"
    assert (consumer.trace_id, consumer.parent) == (sender.trace_id, sender.span_id)


def test_a_context_that_we_sent_is_the_parent_of_its_own_tracing(broker: RabbitMQ) -> None:
    with running(broker, "basic") as (telemetry, bus), native_tracing(bus) as native:
        with broker.firehose() as firehose:
            bus.client("compute").cast({}, "echo", value=1)
            (message,) = telemetry.wait(lambda: firehose.messages("publish"))
        incoming = SimpleNamespace(ctxt={"traceparent": message.traceparent}, message=message.body, msg_id=None)
        with native.trace_receive(bus.conf, incoming):
            pass
        receiver = telemetry.span("echo receive")
        (sender,) = [span for span in telemetry.spans() if span.kind == "PRODUCER"]
    assert (receiver.trace_id, receiver.parent) == (sender.trace_id, sender.span_id)


@contextlib.contextmanager
def native_tracing(bus: Bus) -> Iterator[Any]:
    """The library's own functions, switched on: what a service without us has."""
    from oslo_messaging._tracing import client as native

    bus.conf.set_override("tracing_enabled", True, "oslo_messaging_tracing")
    native._TRACER = None
    try:
        yield native
    finally:
        native._TRACER = None
        bus.conf.clear_override("tracing_enabled", "oslo_messaging_tracing")


def test_a_failing_hook_does_not_touch_the_call(broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_openstack.instrumentation import oslo_messaging_client, oslo_messaging_server
    from otel_openstack.patching.guard import failures, reset

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    reset()
    with recording(Settings(strict=False)) as telemetry, telemetry.patched(*MODULES):
        with contextlib.closing(Bus(broker.url, f"t{uuid.uuid4().hex[:8]}")) as bus:
            bus.serve("compute", Endpoint())
            for module, name in (
                (oslo_messaging_client, "_route"),
                (oslo_messaging_client.names, "carrier"),
                (oslo_messaging_server.DURATION, "record"),
                (oslo_messaging_client.CALLS, "record"),
            ):
                with monkeypatch.context() as patch:
                    patch.setattr(module, name, broken)
                    assert bus.client("compute").call({}, "echo", value=5) == 5
    assert failures()
    reset()
