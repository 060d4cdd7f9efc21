# SPDX-License-Identifier: Apache-2.0
"""A small OTLP/HTTP collector for tests, in every state a collector can be in.

    with Sink("up") as sink:
        ... a process that exports to sink.url ...
        sink.wait(lambda: len(sink.spans()) == 3)

Modes: up; slow (answers after `delay` seconds); partial (rejects one item of each request); 503, 400 and other numbers;
redirect; hanging (accepts, never answers); blackhole (answers no SYN: the backlog is full); refusing (nobody listens);
closing (closes after each answer); drip (a byte of the answer every 0.1 s).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

REQUESTS = {
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}
RESPONSES = {
    "traces": trace_service_pb2.ExportTraceServiceResponse,
    "metrics": metrics_service_pb2.ExportMetricsServiceResponse,
    "logs": logs_service_pb2.ExportLogsServiceResponse,
}
REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
FILE_KEYS = {"traces": "resourceSpans", "metrics": "resourceMetrics", "logs": "resourceLogs"}
HEX_FIELDS = ("traceId", "spanId", "parentSpanId")


@dataclass
class Request:
    """One request that came in; `answered` says whether the answer left completely."""

    signal: str
    path: str
    headers: dict[str, str]
    message: Any
    answered: bool = False
    connection: tuple[str, int] = ("", 0)


def attributes(pairs: Any) -> dict[str, Any]:
    """Turn OTLP key-values into a dict of Python values."""
    return {pair.key: value(pair.value) for pair in pairs}


def value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def decode(signal: str, body: bytes, content_type: str) -> Any:
    """Decode a request; OTLP JSON writes ids in hexadecimal, where protobuf's JSON wants base64."""
    message = REQUESTS[signal]()
    if "json" in content_type:
        json_format.Parse(json.dumps(_ids_for_protobuf(json.loads(body))), message)
    else:
        message.ParseFromString(body)
    return message


def _ids_for_protobuf(node: Any) -> Any:
    import base64

    if isinstance(node, dict):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode() if key in HEX_FIELDS else _ids_for_protobuf(item)
            for key, item in node.items()
        }
    return [_ids_for_protobuf(item) for item in node] if isinstance(node, list) else node


