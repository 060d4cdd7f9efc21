# SPDX-License-Identifier: Apache-2.0
"""Where the variants export to: one server for all, which keeps what came under each path, to be counted later."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import tempfile
import threading
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Got(NamedTuple):
    """One request of an exporter."""

    path: str
    headers: dict[str, str]
    body: bytes


class Sink:
    """A context manager. `url(name)` is where the variant `name` exports to; `found(name)` counts what came."""

    def __init__(self) -> None:
        self.got: dict[str, list[Got]] = defaultdict(list)
        self.wire: Counter[str] = Counter()
        self.datagrams: Counter[str] = Counter()
        self._names: list[str] = []

    def __enter__(self) -> Sink:  # noqa: PYI034 Self needs Python 3.11
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._directory = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self._directory.name, "metrics.sock")
        self.udp = self._listen(socket.AF_INET, ("127.0.0.1", 0), "statsd").getsockname()
        self._listen(socket.AF_UNIX, self.socket, "oslo.metrics")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._directory.cleanup()

    def _listen(self, family: int, address: Any, name: str) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**23)
        listener.bind(address)

        def read() -> None:
            with contextlib.suppress(OSError):
                while True:
                    listener.recv(65536)
                    self.datagrams[name] += 1

        threading.Thread(target=read, daemon=True).start()
        return listener

    def url(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        return f"http://{self.address}/{self._names.index(name)}"

    def of(self, name: str) -> list[Got]:
        got = self.got[str(self._names.index(name))]
        return got + self.got["v0.5"] + self.got["v0.4"] if name == "ddtrace" else got  # it takes no path

    def found(self, name: str) -> dict[str, int]:
        """Return how many spans and points came, and the bytes of their requests."""
        found: Counter[str] = Counter()
        for got in self.of(name):
            found["bytes"] += len(got.body)
            for kind, number in _items(got):
                found[kind] += number
        return dict(found)


def _unpacked(got: Got) -> bytes:
    return {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(got.headers.get("content-encoding", ""), bytes)(
        got.body
    )


def _items(got: Got) -> Iterator[tuple[str, int]]:
    if got.path.endswith("/v1/traces"):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        message: Any = ExportTraceServiceRequest.FromString(_unpacked(got))
        yield "spans", sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)
    elif got.path.endswith("/v1/metrics"):
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        message = ExportMetricsServiceRequest.FromString(_unpacked(got))
        for resource in message.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield "points", len(getattr(metric, metric.WhichOneof("data")).data_points)
    elif "x-datadog-trace-count" in got.headers:
        yield "spans", int(got.headers["x-datadog-trace-count"])
    elif "/envelope" in got.path:
        for line in _unpacked(got).split(b"\n"):
            with contextlib.suppress(ValueError):
                if json.loads(line).get("type") == "transaction" and b'"spans"' in line:
                    yield "spans", 1


def _handler(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def _take(self) -> None:
            if "chunked" in self.headers.get("transfer-encoding", ""):
                body = b"".join(iter(self._chunk, b""))
            else:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
            head = {name.lower(): text for name, text in self.headers.items()}
            if self.path != "/port":
                sink.got[self.path.split("/")[1]].append(Got(self.path, head, body))
            answer = b"{}" if "json" in head.get("content-type", "json") else b""
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _chunk(self) -> bytes:
            size = int(self.rfile.readline().split(b";")[0], 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            return data

        do_GET = do_POST = do_PUT = _take  # noqa: N815 the base class's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
