# SPDX-License-Identifier: Apache-2.0
"""What is told of a process is the process's own, in a forked child too."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from pathlib import Path

import pytest

from otel_openstack import metrics, process_metrics


@pytest.fixture
def observed(telemetry):
    handles = process_metrics.observe()
    yield lambda name: {tuple(point.attributes.values()): point.value for point in metrics.testing_points(name)}
    for handle in handles:
        handle.close()


def in_child(read):
    """Return what `read()` returns in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(read()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def test_cpu_time_is_spent_where_the_work_is(observed):
    before = observed("process.cpu.time")
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = observed("process.cpu.time")
    spent = sum(after.values()) - sum(before.values())
    assert 0.29 <= spent < 5
    assert set(after) == {("user",), ("system",)}
    child = in_child(lambda: sum(observed("process.cpu.time").values()))
    assert child < 0.25


def test_memory_threads_and_descriptors(observed):
    held = threading.Event()
    thread = threading.Thread(target=held.wait)
    (threads,) = observed("process.thread.count").values()
    (files,) = observed("process.open_file_descriptor.count").values()
    assert files == len(list(Path("/proc/self/fd").iterdir())) - 1
    thread.start()
    with Path("/dev/null").open() as _:
        assert observed("process.thread.count") == {(): threads + 1}
        assert observed("process.open_file_descriptor.count") == {(): files + 1}
    held.set()
    thread.join()
    (before,) = observed("process.memory.usage").values()
    block = bytearray(64 * 2**20)
    (after,) = observed("process.memory.usage").values()
    assert 60 * 2**20 < after - before < 80 * 2**20
    assert len(block) == 64 * 2**20


def test_a_child_counts_its_own_collections(observed):
    gc.collect()
    before = observed("cpython.gc.collections")
    gc.collect()
    assert observed("cpython.gc.collections")[2,] == before[2,] + 1

    def collect_once():
        gc.collect()
        return observed("cpython.gc.collections")[2,]

    assert in_child(collect_once) == 1