def spans_of(message: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield (resource attributes, scope name, span) of an ExportTraceServiceRequest."""
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield attributes(resource.resource.attributes), scope.scope.name, span


def points_of(message: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield (resource attributes, metric name, data point) of an ExportMetricsServiceRequest."""
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    yield attributes(resource.resource.attributes), metric.name, point


def records_of(message: Any) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield (resource attributes, scope name, log record) of an ExportLogsServiceRequest."""
    for resource in message.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield attributes(resource.resource.attributes), scope.scope.name, record


ITEMS = {"traces": spans_of, "metrics": points_of, "logs": records_of}


class Sink:
    """The collector; a context manager. `mode` may be changed while it runs, if both modes have a server."""

    def __init__(self, mode: str = "up", delay: float = 2.0, tls: Any = None) -> None:
        self.mode = mode
        self.delay = delay
        self.tls = tls
        self.requests: list[Request] = []
        self.retry_after = ""
        self.ended = threading.Event()
        self._cleanup = contextlib.ExitStack()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Sink:  # noqa: PYI034 - Self needs Python 3.11
        if self.mode == "refusing":
            self._refuse()
        elif self.mode == "blackhole":
            self._swallow()
        else:
            self._serve()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._cleanup.close()

    def read(self, path: Path) -> None:
        """Take in what the file exporter wrote, as if it had come in requests."""
        for line in path.read_bytes().splitlines():
            signal = next(s for s, key in FILE_KEYS.items() if key in json.loads(line))
            self.requests.append(Request(signal, str(path), {}, decode(signal, line, "json"), answered=True))

    def items(self, signal: str, *, answered: bool = True) -> list[tuple[dict[str, Any], str, Any]]:
        """Return what arrived of `signal`; by default only what was acknowledged with a 2xx."""
        found = []
        for request in tuple(self.requests):
            if request.signal == signal and (request.answered or not answered):
                found += list(ITEMS[signal](request.message))
        return found

    def spans(self) -> list[tuple[dict[str, Any], str, Any]]:
        return self.items("traces")

    def points(self, name: str = "") -> list[tuple[dict[str, Any], str, Any]]:
        return [item for item in self.items("metrics") if not name or item[1] == name]

    def records(self) -> list[tuple[dict[str, Any], str, Any]]:
        return self.items("logs")

    def spans_by_pid(self) -> Counter[int]:
        """Count the spans that arrived by the pid of their resource."""
        return Counter(resource["process.pid"] for resource, _, _ in self.spans())

    def wait(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Poll until `condition()`; returns whether it came true."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _refuse(self) -> None:
        # Bound but not listening: nobody else gets the port, and every connection is refused.
        holder = self._cleanup.enter_context(socket.socket())
        holder.bind(("127.0.0.1", 0))
        self.port = holder.getsockname()[1]

    def _swallow(self) -> None:
        listener = self._cleanup.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        self.port = listener.getsockname()[1]
        for _ in range(8):
            filler = self._cleanup.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
        time.sleep(0.05)

    def _serve(self) -> None:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.sink = self
        if self.tls:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        self._cleanup.callback(end)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    sink: Sink

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        sink = self.server.sink
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(
            self.headers.get("content-encoding", ""), bytes
        )
        content_type = self.headers.get("content-type", "")
        path = self.path.partition("?")[0]
        signal = next((s for s in REQUESTS if path.endswith(s)), "traces")
        message = decode(signal, unpack(body), content_type)
        headers = {name.lower(): text for name, text in self.headers.items()}
        request = Request(signal, self.path, headers, message, connection=self.client_address)
        sink.requests.append(request)
        with contextlib.suppress(OSError):
            self._answer(sink, request, content_type)

    def _answer(self, sink: Sink, request: Request, content_type: str) -> None:
        mode = sink.mode
        if mode == "hanging":
            sink.ended.wait(60)
            self.close_connection = True
            return
        if mode == "slow":
            sink.ended.wait(sink.delay)
        if mode == "redirect":
            self._reply(307, b"", content_type, [("location", "http://127.0.0.1:9/")])
            return
        if mode.isdigit():
            extra = [("retry-after", sink.retry_after)] if sink.retry_after else []
            self._reply(int(mode), b"not today", "text/plain", extra)
            return
        response = RESPONSES[request.signal]()
        if mode == "partial":
            setattr(response.partial_success, REJECTED[request.signal], 1)
            response.partial_success.error_message = "one is too many"
        as_json = "json" in content_type
        body = json_format.MessageToJson(response).encode() if as_json else response.SerializeToString()
        if mode == "closing":
            self.close_connection = True
        if self._client_is_gone():
            return
        extra = [("connection", "close")] if mode == "closing" else []
        request.answered = True  # before the client can know, so that nobody who does finds it missing
        try:
            self._reply(200, body, content_type, extra, drip=mode == "drip")
        except OSError:
            request.answered = False

    def _client_is_gone(self) -> bool:
        """Whether the client has given up: an answer that nobody reads acknowledges nothing."""
        self.connection.settimeout(0)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, ValueError):  # ValueError: TLS has no flags
            return False
        except OSError:
            return True
        finally:
            self.connection.settimeout(None)

    def _reply(
        self, status: int, body: bytes, content_type: str, extra: list[tuple[str, str]], *, drip: bool = False
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {content_type}", f"content-length: {len(body)}"]
        lines += [f"{name}: {text}" for name, text in extra]
        answer = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        for piece in [answer[i : i + 1] for i in range(len(answer))] if drip else [answer]:
            self.wfile.write(piece)
            self.wfile.flush()
            if drip:
                time.sleep(0.1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""
