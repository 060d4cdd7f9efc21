# SPDX-License-Identifier: Apache-2.0
"""A hook that fails, at every point of it, under real libraries: the service notices nothing, and nothing is left.

`run` does the work, in a process for each kind of concurrency; here stands what has to be true of it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_openstack import instrumentation
from tests import rabbitmq

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 540

# Patches in which no fault is raised, and why.
FRAMEWORK = "looks at its guard and nothing else; what is beneath is wsgi.request"
NOTHING = "does nothing that can fail"
EARLIER = "for earlier releases of oslo.service; the code is that for this one"
EXCEPTIONS = {
    "wsgi.flask.app": FRAMEWORK,
    "wsgi.pecan.app": FRAMEWORK,
    "wsgi.falcon.app": FRAMEWORK,
    "wsgi.django.app": FRAMEWORK,
    "oslo_messaging.tracing.send": NOTHING,
    "oslo_messaging.tracing.receive": NOTHING,
    "oslo_service.looping_call.start.before_4.2": EARLIER,
    "oslo_service.looping_call.before_4.2": EARLIER,
    "process.exit": "ends the process: see below",
    "oslo_privsep.daemon": "takes everything of ours away: see below",
}
# What is guarded beside patches: callbacks, events, readings, items of work, what developers measure.
OTHERS = {
    "block demo.build",
    "tests.faults.developers.decorated.<locals>.build",
    "tests.faults.developers.resumed.<locals>.rebuild",
    "tests.faults.developers.resumed.<locals>.steps",
    "context.task",
    "pool.item",
    "wsgi.request",
    "wsgi.module",
    "oslo_service.start",
    "sqlalchemy.statements",
    "sqlalchemy.pool.checkout",
    "sqlalchemy.pool.checkin",
    "sqlalchemy.handle_error",
    "eventlet.hub.timers",
    "db.client.connection.count (db_pool)",
    "db.client.connection.max (db_pool)",
    "db.client.connection.pending_requests (db_pool)",
    "openstack.messaging.client.connection.count (oslo_messaging_pool)",
    "openstack.pool.pending_requests (futures_pools)",
    "openstack.pool.worker.count (futures_pools)",
    "openstack.pool.worker.limit (futures_pools)",
}
# Where our code expects that something cannot be had, and does without.
EXPECTED = (
    "_option",
    "ends_with",
    "RemoteErrors.finish",
    "_Statements._counted",
    "_Statements.known",
    "callers.py",
    "tracing/attributes.py",
    "tracing/exceptions.py",
)
MODES = ("native", "green", "asyncio")


@pytest.fixture(scope="module")
def memcached() -> Iterator[dict[str, int]]:
    """The port of a server for each mode: the work flushes it, and the modes run side by side."""
    with contextlib.ExitStack() as started:
        yield {mode: started.enter_context(_memcached()) for mode in MODES}


@contextlib.contextmanager
def _memcached() -> Iterator[int]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    server = subprocess.Popen(["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody"])
    try:
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait(10)


broker = pytest.fixture(scope="module")(rabbitmq.serve)


@pytest.fixture(scope="module")
def runs(memcached: dict[str, int], broker: rabbitmq.RabbitMQ) -> dict[str, dict[str, Any]]:
    """What each process tells, run side by side."""
    command = [sys.executable, "-m", "tests.faults.run"]
    own = {"native": {"FAULTS_RABBITMQ": broker.url}, "green": {}, "asyncio": {"EVENTLET_HUB": "asyncio"}}
    words = {"native": ["native"], "green": ["green"], "asyncio": ["green", "hub"]}
    started = {
        mode: _start(
            [*command, *words[mode]],
            os.environ | {"FAULTS_MEMCACHED": str(memcached[mode]), "PYTHONDONTWRITEBYTECODE": "1"} | own[mode],
        )
        for mode in MODES
    }
    return {mode: _told(process) for mode, process in started.items()}


def _start(command: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _told(process: subprocess.Popen[str]) -> Any:
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    lines = [line for line in output.splitlines() if line.startswith("OUT:")]
    assert lines, f"status {process.returncode}: {output[-2000:]}"
    return json.loads(lines[-1][4:])


@pytest.mark.parametrize("mode", MODES)
def test_the_service_notices_nothing_and_nothing_is_left(runs: dict[str, dict[str, Any]], mode: str) -> None:
    told = runs[mode]
    assert told["problems"] == []
    for name, (seen, passes, _) in told["results"].items():
        assert passes.get("not passed", 0) <= 0.05 * seen + 2, f"{name}: {passes}"  # threads take turns as they like
    assert sum(seen for seen, *_ in told["results"].values()) > (50 if mode == "asyncio" else 4000)


def test_every_patch_has_failed(runs: dict[str, dict[str, Any]]) -> None:
    failed = {name for told in runs.values() for name in told["failed"]}
    modules = [importlib.import_module(f"otel_openstack.instrumentation.{name}") for name in instrumentation.MODULES]
    patches = {patch.name for module in modules for patch in getattr(module, "PATCHES", ())}
    assert patches - failed == set(EXCEPTIONS)
    assert OTHERS - failed == set()


def test_what_is_not_counted_is_what_our_code_expects(runs: dict[str, dict[str, Any]]) -> None:
    swallowed = {point for told in runs.values() for point in told["swallowed"]}
    assert [point for point in swallowed if not any(name in point for name in EXPECTED)] == []


def test_privsep_has_its_daemon_whatever_fails_before_it() -> None:
    command = [sys.executable, "-m", "tests.faults.ends"]
    raised, problems = _told(_start(command, os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}))
    assert problems == []
    assert raised > 20


EXIT = """
import os
from otel_openstack import instrumentation
from otel_openstack.runtime import stop
instrumentation.install(["oslo_service_stop"])
def fails(reason):
    raise ValueError(reason)
stop.stop = fails
os._exit(7)
"""


def test_the_end_of_a_process_does_not_fail() -> None:
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, timeout=60, check=False)
    assert done.returncode == 7
