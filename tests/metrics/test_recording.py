# SPDX-License-Identifier: Apache-2.0
"""Recording is exact: by value, under threads, under green threads, over a fork."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
from bisect import bisect_left
from math import inf, nan, nextafter
from sys import float_info

import pytest

from otel_openstack import metrics
from otel_openstack.metrics import catalog, cells, instruments
from otel_openstack.runtime import process
from otel_openstack.semconv.model import Instrument

THREADS, TIMES = 8, 20_000


def only(name):
    (point,) = metrics.testing_points(name)
    return point


def test_a_histogram_counts_by_upper_bounds_that_belong_to_their_bucket(either_way):
    record = metrics.histogram("test.duration").bind("x", "y")
    for value in (0, 0.005, 0.0050001, 0.05, 1, 10.0, 10.1, 1e300):
        record(value)
    point = only("test.duration")
    assert point.attributes == {"a": "x", "b": "y"}
    assert point.bucket_counts == (2, 1, 1, 1, 1, 2)
    assert (point.count, point.min, point.max) == (8, 0, 1e300)
    assert point.sum == pytest.approx(1e300)


def test_a_histogram_leaves_out_what_is_negative_or_not_finite(either_way):
    record = metrics.histogram("test.duration").bind("x")
    for value in (-1, -5e-324, math.nan, math.inf, -math.inf, 10**400, 0.5, -1, math.nan, math.inf):
        record(value)
    point = only("test.duration")
    assert (point.count, point.sum, point.min, point.max) == (1, 0.5, 0.5, 0.5)


def test_nothing_is_there_before_something_is_recorded(either_way):
    record = metrics.histogram("test.duration").bind("x")
    record(math.nan)
    metrics.counter("test.calls").bind("x")
    assert metrics.testing_points("test.duration") == metrics.testing_points("test.calls") == []


def test_numbers(either_way):
    calls, active, level = (
        metrics.counter("test.calls"),
        metrics.up_down_counter("test.active"),
        metrics.gauge("test.level"),
    )
    for value in (1, 2.5, -1, math.inf, math.nan):
        calls.add(value, "x")
        active.add(value, "x")
        level.set(value, "x")
    assert [only(name).value for name in ("test.calls", "test.active", "test.level")] == [3.5, 2.5, -1]


def test_labels_that_are_the_same_are_one_series_however_given(either_way):
    calls = metrics.counter("test.calls")
    calls.add(1, "x")
    calls.add(1, "x", None)
    calls.bind("x")(1)
    assert only("test.calls").value == 3
    assert only("test.calls").attributes == {"a": "x"}


def test_labels_of_other_types_become_plain():
    import enum

    calls = metrics.counter("test.calls")
    calls.add(1, enum.Enum("Colour", {"RED": "red"}).RED, enum.IntEnum("Code", {"OK": 200}).OK)
    calls.add(1, b"bytes", 1.5)
    assert [point.attributes for point in metrics.testing_points("test.calls")] == [
        {"a": "red", "b": 200},
        {"a": "b'bytes'", "b": 1.5},
    ]


def test_eight_threads_lose_nothing_and_no_snapshot_is_torn(either_way):
    """The control below loses, so this would show."""
    instrument = metrics.histogram("test.duration")
    calls, active = metrics.counter("test.calls").bind("x"), metrics.up_down_counter("test.active").bind("x")
    bound = instrument.bind("x")
    torn, done = [], threading.Event()

    def write(number):
        for turn in range(TIMES):
            bound(2)
            instrument.record(2, "y", number)
            calls(1)
            active(1 if turn % 2 else -1)

    def watch():
        while not done.is_set():
            for _, cell in instrument.snapshot():
                if 2 * sum(cell[cells.FIRST_BUCKET :]) != cell[cells.SUM]:
                    torn.append(cell)

    race(write, watch, done)
    points = {
        point.attributes["a"]: point for point in metrics.testing_points("test.duration") if "b" not in point.attributes
    }
    dynamic = [point.count for point in metrics.testing_points("test.duration") if "b" in point.attributes]
    assert (points["x"].count, points["x"].sum) == (THREADS * TIMES, 2 * THREADS * TIMES)
    assert dynamic == [TIMES] * THREADS
    assert only("test.calls").value == THREADS * TIMES
    assert only("test.active").value == 0
    assert torn == []


def test_the_control_loses():
    """What the argument about bytecode forbids: a call between reading and writing."""
    cell = [0]

    def write(_):
        for _ in range(TIMES):
            cell[0] = int(cell[0]) + call()

    race(write, lambda: None, threading.Event())
    assert cell[0] < THREADS * TIMES


def call():
    return 1


def race(write, watch, done):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writers = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
        watcher = threading.Thread(target=watch)
        for thread in (*writers, watcher):
            thread.start()
        for thread in writers:
            thread.join(60)
        done.set()
        watcher.join(60)
    finally:
        sys.setswitchinterval(before)


GREEN = """
import json, eventlet
eventlet.monkey_patch()
from otel_openstack import metrics
from otel_openstack.semconv import instruments
histogram = metrics.histogram(instruments.DB_CLIENT_OPERATION_DURATION)
bound = histogram.bind("mysql")
def work(number):
    for turn in range(20):
        bound(2)
        histogram.record(2, "mysql", "SELECT", number % 10)
        eventlet.sleep(0)
