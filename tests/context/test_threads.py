# SPDX-License-Identifier: Apache-2.0
"""Threads and timers that a service starts are carried; what serves a library is not."""

import functools
import inspect
import socketserver
import sys
import threading

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from otel_openstack import tracing
from otel_openstack.instrumentation.threads_infrastructure import serves

ORIGINAL_START = threading.Thread.__dict__["start"]


def current_trace() -> int:
    return get_current_span().get_span_context().trace_id


@pytest.fixture
def request_(telemetry):
    with telemetry.patched("threads"):
        operation = tracing.root("test", "GET /servers", SpanKind.SERVER)
        yield operation
        operation.finish()


def trace_of(operation) -> int:
    return operation.span.get_span_context().trace_id


def run(thread: threading.Thread) -> None:
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("daemon", [False, True])
def test_a_thread_carries_the_context_of_its_starter(request_, daemon):
    seen = []
    run(threading.Thread(target=lambda: seen.append(current_trace()), daemon=daemon))
    assert seen == [trace_of(request_)]


def test_the_context_is_that_of_start_not_of_the_constructor(telemetry):
    seen = []
    with telemetry.patched("threads"):
        thread = threading.Thread(target=lambda: seen.append(current_trace()))
        operation = tracing.root("test", "GET /", SpanKind.SERVER)
        run(thread)
        operation.finish()
    assert seen == [trace_of(operation)]


def test_a_subclass_that_overrides_run_is_carried_and_keeps_its_attributes(request_):
    class Worker(threading.Thread):
        def run(self):
            self.seen = current_trace()
            self.leftovers = "run" in vars(self)

    worker = Worker()
    run(worker)
    assert (worker.seen, worker.leftovers) == (trace_of(request_), False)


def test_an_own_run_of_the_instance_is_called_and_stays(request_):
    seen = []
    thread = threading.Thread()
    thread.run = own = lambda: seen.append(current_trace())  # type: ignore[method-assign]
    run(thread)
    assert seen == [trace_of(request_)]
    assert thread.run is own


def test_a_timer_is_carried_and_can_be_cancelled(request_):
    seen = []
    run(threading.Timer(0.01, lambda: seen.append(current_trace())))
    cancelled = threading.Timer(60, lambda: seen.append("not cancelled"))
    cancelled.start()
    cancelled.cancel()
    cancelled.join(10)
    assert seen == [trace_of(request_)]


def test_the_starter_keeps_its_own_context_and_threads_do_not_mix(request_):
    inner = []

    def work():
        operation = tracing.child("test", "inside", SpanKind.CLIENT)
        inner.append(current_trace())
        operation.finish()

    before = get_current_span()
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert get_current_span() is before
    assert inner == [trace_of(request_)] * 8


def test_children_in_the_thread_hang_under_the_request(telemetry, request_):
    def work():
        tracing.child("test", "call", SpanKind.CLIENT).finish()

    run(threading.Thread(target=work))
    assert telemetry.span("call").parent == request_.span.get_span_context().span_id


def test_a_thread_under_a_cast_gets_a_span_with_the_name_of_its_target(telemetry):
    def rebuild():
        tracing.child("test", "call", SpanKind.CLIENT).finish()

    with telemetry.patched("threads"):
        cast = tracing.root("test", "compute/build", SpanKind.CONSUMER)
        run(threading.Thread(target=functools.partial(rebuild)))
        cast.finish()
    (task,) = [span for span in telemetry.spans() if span.name.startswith("task ")]
    assert task.name.endswith("rebuild")
    assert telemetry.span("call").parent == task.span_id


def test_without_a_request_nothing_changes(telemetry):
    with telemetry.patched("threads"):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        assert "run" not in vars(thread)
        thread.join(10)


def test_pollers_of_libraries_start_without_the_request(request_):
    """A method of a library's class, also in a service's subclass, and a subclass of Thread in a library."""
    seen = []

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        def finish_request(self, request, client_address):
            seen.append(current_trace())

        def shutdown_request(self, request):
            pass

    server = Server(("127.0.0.1", 0), socketserver.BaseRequestHandler, bind_and_activate=False)
    server.process_request(None, None)
    server.server_close()

    poller = type("Poller", (threading.Thread,), {"run": lambda self: seen.append(current_trace())})
    poller.run.__module__ = "oslo_messaging._drivers.amqpdriver"
    run(poller())
    assert seen == [0, 0]


@pytest.mark.parametrize(
    ("library", "thing"),
    [
        ("concurrent.futures.thread", "_worker"),
        ("futurist._thread", "ThreadWorker.run"),
        ("oslo_messaging._drivers.amqpdriver", "ReplyWaiters"),
        ("oslo_messaging._drivers.amqpdriver", "ReplyWaiter.poll"),
        ("oslo_messaging._drivers.impl_rabbit", "Connection._heartbeat_thread_job"),
        ("kombu.connection", "Connection.heartbeat_check"),
        ("sqlalchemy.pool", "QueuePool.connect"),
        ("cotyledon._utils", "spawn"),
        ("oslo_service.backend._threading.loopingcall", "LoopingCallBase._run_loop"),
    ],
)
def test_these_are_infrastructure(library, thing):
    """Looked up in another process: importing them here would choose a backend or import eventlet."""
    code = f"""
import importlib, functools
from otel_openstack.instrumentation.threads_infrastructure import serves
value = importlib.import_module({library!r})
for name in {thing!r}.split("."):
    value = getattr(value, name)
assert serves(value) and serves(functools.partial(value, 1))
"""
    import subprocess

    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


def test_functions_of_services_and_of_the_standard_library_are_work():
    import shutil

    assert not serves(test_functions_of_services_and_of_the_standard_library_are_work)
    assert not serves(shutil.copy)
    assert not serves(functools.partial(shutil.copy))
    assert not serves(print)
    assert not serves(None)


def test_errors_reach_the_excepthook_unchanged(request_, monkeypatch):
    caught = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append((args.exc_type, str(args.exc_value))))

    def fail():
        raise LookupError("service's own")

    run(threading.Thread(target=fail))
    assert caught == [(LookupError, "service's own")]


def test_a_second_start_fails_as_ever_and_does_not_run_again(request_):
    calls = []
    thread = threading.Thread(target=lambda: calls.append(1))
    run(thread)
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        thread.start()
    assert "run" not in vars(thread)
    assert calls == [1]


def test_a_thread_that_cannot_be_started_keeps_its_own_run(request_, monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("can't start new thread")

    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    monkeypatch.setattr(threading, name, refuse)
    thread = threading.Thread(target=print)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread.start()
    assert "run" not in vars(thread)


def test_the_signature_stays_and_undo_restores_the_original(telemetry):
    signature = inspect.signature(ORIGINAL_START)
    with telemetry.patched("threads"):
        assert threading.Thread.__dict__["start"] is not ORIGINAL_START
        assert inspect.signature(threading.Thread.start) == signature
    assert threading.Thread.__dict__["start"] is ORIGINAL_START
