# SPDX-License-Identifier: Apache-2.0
"""The ways in which a uWSGI worker ends, and what the application may do to `uwsgi.atexit`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from tests.process_model import cells
from tests.sink import Sink

pytestmark = pytest.mark.servers

INTERVAL = 1.0  # seconds between exports


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


def test_a_master_that_only_loads_the_launcher_has_no_thread_of_ours(sink):
    with cells.serving("uwsgi-lazy", sink) as server:
        worker = server.get()
        assert _threads(server.process.pid) == 1
        assert _threads(worker) >= 2
        server.end()


def test_work_in_the_master_while_it_loads_is_the_masters():
    result = cells.run("gunicorn-gthread", "up", TEST_LOAD="3")
    assert sum(result.worked.values()) >= cells.REQUESTS + 3
    assert len(result.worked) > 1
    assert result.spans == result.worked, result.log
    assert result.counted == result.worked, result.log


def test_a_uwsgi_master_gets_no_thread_for_what_it_records_while_it_loads():
    """uWSGI forks without Python's hooks: a worker forked while a thread of the master waits for the GIL would hang."""
    result = cells.run("uwsgi-prefork", "up", TEST_LOAD="3")
    master = min(result.worked, key=result.worked.__getitem__)
    assert result.worked[master] == 3
    workers = {pid: number for pid, number in result.worked.items() if pid != master}
    assert sum(workers.values()) >= cells.REQUESTS, result.log
    assert result.spans == workers, result.log
    assert result.counted == workers, result.log
    assert "3 spans of uWSGI's master, which exports nothing, are dropped; lazy-apps avoids that" in result.log
    assert "NO MERCY" not in result.log


def test_an_application_that_takes_the_slot_at_exit_loses_nothing_and_is_called(sink):
    with cells.serving("uwsgi-lazy", sink, "--processes", "1") as server:
        server.get("/overwrite")
        server.get()
        before = len(sink.requests)
        assert sink.wait(lambda: len(sink.requests) > before)  # the export thread has had a turn since
        for _ in range(5):
            server.get()
        time.sleep(cells.SETTLE)
        server.end()
        assert sink.spans_by_pid() == server.worked()
        assert sum(server.witnessed("mine").values()) == 1


def test_recycled_workers_lose_nothing(sink):
    options = ("--max-requests", "5", "--min-worker-lifetime", "0")
    with cells.serving("uwsgi-lazy", sink, *options) as server:
        for _ in range(40):
            server.get()
        # A worker that is just being recycled is busy; what it recorded leaves all the same, before the end of it all.
        assert sink.wait(lambda: sink.spans_by_pid() == server.worked())
        server.end()
        assert len(server.worked()) > 3, server.log.read_text()
        assert sink.spans_by_pid() == server.worked(), server.log.read_text()


def test_a_busy_worker_loses_at_most_one_interval(sink):
    with cells.serving("uwsgi-lazy", sink, "--processes", "1") as server:
        for _ in range(5):
            server.get()
        done = sum(server.worked().values())
        thread = threading.Thread(target=_try, args=(server, "/busy"))
        thread.start()
        assert sink.wait(lambda: sum(server.worked().values()) == done + 1)
        # An interval later all that was recorded has left, also while the worker is busy.
        assert sink.wait(lambda: len(sink.spans()) >= done, INTERVAL + 2)
        server.end()
        thread.join()
        assert done <= len(sink.spans()) <= done + 1


@pytest.mark.parametrize("state", ["hanging", "blackhole"])
def test_uwsgi_never_has_to_kill_a_worker(state):
    with Sink(state) as sink, cells.serving("uwsgi-lazy", sink) as server:
        for _ in range(10):
            server.get()
        assert server.end(signal.SIGINT) < cells.UWSGI_LOOK * 3
        assert "NO MERCY" not in server.log.read_text()


def _threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def _try(server: cells.Server, path: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        server.get(path, timeout=30)


def test_a_worker_is_switched_off_and_on_by_a_file(sink, tmp_path):
    switch = tmp_path / "off"
    with cells.serving("uwsgi-lazy", sink, "--processes", "1", OTEL_OPENSTACK_SWITCH_FILE=str(switch)) as server:
        worker = server.get()
        with_us = _threads(worker)
        assert sink.wait(lambda: sink.spans_by_pid()[worker] > 0)
        switch.touch()
        end = time.monotonic() + 5
        while _threads(worker) == with_us and time.monotonic() < end:
            time.sleep(0.05)
        assert _threads(worker) == with_us - 1
        assert server.get() == worker
        switch.unlink()
        time.sleep(0.6)
        before = sink.spans_by_pid()[worker]
        server.get()
        server.get()
        assert sink.wait(lambda: sink.spans_by_pid()[worker] > before)
        server.end()
