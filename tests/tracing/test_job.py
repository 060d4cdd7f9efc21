# SPDX-License-Identifier: Apache-2.0
"""Everything recorded is delivered or dropped, whatever the destination does."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from otel_openstack.exporters import accounting
from otel_openstack.exporters.sink import Outcome
from otel_openstack.runtime import originals, worker
from otel_openstack.tracing import TracerProvider, job
from otel_openstack.tracing.queue import Queue


class Destination:
    """A sink that answers as told and keeps what it took."""

    encoding = "protobuf"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.names = []
        self.sizes = []

    def send(self, signal, payload, items, deadline):
        answer, rejected = self.answers.pop(0) if self.answers else (Outcome.DELIVERED, 0)
        if answer is Outcome.DELIVERED:
            message = ExportTraceServiceRequest.FromString(payload)
            spans = [s.name for r in message.resource_spans for scope in r.scope_spans for s in scope.spans]
            assert len(spans) == items
            self.names += spans
            self.sizes.append(items)
        return answer, rejected


@pytest.fixture
def book():
    book = accounting.account("traces")
    book.reset()
    yield book
    book.reset()


def soon():
    return originals.monotonic() + 30


def made(book, number, most_bytes=2**30):
    provider = TracerProvider(ALWAYS_ON, queue=Queue(book, most_bytes, lambda: None))
    tracer = provider.get_tracer("s")
    for index in range(number):
        tracer.start_span(str(index)).end()
    return provider


def test_batches_of_512_in_order(book):
    provider, sink = made(book, 1100), Destination()
    job.spans(provider.queue, sink).run(soon(), final=False)
    assert sink.sizes == [512, 512, 76]
    assert sink.names == [str(index) for index in range(1100)]
    assert (book.recorded, book.delivered, book.dropped) == (1100, 1100, 0)


def test_what_is_not_taken_is_kept_and_sent_later(book):
    provider, sink = made(book, 600), Destination((Outcome.RETRY, 0))
    export = job.spans(provider.queue, sink)
    export.run(soon(), final=False)
    assert (sink.names, book.delivered, len(provider.queue)) == ([], 0, 88)
    export.run(soon(), final=False)
    assert sink.names == []  # it waits before it tries again
    export.run(soon(), final=True)
    assert sink.names == [str(index) for index in range(600)]
    assert (book.recorded, book.delivered, book.dropped) == (600, 600, 0)


@pytest.mark.parametrize(("answer", "whole"), [(Outcome.DELIVERED, True), (Outcome.RETRY, False)])
def test_a_flush_says_whether_anything_is_left(book, monkeypatch, answer, whole):
    provider, sink = made(book, 3), Destination((answer, 0))
    export = job.spans(provider.queue, sink)
    export.run(soon(), final=False)

    def turn(timeout):
        export.run(soon(), final=False)  # in the pause before the next attempt it does nothing
        return True

    monkeypatch.setattr(worker, "flush", turn)
    assert provider.force_flush() is whole
    export.run(soon(), final=True)
    assert provider.force_flush()


def test_what_is_rejected_is_dropped_and_counted(book):
    provider, sink = made(book, 600), Destination((Outcome.REJECTED, 0), (Outcome.DELIVERED, 5))
    job.spans(provider.queue, sink).run(soon(), final=False)
    assert (book.recorded, book.delivered, book.dropped) == (600, 83, 517)


def test_nothing_is_sent_past_the_deadline(book):
    provider, sink = made(book, 3), Destination()
    job.spans(provider.queue, sink).run(originals.monotonic() - 1, final=True)
    assert (sink.names, len(provider.queue)) == ([], 3)


def test_a_full_queue_drops_and_counts(book):
    provider = made(book, 50, most_bytes=6000)
    assert len(provider.queue) == 10
    assert (book.recorded, book.drops) == (50, {"queue full": [40]})
    sink = Destination()
    job.spans(provider.queue, sink).run(soon(), final=False)
    assert (book.delivered, book.dropped) == (10, 40)
    provider.get_tracer("s").start_span("fits again").end()
    assert len(provider.queue) == 1


def test_long_texts_fill_the_queue_by_their_bytes(book):
    provider = made(book, 0, most_bytes=10_000)
    for _ in range(10):
        with provider.get_tracer("s").start_as_current_span("x", attributes={"a": "x" * 3000}) as span:
            span.set_attribute("b", "y" * 1000)
    assert len(provider.queue) == 2
    assert book.dropped == 8


def test_what_cannot_be_encoded_is_dropped_and_counted(book):
    provider, sink = made(book, 2), Destination()
    provider.get_tracer("s").start_span("bad", start_time="yesterday").end()
    job.spans(provider.queue, sink).run(soon(), final=False)
    assert (book.recorded, book.delivered, book.drops) == (3, 2, {"not encodable": [1]})


def test_the_export_thread_is_woken_once_per_filling(book):
    calls = []
    queue = Queue(book, 60_000, lambda: calls.append(1))
    tracer = TracerProvider(ALWAYS_ON, queue=queue).get_tracer("s")
    for _ in range(50):
        tracer.start_span("x").end()
    assert len(calls) == 1
    queue.take(100)
    for _ in range(50):
        tracer.start_span("x").end()
    assert len(calls) == 2
