# SPDX-License-Identifier: Apache-2.0
"""Bytes of strangers sent to real servers: each answers byte for byte as the same server without us."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from otel_openstack.analysis.otlp import Recording
from otel_openstack.analysis.spans import spans_of
from tests.hostile import corpus
from tests.wsgi.test_servers import BIN, SERVERS, SITE, wait

CHOSEN = ("uwsgi", "eventlet", "gunicorn-sync")


def request(line: bytes = b"GET /list HTTP/1.1", *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((line, b"Host: x", b"Connection: close", *headers, b"", body))


def header(name: bytes, value: str) -> bytes:
    return name + b": " + value.encode("latin-1", "replace").replace(b"\n", b" ").replace(b"\r", b" ")[:3500]


REQUESTS = (
    *(request(b"GET /list HTTP/1.1", header(b"traceparent", value)) for value in corpus.PARENTS),
    *(
        request(b"GET /list HTTP/1.1", header(b"traceparent", corpus.PARENT), header(b"tracestate", value))
        for value in corpus.STATES
    ),
    *(request(b"GET /list HTTP/1.1", header(b"baggage", value)) for value in corpus.BAGGAGE),
    request(b"GET /list HTTP/1.1", *[b"traceparent: " + corpus.PARENT.encode()] * 2),
    request(b"GET /list HTTP/1.1", b"X-Openstack-Request-Id: req-" + b"a" * 3000),
    request(b"GET /list HTTP/1.1", b"X-Request-Start: t=" + b"9" * 300),
    request(b"GET /list HTTP/1.1", b"User-Agent: \xff\x00\xfe\xed\xa0\x80"),
    request(b"GET /list HTTP/1.1", b"User-Agent: " + b"\xf0\x9f\x98\x80" * 500),
    request(b"BREW /list HTTP/1.1"),
    request(b"get /list HTTP/1.1"),
    request(b"G" * 200 + b" /list HTTP/1.1"),
    request(b"GET /" + b"a" * 3000 + b" HTTP/1.1"),
    request(b"GET /%00%ff%ed%a0%80?%0d%0aX-Injected:yes HTTP/1.1"),
    request(b"GET /\xff\xfe HTTP/1.1"),
    request(b"GET http://user:geheim@x/list HTTP/1.1"),
    request(b"GET /raise?token=geheim HTTP/1.1"),
    request(b"GET /list HTTP/9.9"),
    request(b"PUT /read HTTP/1.1", b"Content-Length: 3", body=b"abc"),
    request(b"PUT /read HTTP/1.1", b"Content-Length: -3"),
    request(b"PUT /read HTTP/1.1", b"Content-Length: x"),
    request(b"PUT /read HTTP/1.1", b"Content-Length: " + b"9" * 30),
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
    b"\x00" * 100 + b"\r\n\r\n",
)  # fmt: skip


class Server:
    """The demo under one server, with us or without."""

    def __init__(self, name: str, directory: Path, *, launched: bool) -> None:
        directory.mkdir()
        self.log, self.otlp = directory / "log", directory / "otlp"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        program, *words = SERVERS[name].format(port=self.port).split()
        environment = {
            **os.environ,
            "PYTHONPATH": str(SITE),
            "OTEL_SERVICE_NAME": "demo",
            "OTEL_TRACES_EXPORTER": "otlp_file",
            "OTEL_METRICS_EXPORTER": "otlp_file",
            "OTEL_OPENSTACK_FILE_DIRECTORY": str(self.otlp),
            "OTEL_OPENSTACK_STRICT": "1",  # what fails in us would change the answer
        }
        launcher = [BIN / "opentelemetry-instrument"] if launched else []
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

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def listens(self) -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
            return True
        return False

    def answer(self, sent: bytes) -> bytes:
        """Return the answer without what may differ: the date, and the frames where a server shows its own failure."""
        found = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while part := client.recv(65536):
                    found += part
        found = re.sub(rb"(?i)(Date: |date: )[^\r\n]*", b"", found)
        return (
            re.sub(rb"Content-Length: \d+", b"", found.partition(b"Traceback")[0]) if b"Traceback" in found else found
        )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            finally:
                self.process.kill()
                self.process.wait()


@pytest.mark.servers
@pytest.mark.parametrize("name", CHOSEN)
def test_each_answer_is_the_one_without_us(name, tmp_path):
    plain, ours = (Server(name, tmp_path / kind, launched=kind == "ours") for kind in ("plain", "ours"))
    try:
        for server in (plain, ours):
            wait(server.listens, server.text)
        for sent in REQUESTS:
            assert (sent[:200], ours.answer(sent)) == (sent[:200], plain.answer(sent))
        wait(lambda: ours.otlp.is_dir() and len(spans(ours)) > len(corpus.PARENTS), ours.text)
    finally:
        plain.stop()
        ours.stop()
    assert "hook" not in ours.text()
    exported = b"".join(path.read_bytes() for path in ours.otlp.iterdir())
    assert exported.count(b"geheim") == 0
    assert max(len(str(span)) for span in spans(ours)) < 20_000


def spans(server: Server) -> list[object]:
    return [span for found in Recording(server.otlp).requests() for span in spans_of(found)]
