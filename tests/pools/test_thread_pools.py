# SPDX-License-Identifier: Apache-2.0
"""Thread pools of concurrent.futures: who works, who is free, who waits, what timed out."""

import concurrent.futures
import gc
import os
import threading
import weakref

import pytest

from otel_openstack.settings import Settings
from otel_openstack.testing import recording

MODULES = ("futures_pools", "futures")
WORKERS, LIMIT = "openstack.pool.worker.count", "openstack.pool.worker.limit"
PENDING, TIMEOUTS = "openstack.pool.pending_requests", "openstack.pool.timeouts"
WAIT = "openstack.pool.wait.duration"


def values(telemetry, name):
    """The values of `name` by pool and state, without pools of the test's own surroundings."""
    prefix = "openstack.pool."
    return {
        tuple(
            point.attributes.get(prefix + key) for key in ("type", "name", "state") if prefix + key in point.attributes
        ): (point.value)
        for point in telemetry.points(name)
    }


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def watched(telemetry):
    with telemetry.patched(*MODULES):
        yield telemetry


def busy(pool, gate, number):
    """Occupy `number` workers; returns when they run."""
    started = threading.Semaphore(0)

    def hold():
        started.release()
        gate.wait(30)

    futures = [pool.submit(hold) for _ in range(number)]
    for _ in range(min(number, pool._max_workers)):
        assert started.acquire(timeout=10)
    return futures


def test_used_idle_and_waiting_at_every_stage(watched, gate):
    key = ("thread", "workers")
    pool = concurrent.futures.ThreadPoolExecutor(3, thread_name_prefix="workers")
    assert values(watched, WORKERS) == {(*key, "used"): 0, (*key, "idle"): 3}
    futures = busy(pool, gate, 2)
    assert values(watched, WORKERS) == {(*key, "used"): 2, (*key, "idle"): 1}
    assert (values(watched, LIMIT), values(watched, PENDING)) == ({key: 3}, {key: 0})
    futures += busy(pool, gate, 1)
    futures += [pool.submit(int) for _ in range(4)]
    assert values(watched, WORKERS) == {(*key, "used"): 3, (*key, "idle"): 0}
    assert values(watched, PENDING) == {key: 4}
    gate.set()
    for future in futures:
        future.result(10)
    watched.wait(lambda: values(watched, WORKERS) == {(*key, "used"): 0, (*key, "idle"): 3})
    assert values(watched, PENDING) == {key: 0}
    pool.shutdown()


def test_a_backlog_does_not_make_busy_workers_look_idle(watched, gate):
    """Until Python 3.12 the executor counts an item that it took from a backlog as an idle worker."""
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="single")
    first = threading.Event()
    pool.submit(first.wait, 10)
    quick = [pool.submit(int) for _ in range(5)]
    last = pool.submit(gate.wait, 30)
    first.set()
    for future in quick:
        future.result(10)
    watched.wait(last.running)
    assert values(watched, WORKERS)["thread", "single", "used"] == 1
    gate.set()
    pool.shutdown()


def test_a_failing_item_frees_its_worker(watched):
    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="failing") as pool:
        futures = [pool.submit(lambda: 1 / 0) for _ in range(5)]
        assert all(isinstance(future.exception(10), ZeroDivisionError) for future in futures)
        watched.wait(lambda: values(watched, WORKERS)["thread", "failing", "used"] == 0)


def test_cancelled_items_leave_the_queue(watched, gate):
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="cancelling")
    busy(pool, gate, 1)
    assert pool.submit(int).cancel()
    gate.set()
    watched.wait(lambda: values(watched, PENDING) == {("thread", "cancelling"): 0})
    pool.shutdown()


def test_pools_of_one_name_are_added_up_and_ids_are_cut(watched, gate):
    names = ["build-7b2b7d5c-7f4c-4f0e-8d9e-0a3d4a5b6c7d", "build-12", "build"]
    pools = [concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix=name) for name in names]
    busy(pools[1], gate, 1)
    assert values(watched, WORKERS) == {("thread", "build", "used"): 1, ("thread", "build", "idle"): 5}
    gate.set()
    for pool in pools:
        pool.shutdown()


def test_a_pool_without_a_name_is_called_by_the_module_that_made_it(watched):
    pools = [concurrent.futures.ThreadPoolExecutor(1) for _ in range(2)]
    assert values(watched, LIMIT) == {("thread", __name__): 2}
    for pool in pools:
        pool.shutdown()


