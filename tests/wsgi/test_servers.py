# SPDX-License-Identifier: Apache-2.0
"""Real servers under the launcher, with clients that misbehave: what was exported, against the server's own log."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from otel_openstack.analysis.metrics import Series
from otel_openstack.analysis.metrics import read as read_metrics
from otel_openstack.analysis.otlp import Recording
from otel_openstack.analysis.spans import Span, spans_of

BIN = Path(sys.executable).parent
SITE = Path(__file__).parent / "site"
FILE = SITE / "demo/wsgi/api.py"
UWSGI = (
    "uwsgi --http-socket 127.0.0.1:{port} --module demo.wsgi.api:application --master --processes 1 --threads 8 "
    "--enable-threads --lazy-apps --die-on-term --need-app --add-header Connection:close --worker-reload-mercy 5"
)
GUNICORN = (
    "gunicorn --bind 127.0.0.1:{port} --worker-class {kind} --threads 8 --access-logfile - --no-control-socket "
    "--graceful-timeout 3 demo.wsgi.api:application"
)
PYTHON = f"python -W ignore {SITE}/serve.py {{name}} {{port}}"

SERVERS: dict[str, str] = {
    "uwsgi": UWSGI,
    "gunicorn-gthread": GUNICORN.replace("{kind}", "gthread"),
    "gunicorn-sync": GUNICORN.replace("{kind}", "sync").replace("--threads 8", ""),
    **{name: PYTHON.replace("{name}", name) for name in ("eventlet", "wsgiref", "werkzeug", "cheroot")},
}
MODULE = "--module demo.wsgi.api:application"
SCRIPT = Path(__file__).parent / "scripts" / "plain.wsgi"
PLAINLY = {
    "wsgi-file": UWSGI.replace(MODULE, f"--wsgi-file {SCRIPT}"),
    "wsgi-file, callable": UWSGI.replace(MODULE, f"--wsgi-file {SCRIPT} --callable serve"),
    "wsgi-file, import": UWSGI.replace(MODULE, f"--import otel_openstack.auto --wsgi-file {SCRIPT}"),
    "mount of a file": UWSGI.replace(MODULE, f"--mount /={SCRIPT} --single-interpreter"),
    "mount of a module": UWSGI.replace(MODULE, "--mount /=plainly:serve --single-interpreter"),
    "module:name": UWSGI.replace("demo.wsgi.api:application", "plainly:serve"),
    "callable": UWSGI.replace("demo.wsgi.api:application", "plainly --callable serve"),
}
REQUESTS = 107
LOGGED = re.compile(r"\b(GET|PUT) (/[a-z]*)(?= => | HTTP/1)")


class Service:
    """A server of the demo in a process of its own."""

    def __init__(self, name: str, directory: Path, command: str = "", **more: str) -> None:
        self.name = name
        self.log = directory / "log"
        self.otlp = directory / "otlp"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        program, *words = (command or (SERVERS | PLAINLY)[name]).format(port=self.port).split()
        environment = {
            **os.environ,
            "PYTHONPATH": str(SITE),
            "OTEL_SERVICE_NAME": "demo",
            "OTEL_TRACES_EXPORTER": "otlp_file",
            "OTEL_METRICS_EXPORTER": "otlp_file",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_OPENSTACK_FILE_DIRECTORY": str(self.otlp),
            "OTEL_OPENSTACK_STRICT": "0",
            **more,
        }
        launcher = [] if name.endswith("import") else [BIN / "opentelemetry-instrument"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*launcher, BIN / program, *words],
                env=environment,
                cwd=directory,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        wait(self.listens, self.text)

    def listens(self) -> bool:
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def get(self, path: str) -> tuple[int | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.HTTPException, ConnectionError):
            return None, b""
        finally:
            connection.close()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            try:
                self._ask_to_end()
            finally:
                self.process.kill()
                self.process.wait()

    def _ask_to_end(self) -> None:
        """Signal until it ends: an exception that a signal raises inside a finalizer is lost to the interpreter."""
        for _ in range(5):
            self.process.send_signal(signal.SIGINT if self.name == "cheroot" else signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return
        raise AssertionError("does not end: " + self.text()[-2000:])

    def spans(self) -> list[Span]:
        if not any(self.otlp.glob("*.jsonl")):
            return []
        return [span for request in Recording(self.otlp).requests() for span in spans_of(request)]


def wait(condition: Callable[[], Any], explain: Callable[[], str], timeout: float = 20.0) -> Any:
    end = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < end, explain()
        time.sleep(0.02)
    return result


@pytest.fixture(params=SERVERS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    started = Service(request.param, tmp_path)
    try:
        yield started
    finally:
        started.stop()


@pytest.mark.servers
def test_requests_of_all_kinds(service: Service) -> None:
    assert service.get("/stream") == (200, b"x" * 30)
    assert service.get("/file") == (200, FILE.read_bytes())
    service.get("/raise")
    service.get("/midway")
    abort_while_receiving(service)
    slow_upload(service)
    abort_while_sending(service)
    with ThreadPoolExecutor(8) as clients:
        assert Counter(clients.map(service.get, ["/list"] * 100)) == {(200, b"abc"): 100}
    # How a busy worker may be stopped, and what it then loses, is the process model's test.
    wait(lambda: len(service.spans()) >= REQUESTS, service.text)
    service.stop()
    check_spans(service)
    check_points(service)
    check_log(service)


@pytest.mark.servers
@pytest.mark.parametrize("name", PLAINLY)
def test_what_uwsgi_is_told_to_load_may_have_any_name(name: str, tmp_path: Path) -> None:
    service = Service(name, tmp_path)
    try:
        assert service.get("/") == (200, b"ok")
        (span,) = wait(service.spans, service.text)
        assert (span.kind, span.attributes["url.path"]) == ("SERVER", "/")
    finally:
        service.stop()


RISING = """
import otel_openstack.auto
from otel_openstack import levels
def application(environ, start_response):
    levels.move("basic")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.servers
