# SPDX-License-Identifier: Apache-2.0
"""Context follows work into green threads, green pools and tpool, in processes that eventlet monkey-patches."""

import pytest

from tests.green import run

SPAWNS = {
    "spawn": "eventlet.spawn(work, 1, two=2).wait()",
    "spawn_n": "eventlet.spawn_n(work, 1, two=2); eventlet.sleep(0)",
    "spawn_after": "eventlet.spawn_after(0.01, work, 1, two=2).wait()",
    "greenthread.spawn": "eventlet.greenthread.spawn(work, 1, two=2).wait()",
    "greenthread.spawn_n": "eventlet.greenthread.spawn_n(work, 1, two=2); eventlet.sleep(0)",
    "greenthread.spawn_after": "eventlet.greenthread.spawn_after(0.01, work, 1, two=2).wait()",
    "greenthread.spawn_after_local": "eventlet.greenthread.spawn_after_local(0.01, work, 1, two=2).wait()",
    "GreenPool.spawn": "eventlet.GreenPool().spawn(work, 1, two=2).wait()",
    "GreenPool.spawn_n": "p = eventlet.GreenPool(); p.spawn_n(work, 1, two=2); p.waitall()",
    "GreenPile.spawn": "p = eventlet.GreenPile(); p.spawn(work, 1, two=2); list(p)",
    "tpool.execute": "eventlet.tpool.execute(work, 1, two=2)",
    "threading.Thread": "t = threading.Thread(target=work, args=(1,), kwargs={'two': 2}); t.start(); t.join()",
    "ThreadPoolExecutor": "futures.ThreadPoolExecutor(1).submit(work, 1, two=2).result()",
    "futurist.GreenThreadPoolExecutor": "futurist.GreenThreadPoolExecutor(1).submit(work, 1, two=2).result()",
    "futurist.ThreadPoolExecutor": "futurist.ThreadPoolExecutor(1).submit(work, 1, two=2).result()",
}

WORK = """
import threading, futurist, eventlet.tpool
from concurrent import futures
seen = []
def work(one, two):
    seen.append([current_trace(), one, two])
"""


CARRY = """
seen.clear()
operation = root()
{spawn}
inside = seen == [[trace_of(operation), 1, 2]]
operation.finish()
{spawn}
out[{name!r}] = [inside, seen[1:]]
"""


@pytest.fixture(scope="module")
def carried():
    return run(WORK + "".join(CARRY.format(name=name, spawn=spawn) for name, spawn in SPAWNS.items()))


@pytest.mark.parametrize("name", list(SPAWNS))
def test_work_is_carried(carried, name):
    assert carried[name] == [True, [[0, 1, 2]]]


def test_mapped_functions_are_carried():
    out = run("""
operation = root()
pool = eventlet.GreenPool(2)
out["starmap"] = set(pool.starmap(lambda *a: current_trace(), [(1,), (2,), (3,)])) == {trace_of(operation)}
out["imap"] = list(pool.imap(lambda a: (a, current_trace() == trace_of(operation)), [1, 2]))
out["none"] = list(pool.starmap(None, [(1, 2)]))
operation.finish()
""")
    assert out == {"starmap": True, "imap": [[1, True], [2, True]], "none": [[1, 2]]}


def test_requests_that_take_turns_in_one_thread_do_not_mix():
    out = run("""
def work():
    for _ in range(3):
        eventlet.sleep(0)
    operation = tracing.child("test", "call", SpanKind.CLIENT)
    trace = current_trace()
    operation.finish()
    return trace

def serve():
    operation = root()
    inner = eventlet.spawn(work)
    eventlet.sleep(0)
    own = current_trace()
    result = own == trace_of(operation) == inner.wait()
    operation.finish()
    return result, own

results = [thread.wait() for thread in [eventlet.spawn(serve) for _ in range(20)]]
out["all"] = all(result for result, _ in results)
out["traces"] = len({own for _, own in results})
out["outside"] = current_trace()
""")
    assert out == {"all": True, "traces": 20, "outside": 0}


