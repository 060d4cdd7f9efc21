# SPDX-License-Identifier: Apache-2.0
"""A worker started in place of one that was killed has its number, under every server; nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

import pytest

from tests.process_model import cells
from tests.sink import Sink

pytestmark = pytest.mark.servers

SERVING = ("uwsgi-lazy", "uwsgi-prefork", "gunicorn", "gunicorn-gthread")
FORKING = ("oslo-eventlet", "oslo-threading")
BOTH = {1, 2}
LONGEST = 30.0  # seconds


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


def _numbers(sink: Sink) -> dict[int, int]:
    """Return the number of each worker by its pid; none for a parent."""
    found = {resource["process.pid"]: resource.get("openstack.worker.id") for resource, _, _ in sink.spans()}
    return {pid: number for pid, number in found.items() if number is not None}


def _is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False


def _replaced(sink: Sink, work=lambda: None) -> None:
    """Kill the second worker, then the first: each time the number comes back with another pid."""

    def working(wanted: int) -> bool:
        with contextlib.suppress(OSError):
            work()
        return len(_numbers(sink)) >= wanted

    assert sink.wait(lambda: working(2), LONGEST)
    assert set(_numbers(sink).values()) == BOTH
    for number in (2, 1):
        before = _numbers(sink)
        victim = next(pid for pid, known in before.items() if known == number and _is_there(pid))
        os.kill(victim, signal.SIGKILL)
        assert sink.wait(lambda: working(len(before) + 1), LONGEST)  # noqa: B023 called here
        (fresh,) = _numbers(sink).keys() - before.keys()
        assert _numbers(sink)[fresh] == number


@pytest.mark.parametrize("kind", SERVING)
def test_a_server_s_worker_takes_the_number_of_the_one_that_was_killed(sink, kind):
    with cells.serving(kind, sink) as server:
        _replaced(sink, lambda: [server.get() for _ in range(5)])
        assert {path.name for path in server.witness.parent.iterdir()} == {"witness", "log"}


@pytest.mark.parametrize("kind", FORKING)
def test_a_daemon_s_worker_takes_the_number_of_the_one_that_was_killed(sink, kind, tmp_path):
    environment = cells._environment(cells.KINDS[kind], str(tmp_path), sink, off=False, extra={})
    (tmp_path / "witness").touch()
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            cells.KINDS[kind].command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=tmp_path
        ) as process,
    ):
        try:
            _replaced(sink)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert {path.name for path in tmp_path.iterdir()} == {"witness", "log"}
