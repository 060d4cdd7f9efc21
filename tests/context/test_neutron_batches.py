# SPDX-License-Identifier: Apache-2.0
"""neutron's batch notifier: whose trace an event is sent in. Its class is a copy; neutron is not installed here."""

from __future__ import annotations

import queue
import sys
import threading
import types

import pytest
from opentelemetry.trace import SpanKind

from otel_openstack import tracing

NAME = "neutron.notifiers.batch_notifier"


class BatchNotifier:
    """neutron 29: queue_event starts a thread that sends what all have queued, unless one is at it."""

    def __init__(self, batch_interval, callback):
        self._pending_events = queue.Queue()
        self.callback = callback
        self.batch_interval = batch_interval
        self._mutex = threading.Lock()
        self.threads = []

    def queue_event(self, event):
        if not event:
            return
        self._pending_events.put(event)

        def synced_send():
            if not self._mutex.locked():
                with self._mutex:
                    while not self._pending_events.empty():
                        self._notify()
                        threading.Event().wait(self.batch_interval)

        thread = threading.Thread(target=synced_send)
        self.threads.append(thread)
        thread.start()

    def _notify(self):
        batched_events = []
        while not self._pending_events.empty():
            batched_events.append(self._pending_events.get())
        self.callback(batched_events)


@pytest.fixture
def notifier(telemetry, monkeypatch):
    module = types.ModuleType(NAME)
    module.BatchNotifier = type("BatchNotifier", (BatchNotifier,), dict(vars(BatchNotifier)))
    for name, found in (("neutron", types.ModuleType("neutron")), ("neutron.notifiers", module), (NAME, module)):
        monkeypatch.setitem(sys.modules, name, found)
    sent, first = [], threading.Event()

    def send_events(events):
        operation = tracing.child("http", f"POST {len(sent)}", SpanKind.CLIENT)
        sent.append(list(events))
        operation.totals.add_http(operation.finish())
        first.set()

    with telemetry.patched("threads", "neutron_batches"):
        made = module.BatchNotifier(0.3, send_events)
        made.sent, made.first = sent, first
        yield made


def request(name):
    return tracing.root("wsgi", name, SpanKind.SERVER)


def join(notifier):
    for thread in notifier.threads:
        thread.join(10)


def test_each_event_is_sent_for_the_request_that_queued_it(notifier, telemetry):
    one = request("one")
    notifier.queue_event({"event": 1})
    assert notifier.first.wait(5)
    one.finish()
    two = request("two")
    notifier.queue_event({"event": 2})  # sent by the thread that request one has started
    two.finish()
    join(notifier)
    assert notifier.sent == [[{"event": 1}], [{"event": 2}]]
    traces = {span.name: span.trace_id for span in telemetry.spans()}
    assert traces["POST 0"] == traces["one"]
    assert traces["POST 1"] == traces["two"]


def test_a_batch_for_several_requests_is_a_trace_of_its_own_linked_to_each(notifier, telemetry):
    first = request("first")
    notifier.queue_event({"event": 0})
    assert notifier.first.wait(5)
    for name in ("one", "two"):
        operation = request(name)
        notifier.queue_event({"event": name})
        operation.finish()
    first.finish()
    join(notifier)
    batch = next(span for span in telemetry.spans() if span.name.startswith("batch "))
    requests = {span.span_id: span.trace_id for span in telemetry.spans() if span.name in ("one", "two")}
    assert {link.span_id: link.trace_id for link in batch.links} == requests
    assert batch.parent is None
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert telemetry.span("POST 1").parent == batch.span_id


def test_without_a_request_it_is_sent_as_before(notifier, telemetry):
    notifier.queue_event({"event": 1})
    notifier.queue_event(None)
    join(notifier)
    assert notifier.sent == [[{"event": 1}]]
    assert telemetry.span("POST 0").parent is not None  # of a background root