pool = eventlet.GreenPool(1000)
for number in range(1000):
    pool.spawn_n(work, number)
pool.waitall()
points = metrics.testing_points(instruments.DB_CLIENT_OPERATION_DURATION)
print(json.dumps([[point.count, point.sum] for point in points]))
"""


def test_a_thousand_green_threads_lose_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[20_000, 40_000]] + [[2000, 4000]] * 10


def in_a_child(answer):
    """Run `answer` in a forked child and return what it returns."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(into, json.dumps(answer()).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as text:
        if not select.select([text], [], [], 20)[0]:
            os.kill(pid, signal.SIGKILL)  # it waits for a lock that nobody will release
        answered = text.read()
    os.waitpid(pid, 0)
    return json.loads(answered)


def test_a_child_starts_at_zero_and_what_is_bound_still_records(either_way):
    record = metrics.histogram("test.duration").bind("x")
    record(7)

    def answer():
        before = len(metrics.testing_points("test.duration"))
        record(0.5)
        point = only("test.duration")
        return [before, point.count, point.sum, point.min, point.max, catalog.start_time_unix_nano()]

    parent_start = catalog.start_time_unix_nano()
    *values, start = in_a_child(answer)
    assert values == [0, 1, 0.5, 0.5, 0.5]
    assert start > parent_start
    assert only("test.duration").sum == 7


def test_a_child_can_make_series_although_the_parent_was_making_one():
    instrument = metrics.counter("test.calls")
    with instrument._lock:
        assert in_a_child(lambda: instrument.add(1, "new") or only("test.calls").value) == 1
    assert process.pid() == os.getpid()


EDGES = (
    (),
    (0.0,),
    (-5.0, -1.0, 0.0, 2.0),
    (-5.0, 5.0),
    (1.0, inf),
    (0.005, 0.01, 0.025),
    tuple(map(float, range(40))),
)


@pytest.mark.parametrize("bounds", EDGES)
def test_every_value_is_in_the_bucket_that_a_search_finds(bounds):
    kind = cells.KINDS["histogram"]
    given = [nan, inf, -inf, -0.5, 0.0, 0.3, 7.0, 1e300, float_info.max, *bounds]
    given += [nextafter(bound, side) for bound in bounds for side in (-inf, inf)]
    for value in given:
        placed = [*cells.SENTINELS, *bounds]
        cell = kind.empty(placed)
        kind.recorder(cell, placed)(value)
        wanted = kind.empty(placed)
        if 0.0 <= value < inf:
            wanted[: cells.FIRST_BUCKET] = [value] * cells.FIRST_BUCKET
            wanted[cells.FIRST_BUCKET + bisect_left(bounds, value)] = 1
        assert cell == wanted, value


def test_bounds_that_are_split_before_the_first_record_let_it_start_the_process_all_the_same(monkeypatch):
    monkeypatch.setattr(process, "started", lambda: False)
    made = instruments.Histogram(
        Instrument("t", "histogram", "s", "", ("a",), "basic", (1.0, 2.0), False, 10, "stable")
    )
    record = made.bind("x")
    made.refine([1.5])
    assert record.__code__ in cells.SLEEPING
    monkeypatch.undo()
    record(1.7)
    ((_, cell),) = made.snapshot()
    assert cell[cells.FIRST_BUCKET :] == [0, 0, 1, 0]
