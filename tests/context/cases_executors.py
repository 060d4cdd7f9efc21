# SPDX-License-Identifier: Apache-2.0
"""The context travels with each item that is submitted, not with the worker that happens to run it."""

import concurrent.futures
import inspect
import multiprocessing
import threading
import warnings

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from otel_openstack import tracing

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import futurist.rejection
    import futurist.waiters

MODULES = ("threads", "futures_pools", "futures", "futurist")
POOLS = {
    "concurrent": concurrent.futures.ThreadPoolExecutor,
    "futurist": futurist.ThreadPoolExecutor,
    "futurist dynamic": lambda workers: futurist.DynamicThreadPoolExecutor(workers + 1),
}


futurist._thread.ThreadWorker.MAX_IDLE_FOR = 0.05  # s; a pool ends at the next look of its workers


def current_trace() -> int:
    return get_current_span().get_span_context().trace_id


@pytest.fixture(params=list(POOLS))
def make(request, telemetry):
    with telemetry.patched(*MODULES):
        yield POOLS[request.param]


def root(name="GET /servers", kind=SpanKind.SERVER):
    return tracing.root("test", name, kind)


def trace_of(operation) -> int:
    return operation.span.get_span_context().trace_id


def test_each_item_has_the_context_of_its_own_submitter(make):
    with make(1) as pool:
        seen = [pool.submit(current_trace).result(10)]
        wanted = [0]
        for _ in range(3):
            operation = root()
            seen.append(pool.submit(current_trace).result(10))
            wanted.append(trace_of(operation))
            operation.finish()
            seen.append(pool.submit(current_trace).result(10))
            wanted.append(0)
    assert seen == wanted
    assert len(set(wanted)) == 4


def test_the_worker_that_a_request_starts_keeps_nothing_of_it(make):
    operation = root()
    pool = make(1)
    pool.submit(int).result(10)
    operation.finish()
    assert pool.submit(current_trace).result(10) == 0
    pool.shutdown()


def test_queued_items_keep_their_context(make):
    gate = threading.Event()
    with make(1) as pool:
        pool.submit(gate.wait, 10)
        operations, futures = [], []
        for _ in range(5):
            operation = root()
            futures.append(pool.submit(current_trace))
            operations.append(operation)
            operation.finish()
        gate.set()
        assert [future.result(10) for future in futures] == [trace_of(operation) for operation in operations]


def test_map_is_carried(make):
    with make(2) as pool:
        operation = root()
        assert list(pool.map(lambda _: current_trace(), range(4), timeout=10)) == [trace_of(operation)] * 4
        operation.finish()


def test_arguments_results_and_errors_are_the_service_s_own(make):
    def function(*args, **kwargs):
        return args, kwargs

    def fail():
        raise LookupError("mine")

    operation = root()
    with make(1) as pool:
        future = pool.submit(function, 1, "two", function=3, entry=4, captured=5)
        assert future.result(10) == ((1, "two"), {"function": 3, "entry": 4, "captured": 5})
        failed = pool.submit(fail)
        with pytest.raises(LookupError, match="mine"):
            failed.result(10)
    operation.finish()
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(int)


def test_missing_arguments_fail_as_ever(make):
    with make(1) as pool, pytest.raises(TypeError):
        pool.submit()


def test_futurist_takes_the_function_by_keyword(telemetry):
    with telemetry.patched(*MODULES), futurist.ThreadPoolExecutor(1) as pool:
        operation = root()
        assert pool.submit(fn=current_trace).result(10) == trace_of(operation)
        operation.finish()


def test_calls_of_an_item_are_added_to_its_request(telemetry, make):
    def work():
        tracing.totals().add_db(0.25, "SELECT instances")

    operation = root()
    with make(2) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(10)
    operation.finish()
    attributes = telemetry.span("GET /servers").attributes
    assert (attributes["openstack.db.calls"], attributes["openstack.db.duration"]) == (4, 1.0)


def test_an_item_that_outlives_its_request_becomes_a_span_of_it(telemetry, make):
    gate = threading.Event()

    def straggler():
        gate.wait(10)
        tracing.totals().add_db(0.25, "SELECT instances")

    with make(1) as pool:
        operation = root()
        future = pool.submit(straggler)
        operation.finish()
        gate.set()
        future.result(10)
    (task,) = [span for span in telemetry.spans() if span.name.startswith("task ")]
    assert task.name.endswith("straggler")
    assert (task.trace_id, task.attributes["openstack.db.calls"]) == (trace_of(operation), 1)


def test_loops_of_libraries_are_submitted_without_the_request(make):
    def loop():
        return current_trace()

    loop.__module__ = "oslo_service.backend._threading.loopingcall"
    operation = root()
    with make(1) as pool:
        assert pool.submit(loop).result(10) == 0
    operation.finish()


def test_statistics_and_rejection_of_futurist_stay(telemetry):
    with telemetry.patched(*MODULES):
        operation = root()
        reject = futurist.rejection.reject_when_reached(1)
        gate = threading.Event()
        pool = futurist.ThreadPoolExecutor(1, check_and_reject=reject)
        first = pool.submit(gate.wait, 10)
        telemetry.wait(lambda: pool.queue_size == 0)
        second = pool.submit(int)
        with pytest.raises(futurist.RejectedSubmission):
            pool.submit(int)
        gate.set()
        first.result(10)
        second.result(10)
        pool.shutdown()
        assert (pool.statistics.executed, pool.statistics.failures) == (2, 0)
        operation.finish()


def test_process_pools_are_left_alone(telemetry):
    with telemetry.patched(*MODULES):
        operation = root()
        with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(abs, -3).result(30) == 3
        operation.finish()


PLACES = [
    (concurrent.futures.ThreadPoolExecutor, "submit"),
    (concurrent.futures.ThreadPoolExecutor, "__init__"),
    (concurrent.futures.Future, "result"),
    (concurrent.futures.Future, "exception"),
    (concurrent.futures, "wait"),
    (futurist.ThreadPoolExecutor, "submit"),
    (futurist.ThreadPoolExecutor, "__init__"),
    (futurist.GreenThreadPoolExecutor, "submit"),
    (futurist.GreenThreadPoolExecutor, "__init__"),
    (futurist.waiters, "_wait_for_all_green"),
]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[f"{owner.__name__}.{name}" for owner, name in PLACES])
def test_signatures_stay_and_undo_restores_the_originals(telemetry, owner, name):
    original = vars(owner)[name]
    signature = inspect.signature(original)
    with telemetry.patched(*MODULES):
        assert vars(owner)[name] is not original
        assert inspect.signature(vars(owner)[name]) == signature
    assert vars(owner)[name] is original
