# SPDX-License-Identifier: Apache-2.0
"""The edge under real servers, on a port and on a Unix socket: what each makes of addresses and repeated headers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_openstack.analysis.otlp import Recording
from otel_openstack.analysis.spans import Span, spans_of

BIN = Path(sys.executable).parent
SITE = Path(__file__).parent / "site"
UWSGI = "uwsgi --http-socket {place} --module edge.wsgi --master --enable-threads --lazy-apps --die-on-term --need-app"
GUNICORN = "gunicorn --no-control-socket --bind {bind} edge.wsgi"
PYTHON = f"python -W ignore {SITE}/edge/wsgi.py {{name}} {{place}}"
SERVERS = [
    ("uwsgi", UWSGI, "port"),
    ("uwsgi", UWSGI, "unix"),
    ("gunicorn", GUNICORN, "port"),
    ("gunicorn", GUNICORN, "unix"),
    ("eventlet", PYTHON, "port"),
    *[(name, PYTHON, "unix") for name in ("eventlet", "cheroot", "werkzeug")],
]
PUBLIC = "X-Forwarded-For: 203.0.113.9"
REQUESTS: list[tuple[tuple[str, ...], bool]] = [
    # lines of the request, whether its context is taken over
    ((), True),
    ((PUBLIC,), False),
    (("X-Forwarded-For: 127.0.0.1", PUBLIC), False),  # the client's, then the proxy's own
    (("Forwarded: for=127.0.0.1", PUBLIC), False),
    (("X-Forwarded-For: 127.0.0.1",), True),
    (("X-Forwarded-Proto: https",), False),
]


class Server:
    """A server in a process of its own, under the launcher."""

    def __init__(self, name: str, command: str, kind: str, directory: Path) -> None:
        self.directory = directory
        self.seen: list[dict[str, str]] = []
        directory.mkdir()
        if kind == "port":
            with socket.socket() as found:
                found.bind(("127.0.0.1", 0))
                self.place: tuple[str, int] | str = found.getsockname()
            place = str(self.place[1])
            bind = f"127.0.0.1:{place}"
        else:
            place = self.place = os.path.relpath(directory / "s")  # the path of a socket is short
            bind = f"unix:{place}"
        words = command.format(name=name, place=bind if kind == "port" and name == "uwsgi" else place, bind=bind)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OTEL_")},
            "PYTHONPATH": str(SITE),
            "OTEL_TRACES_EXPORTER": "otlp_file",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_OPENSTACK_FILE_DIRECTORY": str(directory / "otlp"),
        }
        program, *arguments = words.split()
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "opentelemetry-instrument", BIN / program, *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
        made.settimeout(10)
        try:
            made.connect(self.place)
        except OSError:
            made.close()
            raise
        return made

    def wait(self) -> None:
        end = time.monotonic() + 40
        while True:
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                self.connect().close()
                return
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def call(self, number: int, lines: tuple[str, ...]) -> dict[str, str]:
        """Send request `number`; returns the baggage that the application saw."""
        sent = (
            f"GET /{number} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Traceparent: 00-{number + 1:032x}-{number + 1:016x}-01",
            "Baggage: tenant=t",
            *lines,
        )
        with self.connect() as client:
            client.sendall("\r\n".join((*sent, "", "")).encode())
            head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        assert head.split()[1:2] == [b"200"], (head, self.log())
        found: dict[str, str] = json.loads(body[body.index(b"{") : body.index(b"}") + 1])  # it may be chunked
        return found

    def spans(self) -> list[Span]:
        end, found = time.monotonic() + 20, []
        while len(found) < len(REQUESTS):
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)
            if (self.directory / "otlp").is_dir():
                found = [s for r in Recording(self.directory / "otlp").requests() for s in spans_of(r)]
                found = [span for span in found if span.kind == "SERVER"]
        return sorted(found, key=lambda span: str(span.attributes["url.path"]))

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with its workers: it is in a session of its own
        self.process.wait()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Server]]:
    directory = tmp_path_factory.mktemp("servers")
    started: dict[tuple[str, str], Server] = {}
    try:
        for name, command, kind in SERVERS:
            started[name, kind] = Server(name, command, kind, directory / f"{name}-{kind}")
        for server in started.values():
            server.wait()
        for server in started.values():
            server.seen = [server.call(number, lines) for number, (lines, _) in enumerate(REQUESTS)]
        yield started
    finally:
        for server in started.values():
            server.stop()


@pytest.mark.servers
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, _, kind in SERVERS])
def test_the_edge(servers: dict[tuple[str, str], Server], name: str, kind: str) -> None:
    server = servers[name, kind]
    assert server.seen == [{"tenant": "t"} if trusted else {} for _, trusted in REQUESTS]
    for number, (span, (_, trusted)) in enumerate(zip(server.spans(), REQUESTS, strict=True), 1):
        sent = (f"{number:032x}", f"{number:016x}")
        if trusted:
            assert ((span.trace_id, span.parent_id), span.links) == (sent, [])
        else:
            assert (span.parent_id or "", span.links) == ("", [sent])
            assert span.trace_id != sent[0]
