# SPDX-License-Identifier: Apache-2.0
"""Notifications on RabbitMQ: sent, processed one by one and in batches, failed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otel_openstack.testing import SpanView, Telemetry
from tests.messaging.bus import Bus

pytestmark = pytest.mark.servers


class Listener:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.contexts: list[dict[str, Any]] = []
        self.received = threading.Semaphore(0)

    def info(self, ctxt: dict[str, Any], publisher_id: str, event_type: str, payload: Any, metadata: Any) -> None:
        ctxt.pop("client_timeout", None)  # the driver's own
        self.contexts.append(ctxt)
        self.received.release()
        if self.error is not None:
            raise self.error


class BatchListener:
    def __init__(self) -> None:
        self.batches: list[int] = []
        self.received = threading.Event()

    def info(self, messages: list[Any]) -> None:
        self.batches.append(len(messages))
        self.received.set()


def kinds(seen: Telemetry, kind: str, count: int = 1) -> list[SpanView]:
    def found() -> list[SpanView]:
        return [span for span in seen.spans() if span.kind == kind]

    return seen.wait(lambda: found() if len(found()) >= count else None)


def test_a_notification_is_a_producer_and_a_consumer_span(rabbit: Bus, seen: Telemetry) -> None:
    from oslo_messaging.notify import notifier

    listener = Listener()
    rabbit.listen("notifications", listener)
    given = {"request_id": "req-1", "user_id": "u1"}
    passed = notifier._sanitize_context(given)  # what the notifier lets out of a context
    rabbit.notifier("notifications").info(given, "compute.instance.create", {"secret": "payload"})
    assert listener.received.acquire(timeout=10)
    (producer,), (consumer,) = kinds(seen, "PRODUCER"), kinds(seen, "CONSUMER")
    assert producer.name == "notify notifications.info"
    assert consumer.name == "process notifications.info"
    assert consumer.parent == producer.span_id
    assert consumer.trace_id == producer.trace_id
    identity = producer.attributes["messaging.message.id"]
    assert producer.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "notify",
        "messaging.operation.type": "send",
        "messaging.destination.name": "notifications.info",
        "messaging.destination.template": "notifications.info",
        "messaging.message.id": identity,
        "openstack.notification.priority": "info",
    }
    assert consumer.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "notifications.info",
        "messaging.message.id": identity,
        "openstack.notification.priority": "info",
        **{f"openstack.{key}": value for key, value in passed.items()},
    }
    assert given == {"request_id": "req-1", "user_id": "u1"}
    assert listener.contexts == [passed]
    (sent,) = seen.points("messaging.client.operation.duration")
    assert sent.attributes["messaging.operation.name"] == "notify"
    assert sent.attributes["openstack.notification.priority"] == "info"
    (processed,) = seen.wait(lambda: seen.points("messaging.process.duration"))
    assert processed.count == 1
    assert processed.attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.destination.template": "notifications.info",
        "openstack.notification.priority": "info",
    }


def test_an_error_of_a_listener_that_the_library_swallows(rabbit: Bus, seen: Telemetry) -> None:
    rabbit.listen("notifications", Listener(ValueError("bad")))
    rabbit.notifier("notifications").info({}, "event", {})
    (consumer,) = kinds(seen, "CONSUMER")
    assert consumer.status == "ERROR"
    assert consumer.attributes["error.type"] == "ValueError"
    (processed,) = seen.wait(lambda: seen.points("messaging.process.duration"))
    assert processed.attributes["error.type"] == "ValueError"


def test_a_batch_is_one_span_with_a_link_to_each_sender(rabbit: Bus, seen: Telemetry) -> None:
    listener = BatchListener()
    rabbit.listen("notifications", listener, batch=3)
    for number in range(3):
        rabbit.notifier("notifications").info({}, "event", {"number": number})
    assert listener.received.wait(10)
    assert listener.batches == [3]
    producers = kinds(seen, "PRODUCER", 3)
    (consumer,) = kinds(seen, "CONSUMER")
    assert consumer.parent is None
    assert {link.span_id for link in consumer.links} == {span.span_id for span in producers}
    assert consumer.attributes["messaging.batch.message_count"] == 3
    (consumed,) = seen.wait(lambda: seen.points("messaging.client.consumed.messages"))
    assert consumed.value == 3


def test_a_notification_that_cannot_be_sent(seen: Telemetry, rabbit: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise rabbit.om.MessageDeliveryFailure("no broker")

    monkeypatch.setattr(rabbit.notifications._driver, "send_notification", refuse)
    rabbit.notifier("notifications").info({}, "event", {})  # swallowed by the notifier
    (producer,) = kinds(seen, "PRODUCER")
    assert producer.attributes["error.type"] == "oslo_messaging.exceptions.MessageDeliveryFailure"
    (sent,) = seen.points("messaging.client.operation.duration")
    assert sent.attributes["error.type"] == "oslo_messaging.exceptions.MessageDeliveryFailure"


def test_a_strange_priority_is_no_label(seen: Telemetry) -> None:
    from otel_openstack.instrumentation.oslo_messaging_notify import priority_of

    assert priority_of({"priority": "INFO"}) == "info"
    assert priority_of({"priority": "x" * 100}) is None
    assert priority_of({"priority": 5}) is None
    assert priority_of("text") is None
