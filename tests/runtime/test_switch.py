# SPDX-License-Identifier: Apache-2.0
"""The kill switch: a file, within a second, and back; in a service on threads and one on eventlet."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sink import Sink, attributes

pytestmark = pytest.mark.servers

SERVICE = Path(__file__).parent / "services" / "switched.py"
PROMISED = 1.0  # seconds
SLACK = 1.0


class Service:
    """The service under test and its switch."""

    def __init__(self, concurrency: str, directory: Path, sink: Sink) -> None:
        self.switch, self.gate, self._log = directory / "off", directory / "gate", directory / "log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_OPENSTACK_LEVEL": "detailed",
            "OTEL_OPENSTACK_SWITCH_FILE": str(self.switch),
            "TEST_GATE": str(self.gate),
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(SERVICE), concurrency, str(self.port)],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def get(self, path: str = "/") -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def threads(self) -> int:
        """How many threads there are that the service did not start."""
        return self.get("/state")["threads"]

    def ready(self) -> Service:
        until(self._answers, self)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


def until(condition, service: Service, seconds: float = 20.0) -> float:
    """Wait for `condition`; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert service.process.poll() is None, service.log
        assert time.monotonic() - began < seconds, service.log
        time.sleep(0.02)
    return time.monotonic() - began


@contextlib.contextmanager
def running(concurrency: str, directory: Path, mode: str = "up") -> Iterator[tuple[Service, Sink]]:
    with Sink(mode) as sink:
        service = Service(concurrency, directory, sink)
        try:
            yield service.ready(), sink
        finally:
            service.process.kill()
            service.process.wait()


def requests(sink: Sink) -> int:
    return sum(attributes(span.attributes).get("url.path") == "/" for _, _, span in sink.spans())


@pytest.mark.parametrize("concurrency", ["threading", "eventlet"])
@pytest.mark.parametrize("mode", ["up", "hanging"])
def test_off_within_a_second_nothing_runs_and_on_again_from_zero(concurrency, mode, tmp_path):
    with running(concurrency, tmp_path, mode) as (service, sink):
        assert service.get()["recording"]
        if mode == "up":
            sink.wait(lambda: requests(sink) == 1)
        else:
            time.sleep(1.2)  # the first export is under way, and gets no answer
        working = service.threads()
        assert working == (1 if concurrency == "eventlet" else 2), "the export thread, and that of the delay"

        service.switch.touch()
        took = until(lambda: service.threads() == 0, service)
        assert took < PROMISED + SLACK, "the threads are gone"
        assert "switched off by" in service.log

        passed = service.get()
        assert not passed["recording"]
        state = service.get("/state")
        assert state["on"] == []
        assert state["failures"] == {}
        assert state["queued"] == 0
        assert not state["current"]
        recorded, delivered, dropped = state["books"]
        assert recorded == delivered + dropped
        count = requests(sink)
        time.sleep(1.5)
        assert requests(sink) == count
        assert service.threads() == 0

        sink.mode = "up"
        service.switch.unlink()
        time.sleep(0.6)
        assert service.get()["recording"]
        until(lambda: requests(sink) == count + 1, service)
        state = service.get("/state")
        assert state["on"]
        assert state["failures"] == {}
        assert "switched on again" in service.log
        assert service.threads() == working


def test_a_request_under_way_survives_off_and_on_and_counts_no_gauge_below_zero(tmp_path):
    with running("threading", tmp_path) as (service, _):
        service.get()
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(service.get("/slow")))
        waiting.start()
        until(lambda: service.get("/state")["active"] == [2], service)
        service.switch.touch()
        until(lambda: "switched off" in service.log, service)
        off = service.get("/state")
        assert off["series"] < 20, "only what hooks hold bound is left"
        service.switch.unlink()
        time.sleep(0.6)
        service.get()
        service.gate.touch()
        waiting.join(20)
        assert answers
        assert service.get("/state")["active"] == [1], "the request that tells it, and nobody else"


def test_a_service_that_starts_switched_off_starts_nothing(tmp_path):
    (tmp_path / "off").touch()
    with running("threading", tmp_path) as (service, sink):
        assert not service.get()["recording"]
        assert service.threads() == 0
        assert service.get("/state")["on"] == []
        service.switch.unlink()
        time.sleep(0.6)
        assert service.get()["recording"]
        sink.wait(lambda: requests(sink) == 1)
