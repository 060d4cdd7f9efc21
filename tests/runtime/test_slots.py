# SPDX-License-Identifier: Apache-2.0
"""Workers have numbers that those take over which are forked in their place."""

import os
import signal

from otel_openstack import resource
from otel_openstack.runtime import slots


def _worker() -> tuple[int, int]:
    """Fork a worker that tells its number and waits to be ended; returns its pid and the number."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            told = resource.current().attributes.get("openstack.worker.id")
            os.write(writer, f"{told} {slots.number()}".encode())
            os.close(writer)
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        attribute, number = told.read().split()
    assert attribute == number
    return pid, int(number)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_respawned_worker_takes_the_number_of_the_one_that_died():
    assert slots.number() is None
    workers = [_worker() for _ in range(3)]
    try:
        assert [number for _, number in workers] == [1, 2, 3]
        assert "openstack.worker.id" not in resource.current().attributes
        for place in (1, 0, 1):
            _end(workers[place][0])
            workers[place] = _worker()
            assert workers[place][1] == place + 1
    finally:
        for pid, _ in workers:
            _end(pid)


def test_a_process_below_a_worker_is_numbered_below_it():
    first, _ = _worker()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own = slots.number()
            child, below = _worker()
            _end(child)
            os.write(writer, f"{own} {below} {slots.number()}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            assert told.read() == "2 1 2"
    finally:
        os.waitpid(pid, 0)
        _end(first)


def test_a_system_that_has_no_such_names_leaves_a_worker_without_a_number(monkeypatch):
    def refuse(path):
        raise OSError(path)

    monkeypatch.setattr(slots.os, "stat", refuse)
    assert slots._take(os.getpid()) == (None, 0)