def test_the_workers_of_a_green_executor_keep_nothing():
    """One worker runs items that were put off: of a second request, and of none."""
    out = run("""
import futurist
pool = futurist.GreenThreadPoolExecutor(1)
gate = eventlet.event.Event()
first = root()
futures = [pool.submit(gate.wait), pool.submit(current_trace)]
first.finish()
second = root()
futures.append(pool.submit(current_trace))
second.finish()
futures.append(pool.submit(current_trace))
gate.send(None)
out["right"] = [f.result() for f in futures[1:]] == [trace_of(first), trace_of(second), 0]
""")
    assert out == {"right": True}


def test_infrastructure_threads_of_a_green_process_start_without_the_request():
    out = run("""
import threading
seen = []
def poll():
    seen.append(current_trace())
poll.__module__ = "oslo_messaging._drivers.amqpdriver"
operation = root()
thread = threading.Thread(target=poll)
thread.start()
thread.join()
eventlet.spawn(poll).wait()
pool = eventlet.GreenPool()
pool.spawn_n(poll)
pool.waitall()
out["seen"] = seen
operation.finish()
""")
    assert out == {"seen": [0, 0, 0]}


def test_results_errors_and_kills_are_the_service_s_own():
    out = run("""
def fail():
    raise LookupError("mine")

operation = root()
try:
    eventlet.spawn(fail).wait()
except LookupError as error:
    out["error"] = str(error)
out["result"] = eventlet.spawn(lambda **kwargs: sorted(kwargs), function=1, self=3).wait()
ended = []
def forever():
    try:
        eventlet.sleep(60)
    finally:
        ended.append(True)
thread = eventlet.spawn(forever)
eventlet.sleep(0)
thread.kill()
out["ended"] = ended
try:
    thread.wait()
except eventlet.greenlet.GreenletExit as error:
    out["exit"] = True
operation.finish()
out["status"] = telemetry.span("GET /servers").status
""")
    assert out == {
        "error": "mine",
        "result": ["function", "self"],
        "ended": [True],
        "exit": True,
        "status": "UNSET",
    }


def test_undo_restores_the_originals_and_signatures_stay():
    out = run(
        """
import inspect
import eventlet.tpool
PLACES = [(eventlet, "spawn"), (eventlet, "spawn_n"), (eventlet, "spawn_after"),
          (eventlet.greenthread, "spawn"), (eventlet.greenthread, "spawn_n"), (eventlet.greenthread, "spawn_after"),
          (eventlet.greenthread, "spawn_after_local"), (eventlet.GreenPool, "spawn_n"), (eventlet.GreenPool, "starmap"),
          (eventlet.GreenPool, "__init__"), (eventlet.tpool, "execute"), (eventlet.Timeout, "start"),
          (eventlet.hubs.hub.BaseHub, "__init__")]
originals = [vars(owner)[name] for owner, name in PLACES]
instrumentation.install(MODULES)
eventlet.sleep(0)
hub = eventlet.hubs.get_hub()
out["watched"] = "do_poll" in vars(hub)
out["wrapped"] = [name for (owner, name), original in zip(PLACES, originals) if vars(owner)[name] is original]
out["signatures"] = [name for (owner, name), original in zip(PLACES, originals)
                     if inspect.signature(vars(owner)[name]) != inspect.signature(original)]
instrumentation.uninstall(MODULES)
out["left"] = [name for (owner, name), original in zip(PLACES, originals) if vars(owner)[name] is not original]
out["hub"] = sorted({"do_poll", "wait", "fire_timers"} & set(vars(hub)))
MODULES = ()
""".replace("originals =", "instrumentation.uninstall(MODULES)\noriginals =", 1)
    )
    assert out == {"watched": True, "wrapped": [], "signatures": [], "left": [], "hub": []}
