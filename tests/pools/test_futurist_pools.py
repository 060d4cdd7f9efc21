# SPDX-License-Identifier: Apache-2.0
"""futurist's executors, native and green, and what nova does with them. Each case in a process of its own."""

from tests.green import run

READ = """
import threading, time
GAUGES = {"worker.count": "", "worker.limit": "limit", "pending_requests": "pending"}
def gauges():
    found = {}
    for name, last in GAUGES.items():
        for labels, value in points("openstack.pool." + name):
            found[(*labels.values(), last) if last else tuple(labels.values())] = value
    return found
def shown():
    return {"/".join(key): value for key, value in sorted(gauges().items())}
def until(condition):
    telemetry.wait(condition)
"""


def test_native_threads_are_read_without_the_executor_s_lock():
    out = run(
        READ
        + """
import futurist
pool = futurist.ThreadPoolExecutor(3)
pool.name = "MainProcess.cell_worker"
out["fresh"] = shown()
gate = threading.Event()
futures = [pool.submit(gate.wait, 30) for _ in range(2)]
until(lambda: all(f.running() for f in futures))
out["two"] = shown()
futures += [pool.submit(gate.wait, 30) for _ in range(5)]
until(lambda: pool.queue_size == 4)
out["full"] = shown()
closing = threading.Thread(target=pool.shutdown)
closing.start()
until(lambda: not pool.alive)
until(lambda: not pool._shutdown_lock.acquire(blocking=False) or pool._shutdown_lock.release())
out["closing"] = shown()
gate.set()
closing.join()
out["closed"] = shown()
""",
        patch=False,
    )

    def state(used, idle, pending):
        key = "thread/cell_worker/"
        return {key + "limit": 3, key + "idle": idle, key + "pending": pending, key + "used": used}

    fresh, two, full = state(0, 3, 0), state(2, 1, 0), state(3, 0, 4)
    assert out == {"fresh": fresh, "two": two, "full": full, "closing": full, "closed": {}}


def test_a_pool_inherited_by_fork_is_not_reported_until_it_is_used():
    out = run(
        READ
        + """
import futurist, os
pool = futurist.ThreadPoolExecutor(2)
pool.name = "default"
pool.submit(int).result(10)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(writing, json.dumps(shown()).encode())
    os._exit(0)
os.waitpid(pid, 0)
out["child"] = json.loads(os.read(reading, 9999))
until(lambda: gauges()[("thread", "default", "used")] == 0)
out["parent"] = shown()
""",
        patch=False,
    )
    assert out["child"] == {}
    assert out["parent"]["thread/default/idle"] == 2


def test_a_green_executor_is_one_pool_with_its_delayed_work():
    out = run(
        READ
        + """
import futurist
pool = futurist.GreenThreadPoolExecutor(2)
pool.name = "MainProcess.default"
gate = eventlet.event.Event()
futures = [pool.submit(gate.wait) for _ in range(5)]
eventlet.sleep(0.01)
out["full"] = shown()
gate.send(None)
[f.result() for f in futures]
eventlet.sleep(0.01)
out["free"] = shown()
"""
    )
    key = "green/default/"
    assert out == {
        "full": {key + "limit": 2, key + "idle": 0, key + "pending": 3, key + "used": 2},
        "free": {key + "limit": 2, key + "idle": 2, key + "pending": 0, key + "used": 0},
    }


def test_waits_of_futurist_time_out_by_pool_native_and_green():
    body = """
import futurist, futurist.waiters
pool = futurist.{kind}(2)
pool.name = "cell_worker"
gate = {gate}
futures = [pool.submit(gate.wait) for _ in range(2)]
out["left"] = len(futurist.waiters.wait_for_all(futures, timeout=0.05).not_done)
out["any"] = len(futurist.waiters.wait_for_any(futures, timeout=0.05).not_done)
{open}
out["done"] = len(futurist.waiters.wait_for_all(futures, timeout=10).not_done)
out["points"] = points("openstack.pool.timeouts")
"""
    for kind, patch, gate, opening, type_ in (
        ("ThreadPoolExecutor", False, "__import__('threading').Event()", "gate.set()", "thread"),
        ("GreenThreadPoolExecutor", True, "eventlet.event.Event()", "gate.send(None)", "green"),
    ):
        out = run(body.format(kind=kind, gate=gate, open=opening), patch=patch)
        labels = {"openstack.pool.type": type_, "openstack.pool.name": "cell_worker"}
        assert out == {"left": 2, "any": 2, "done": 0, "points": [[labels, 2]]}


def test_a_thread_pool_in_a_green_process_is_green():
    out = run(
        READ
        + """
from concurrent import futures
pool = futures.ThreadPoolExecutor(2, thread_name_prefix="mixed")
gate = threading.Event()
future = pool.submit(gate.wait)
eventlet.sleep(0.01)
out["used"] = shown()
gate.set()
future.result()
"""
    )
    key = "green/mixed/"
    assert out["used"] == {key + "limit": 2, key + "idle": 1, key + "pending": 0, key + "used": 1}