def test_a_subclass_is_called_by_its_module(watched):
    class Own(concurrent.futures.ThreadPoolExecutor):
        def __init__(self):
            super().__init__(max_workers=1)

    with Own():
        assert values(watched, LIMIT) == {("thread", __name__): 1}


def test_a_pool_that_is_shut_down_or_gone_is_not_reported(watched):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="closed") as closed:
        closed.submit(int)
    assert values(watched, WORKERS) == {}
    gone = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="gone")
    ref = weakref.ref(gone)
    del gone
    gc.collect()
    assert ref() is None
    assert values(watched, WORKERS) == {}
    del closed


def test_a_pool_that_drains_at_its_shutdown_is_still_reported_and_does_not_block_us(watched, gate):
    pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="draining")
    busy(pool, gate, 1)
    closing = threading.Thread(target=pool.shutdown)
    with pool._shutdown_lock:
        closing.start()
        assert values(watched, WORKERS)["thread", "draining", "used"] == 1
    gate.set()
    closing.join(10)


def test_timeouts_of_result_exception_and_wait_are_counted_once_for_the_pool(watched, gate):
    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="slow") as pool:
        futures = busy(pool, gate, 2)
        for method in (futures[0].result, futures[0].exception):
            with pytest.raises(concurrent.futures.TimeoutError):
                method(timeout=0.01)
        assert len(concurrent.futures.wait(futures, timeout=0.01).not_done) == 2
        concurrent.futures.wait(futures, 0.01, concurrent.futures.FIRST_COMPLETED)
        assert values(watched, TIMEOUTS) == {("thread", "slow"): 4}
        gate.set()


def test_what_is_no_timeout_of_a_wait_is_not_counted(watched, gate):
    def raise_timeout():
        raise TimeoutError("the item's own")

    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="quick") as pool:
        with pytest.raises(TimeoutError, match="own"):
            pool.submit(raise_timeout).result(10)
        done = pool.submit(int)
        assert done.result(timeout=10) == 0
        pending = busy(pool, gate, 1)
        result = concurrent.futures.wait([done, *pending], 10, concurrent.futures.FIRST_COMPLETED)
        assert len(result.not_done) == 1
        assert watched.points(TIMEOUTS) == []
        gate.set()


def test_a_future_of_no_pool_can_time_out_too(watched):
    with pytest.raises(concurrent.futures.TimeoutError):
        concurrent.futures.Future().result(timeout=0.01)
    assert watched.points(TIMEOUTS) == []


def test_the_wait_of_items_is_measured_at_level_detailed(gate):
    with recording(Settings(strict=True, level="detailed")) as telemetry, telemetry.patched(*MODULES):
        with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="queue") as pool:
            pool.submit(gate.wait, 30)
            waiting = pool.submit(int)
            threading.Timer(0.2, gate.set).start()
            waiting.result(10)
        (point,) = telemetry.points(WAIT)
        assert point.attributes == {"openstack.pool.type": "thread", "openstack.pool.name": "queue"}
        assert point.count == 2
        assert 0.2 <= point.max < 10
        assert point.min < 0.2


def test_a_forked_child_reports_only_what_it_uses(watched, gate):
    pool = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="inherited")
    busy(pool, gate, 1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = values(watched, WORKERS)
        with concurrent.futures.ThreadPoolExecutor(3, thread_name_prefix="own"):
            after = values(watched, WORKERS)
        os.write(writing, repr((before, sorted(after.items()))).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        seen = stream.read()
    assert seen == repr(({}, [(("thread", "own", "idle"), 3), (("thread", "own", "used"), 0)]))
    assert values(watched, WORKERS)["thread", "inherited", "used"] == 1
    gate.set()
    pool.shutdown()


def test_gauges_are_exact_while_pools_come_and_go_in_other_threads(watched):
    """Registration and collection race; neither fails, and nothing is left over."""
    stop = threading.Event()
    failures = []

    def churn():
        while not stop.is_set():
            with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="churn") as pool:
                pool.submit(int).result(10)

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        try:
            watched.points(WORKERS)
        except Exception as error:
            failures.append(error)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    gc.collect()
    assert values(watched, WORKERS) == {}
