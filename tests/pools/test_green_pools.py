# SPDX-License-Identifier: Apache-2.0
"""Green pools: used, idle, waiting and timeouts, read from a native thread without touching a green lock."""

from tests.green import run

READ = """
def gauges(name):
    return [[*p[0].values(), p[1]] for p in points("openstack.pool." + name)]
"""


def test_used_idle_and_waiting():
    out = run(
        READ
        + """
gate = eventlet.event.Event()
pool = eventlet.GreenPool(2)
out["fresh"] = gauges("worker.count")
for _ in range(2):
    pool.spawn_n(gate.wait)
waiting = eventlet.spawn(pool.spawn, gate.wait)
eventlet.sleep(0)
eventlet.sleep(0)
out["full"], out["limit"], out["pending"] = gauges("worker.count"), gauges("worker.limit"), gauges("pending_requests")
pool.resize(1)
out["shrunk"] = gauges("worker.count"), gauges("worker.limit")
gate.send(None)
waiting.wait()
pool.waitall()
out["end"], out["nobody"] = gauges("worker.count"), gauges("pending_requests")
"""
    )
    main = ["green", "__main__"]
    assert out == {
        "fresh": [[*main, "used", 0], [*main, "idle", 2]],
        "full": [[*main, "used", 2], [*main, "idle", 0]],
        "limit": [[*main, 2]],
        "pending": [[*main, 1]],
        "shrunk": [[[*main, "used", 2], [*main, "idle", 0]], [[*main, 1]]],
        "end": [[*main, "used", 0], [*main, "idle", 1]],
        "nobody": [[*main, 0]],
    }


def test_the_pool_of_eventlet_wsgi_is_seen_at_work():
    out = run(
        READ
        + """
import eventlet.wsgi, io, urllib.request
listener = eventlet.listen(("127.0.0.1", 0))
def application(environ, start_response):
    out["at work"] = gauges("worker.count")
    start_response("200 OK", [])
    return [b"hello"]
server = eventlet.spawn(eventlet.wsgi.server, listener, application, io.StringIO(), max_size=5)
port = listener.getsockname()[1]
out["body"] = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read().decode()
"""
    )
    pool = ["green", "eventlet.wsgi"]
    assert out == {"at work": [[*pool, "used", 1], [*pool, "idle", 4]], "body": "hello"}


def test_a_timeout_counts_for_the_pool_whose_green_thread_it_hits():
    out = run(
        READ
        + """
pool = eventlet.GreenPool(2)
def hit():
    try:
        with eventlet.Timeout(0.01):
            eventlet.sleep(10)
    except eventlet.Timeout:
        return "hit"
def silent():
    with eventlet.Timeout(0.01, False):
        eventlet.sleep(10)
    return "silent"
def own():
    try:
        with eventlet.Timeout(0.01, LookupError("mine")):
            eventlet.sleep(10)
    except LookupError as error:
        return str(error)
def missed():
    with eventlet.Timeout(10):
        eventlet.sleep(0)
    never = eventlet.Timeout(None)
    never.cancel()
    return "missed"
out["results"] = [pool.spawn(f).wait() for f in (hit, silent, own, missed)]
out["with"] = eventlet.with_timeout(0.01, eventlet.sleep, 10, timeout_value="late")
out["timeouts"] = gauges("timeouts")
"""
    )
    assert out == {
        "results": ["hit", "silent", "mine", "missed"],
        "with": "late",
        "timeouts": [["green", "__main__", 3], ["green", "eventlet", 1]],
    }


def test_a_native_thread_reads_the_gauges_while_green_threads_hold_every_lock():
    """What the export thread does, a thousand times, while the hub switches: it neither blocks nor fails."""
    out = run(
        READ
        + """
import threading, time
from otel_openstack.runtime import originals
from concurrent import futures
import futurist
pool = eventlet.GreenPool(3)
threads = futures.ThreadPoolExecutor(2)
executor = futurist.ThreadPoolExecutor(2)
state = []
def native():
    try:
        for _ in range(1000):
            gauges("worker.count")
        state.append("done")
    except Exception as error:
        state.append(repr(error))
with threads._shutdown_lock, executor._shutdown_lock:
    originals.start_new_thread(native, ())
    end = time.monotonic() + 30
    while not state and time.monotonic() < end:
        pool.spawn_n(eventlet.sleep, 0)
        eventlet.sleep(0)
out["state"] = state
"""
    )
    assert out == {"state": ["done"]}