@pytest.mark.parametrize("name", ["launcher", "its own import"])
def test_a_script_loaded_at_level_off_is_measured_when_the_level_rises(name: str, tmp_path: Path) -> None:
    script = tmp_path / "api.wsgi"
    script.write_text(RISING)
    command = UWSGI.replace(MODULE, f"--wsgi-file {script}")
    level = {"OTEL_OPENSTACK_LEVEL": "off", "OTEL_OPENSTACK_LEVEL_CEILING": "basic"}
    service = Service(name, tmp_path, command, **level)
    try:
        assert service.get("/off") == (200, b"ok")
        assert service.get("/on") == (200, b"ok")
        (span,) = wait(service.spans, service.text)
        assert span.attributes["url.path"] == "/on"
    finally:
        service.stop()


MOUNTED = UWSGI.replace(MODULE, f"--manage-script-name --mount /a={SCRIPT} --mount /b={SCRIPT}")
APART = {
    "launcher": "an application is not measured: it runs in a sub-interpreter",
    "import": "only the first application is measured, others run in sub-interpreters",
}


@pytest.mark.servers
@pytest.mark.parametrize("name", APART)
def test_applications_in_sub_interpreters_work_and_it_is_said_once(name: str, tmp_path: Path) -> None:
    command = MOUNTED + (" --import otel_openstack.auto" if name == "import" else "")
    service = Service(name, tmp_path, command)
    try:
        assert [service.get(f"/{part}/x") for part in "ab" * 3] == [(200, b"ok")] * 6
        wait(lambda: len(service.spans()) >= 3 and APART[name] in service.text(), service.text)
    finally:
        service.stop()
    assert Counter(span.attributes["url.path"] for span in service.spans()) == {"/a/x": 3}
    assert service.text().count(APART[name]) == 1
    assert "NO MERCY" not in service.text()


@pytest.mark.servers
def test_a_group_with_a_level_of_its_own_is_measured_at_level_off(tmp_path: Path) -> None:
    level = {"OTEL_OPENSTACK_LEVEL": "off", "OTEL_OPENSTACK_LEVELS": "http=basic"}
    service = Service("wsgi-file", tmp_path, **level)
    try:
        assert service.get("/") == (200, b"ok")
        assert wait(service.spans, service.text)
    finally:
        service.stop()


def abort_while_sending(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client.recv(100_000)


def slow_upload(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"PUT /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 30\r\n\r\n")
        for _ in range(3):
            time.sleep(0.1)
            client.sendall(b"x" * 10)
        assert client.makefile("rb").read().endswith(b"30")


def abort_while_receiving(service: Service) -> None:
    with service.connect() as client:
        client.sendall(b"PUT /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 30\r\n\r\nxxxxx")
        time.sleep(0.1)


def check_spans(service: Service) -> None:
    spans = [span for span in service.spans() if span.kind == "SERVER"]
    paths: dict[str, list[Span]] = {}
    for span in spans:
        paths.setdefault(str(span.attributes["url.path"]), []).append(span)
    counts = {path: len(found) for path, found in paths.items()}
    expected = {"/stream": 1, "/raise": 1, "/midway": 1, "/read": 2, "/endless": 1, "/list": 100, "/file": 1}
    assert counts == expected, service.text()[-4000:]
    assert len({span.trace_id for span in spans}) == len(spans)
    (stream,) = paths["/stream"]
    assert seconds(stream) >= 0.3
    assert stream.attributes["http.response.body.size"] == 30
    (file,) = paths["/file"]
    assert file.attributes["http.response.body.size"] == FILE.stat().st_size
    assert "error.type" not in file.attributes
    (raised,) = paths["/raise"]
    assert raised.attributes["error.type"] == "KeyError"
    (midway,) = paths["/midway"]
    assert midway.attributes["error.type"] == "ValueError"
    (endless,) = paths["/endless"]
    assert endless.attributes["http.response.status_code"] == 200
    assert "error.type" in endless.attributes
    assert not endless.error
    upload = max(paths["/read"], key=lambda span: int(str(span.attributes["http.request.body.size"])))
    assert upload.attributes["http.request.body.size"] == 30
    assert {span.attributes["http.response.body.size"] for span in paths["/list"]} == {3}


def seconds(span: Span) -> float:
    return span.duration / 1e9


def check_points(service: Service) -> None:
    metrics = {metric.name: metric for metric in read_metrics(Recording(service.otlp).requests()).services()["demo"]}
    durations = metrics["http.server.request.duration"].series.values()
    assert sum(spread(series).count for series in durations) == REQUESTS
    (active,) = {series.newest.value for series in metrics["http.server.active_requests"].series.values()}
    assert active == 0
    errors = metrics["openstack.http.server.io.errors"].series
    phases = {dict(labels).get("openstack.http.io.phase") for _, labels in errors}
    assert phases == {"receive", "send"}
    limits = metrics["openstack.wsgi.backlog.connection.limit"].series
    assert [(dict(labels)["server.port"], bool(series.newest.value)) for (_, labels), series in limits.items()] == [
        (str(service.port), True)
    ]


def spread(series: Series) -> Any:
    found = series.newest.spread
    assert found is not None
    return found


def check_log(service: Service) -> None:
    """The witness that is not ours: one line a request. A server may leave out requests that it broke off."""
    logged = Counter(path for _, path in LOGGED.findall(service.text()))
    assert logged["/list"] == 100
    assert logged["/stream"] == 1
