# SPDX-License-Identifier: Apache-2.0
"""The event loop: idle, active and blocked time, the delay of timers, and what native threads have instead."""

import subprocess
import sys
import time

import pytest

from otel_openstack.runtime import process
from otel_openstack.settings import Settings
from otel_openstack.testing import recording
from tests.green import run

TIME, DELAY = "openstack.event_loop.time", "openstack.event_loop.delay"
FUNCTION = "openstack.event_loop.function.duration"

READ = f"""
import time
real_sleep = eventlet.patcher.original("time").sleep
def states():
    return {{p[0]["openstack.event_loop.state"]: p[1] for p in points({TIME!r})}}
"""


@pytest.mark.parametrize("hub", ["epolls", "poll"])
@pytest.mark.parametrize("listener", [True, False], ids=["descriptors", "timers only"])
def test_idle_active_and_blocked_add_up_to_the_time_that_passed(hub, listener):
    out = run(
        READ
        + f"""
eventlet.hubs.use_hub({hub!r})
if {listener!r}:
    server = eventlet.listen(("127.0.0.1", 0))
    eventlet.spawn(server.accept)
eventlet.sleep(0)
before, started = states(), time.perf_counter()
eventlet.sleep(0.5)       # idle
real_sleep(0.4)           # blocks the loop
eventlet.sleep(0)
for _ in range(5):
    real_sleep(0.02)      # busy, but not for long
    eventlet.sleep(0.02)
out["passed"] = time.perf_counter() - started
after = states()
out["spent"] = {{state: after.get(state, 0) - before.get(state, 0) for state in ("idle", "active", "blocked")}}
out["types"] = sorted({{p[0]["openstack.event_loop.type"] for p in points({TIME!r})}})
"""
    )
    spent = out["spent"]
    assert out["types"] == ["eventlet"]
    assert sum(spent.values()) == pytest.approx(out["passed"], abs=0.1)
    assert spent["idle"] >= 0.5
    assert spent["blocked"] >= 0.4
    assert spent["active"] >= 0.1


def test_a_new_hub_is_measured_and_so_is_that_of_a_forked_child():
    out = run(
        READ
        + """
import os
eventlet.sleep(0.1)
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    eventlet.hubs.use_hub()     # as oslo.service does in its workers
    before = states().get("idle", 0)
    eventlet.sleep(0.3)
    os.write(writing, json.dumps([before, states()["idle"]]).encode())
    os._exit(0)
os.waitpid(pid, 0)
out["child"] = json.loads(os.read(reading, 9999))
eventlet.hubs.use_hub()
before = states()["idle"]
eventlet.sleep(0.3)
out["again"] = states()["idle"] - before
"""
    )
    before, after = out["child"]
    assert before < 0.05  # not the parent's
    assert 0.29 <= after - before < 5
    assert 0.29 <= out["again"] < 5


def test_the_asyncio_hub_is_measured_at_its_selector():
    out = run(
        READ
        + f"""
eventlet.sleep(0)
before = states()
eventlet.sleep(0.3)
real_sleep(0.3)
eventlet.sleep(0)
out["idle"], out["blocked"] = states()["idle"] - before["idle"], states()["blocked"]
out["types"] = sorted({{p[0]["openstack.event_loop.type"] for p in points({TIME!r})}})
""",
        hub="asyncio",
    )
    assert out["types"] == ["asyncio"]
    assert out["idle"] >= 0.29
    assert out["blocked"] >= 0.29


def test_a_hub_that_is_there_before_us_is_measured():
    out = run(
        READ
        + """
instrumentation.uninstall(MODULES)
eventlet.sleep(0)
instrumentation.install(MODULES)
eventlet.sleep(0.3)
out["idle"] = states()["idle"]
"""
    )
    assert out["idle"] >= 0.29


LATE = (
    READ
    + f"""
eventlet.spawn_after(0.05, int)
eventlet.sleep(0)
real_sleep(0.4)
eventlet.sleep(0.01)
out["points"] = [[p.attributes, p.count, p.max] for p in telemetry.points({DELAY!r})]
"""
)


def test_the_delay_of_a_late_timer_is_seen_at_level_detailed():
    ((labels, count, highest),) = run(LATE, level="detailed")["points"]
    assert labels == {"openstack.event_loop.type": "eventlet"}
    assert count >= 1
    assert 0.3 <= highest < 5


def test_no_delay_is_measured_at_level_basic():
    assert run(LATE)["points"] == []


def test_functions_are_told_native_or_green_at_level_deep():
    out = run(
        f"""
import eventlet.tpool
from concurrent import futures
def green():
    eventlet.sleep(0.05)
def native():
    return 1
operation = root()
eventlet.spawn(green).wait()
pool = eventlet.GreenPool()
pool.spawn_n(green)
pool.waitall()
eventlet.tpool.execute(native)
operation.finish()
out["points"] = sorted([*p.attributes.values(), p.count] for p in telemetry.points({FUNCTION!r}))
""",
        level="deep",
    )
    assert out["points"] == [["eventlet", False, "__main__.green", 2], ["eventlet", True, "__main__.native", 1]]


def test_functions_of_native_pools_at_level_deep():
    code = f"""
from concurrent import futures
from otel_openstack import instrumentation, settings, testing
with testing.recording(settings.Settings(strict=True, level="deep")) as telemetry:
    with telemetry.patched("futures_pools", "futures"):
        with futures.ThreadPoolExecutor(1) as pool:
            pool.submit(len, []).result(10)
        (point,) = telemetry.points({FUNCTION!r})
        assert list(point.attributes.values()) == ["thread", True, "builtins.len"], point
        assert point.count == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def sampled(level, seconds):
    """The points of the delay that are there after `seconds`, one of them with the interpreter lock held."""
    with recording(Settings(strict=True, level=level)) as telemetry, telemetry.patched("event_loop_native"):
        process._started = 0
        process.ensure()
        time.sleep(0.15)
        sum(range(30_000_000))  # one bytecode: nobody else runs
        time.sleep(seconds)
        return telemetry.points(DELAY)


def test_native_threads_have_a_scheduling_delay_at_level_detailed():
    (point,) = sampled("detailed", 0.5)
    assert point.attributes == {"openstack.event_loop.type": "thread"}
    assert point.count >= 3
    assert 0.05 < point.max < 10
    assert point.min < 0.05


def test_there_is_no_sampler_at_level_basic():
    assert sampled("basic", 0.2) == []
