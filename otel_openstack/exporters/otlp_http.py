# SPDX-License-Identifier: Apache-2.0
"""OTLP over HTTP, protobuf or JSON.

One attempt a call: whoever holds the data decides how long to keep it. After a failure the next attempts wait, one
second and then up to five, or as long as the server asks. A server that fails is reported once, and once when it is
back; what it does in between is counted, not told.
"""

from __future__ import annotations

import zlib

from otel_openstack import __version__
from otel_openstack.exporters import partial
from otel_openstack.exporters.connection import Connection, Response, TransportError
from otel_openstack.exporters.endpoints import GRPC_PORT, Endpoint, Origin
from otel_openstack.exporters.sink import Encoding, Outcome, Signal
from otel_openstack.runtime import notices, process, worker
from otel_openstack.runtime.originals import monotonic

RETRYABLE = frozenset({429, 502, 503, 504})
CONTENT_TYPES: dict[Encoding, str] = {"protobuf": "application/x-protobuf", "json": "application/json"}
WBITS = {"gzip": 31, "deflate": 15}
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 5.0  # seconds
LONGEST_REQUESTED_PAUSE = 300.0
LAST_CHANCE = 0.15  # seconds for a server that has failed before, when the process ends
WORDS_OF_OTHERS = 200  # characters of a server's message that go into a log line
WHAT_NOW = "the data is kept for a while, then dropped and counted"


class _Server:
    """A server and what is known about its health."""

    def __init__(self, origin: Origin) -> None:
        self.connection = Connection(origin)
        self.failures = 0
        self.not_before = 0.0


class OtlpHttp:
    """A sink that posts to an OTLP/HTTP collector, for one signal or several."""

    def __init__(self, encoding: Encoding = "protobuf") -> None:
        self.encoding: Encoding = encoding
        self._endpoints: dict[Signal, Endpoint] = {}
        self._servers: dict[Origin, _Server] = {}
        self._told: set[tuple[str, int]] = set()
        process.on_child(self._forget)

    def add(self, signal: Signal, endpoint: Endpoint) -> None:
        """Send `signal` to `endpoint`; nothing is opened yet.

        Raises:
            OSError: a certificate or key file cannot be used.

        """
        if endpoint.origin not in self._servers:
            self._servers[endpoint.origin] = _Server(endpoint.origin)
        self._endpoints[signal] = endpoint

    def send(self, signal: Signal, payload: bytes, items: int, deadline: float) -> tuple[Outcome, int]:
        """See `Sink.send`."""
        endpoint = self._endpoints[signal]
        server = self._servers[endpoint.origin]
        now = monotonic()
        ending = worker.cutoff() != worker.NEVER
        if now < server.not_before and not ending:
            return Outcome.RETRY, 0
        if ending and server.failures:
            deadline = min(deadline, now + LAST_CHANCE)
        try:
            response = server.connection.post(
                endpoint.target,
                self._headers(endpoint),
                _compressed(payload, endpoint.compression),
                min(deadline, now + endpoint.timeout),
            )
        except TransportError as error:
            return self._failed(server, endpoint, str(error))
        except Exception as error:  # a defect of ours must not end the export thread
            server.connection.close()
            return self._failed(server, endpoint, f"{type(error).__name__}: {error}")
        return self._judge(server, endpoint, response, items)

    def close(self) -> None:
        """Close the connections."""
        for server in self._servers.values():
            server.connection.close()

    def describe(self) -> str:
        """See `Sink.describe`."""
        base = {e.origin.url + e.target.removesuffix(f"/v1/{signal}") for signal, e in self._endpoints.items()}
        return ", ".join(sorted(base))

    def _headers(self, endpoint: Endpoint) -> list[tuple[str, str]]:
        headers = dict(endpoint.headers)
        headers.setdefault("user-agent", f"otel-openstack/{__version__}")
        headers["content-type"] = CONTENT_TYPES[self.encoding]
        if endpoint.compression:
            headers["content-encoding"] = endpoint.compression
        return list(headers.items())

    def _judge(self, server: _Server, endpoint: Endpoint, response: Response, items: int) -> tuple[Outcome, int]:
        status = response.status
        if 200 <= status < 300:  # noqa: PLR2004 - the class of success
            self._succeeded(server, endpoint)
            count, message = partial.rejected(response.body, response.headers.get("content-type", ""))
            count = min(count, items)
            if count:
                self._tell_once(endpoint, 0, f"rejects part of the data: {message[:WORDS_OF_OTHERS] or 'no reason'}")
            return Outcome.DELIVERED, count
        if status in RETRYABLE:
            return self._failed(server, endpoint, f"status {status}", _retry_after(response))
        server.failures = 0
        hint = "redirects are not followed; give the final address" if status // 100 == 3 else _words(response)  # noqa: PLR2004
        self._tell_once(endpoint, status, f"answers {status}, the data is dropped: {hint}")
        return Outcome.REJECTED, 0

    def _succeeded(self, server: _Server, endpoint: Endpoint) -> None:
        server.not_before = 0.0
        if server.failures:
            server.failures = 0
            notices.say("info", f"export to {endpoint.origin.url} works again")

    def _failed(
        self, server: _Server, endpoint: Endpoint, reason: str, pause: float | None = None
    ) -> tuple[Outcome, int]:
        if not server.failures:
            if endpoint.origin.port == GRPC_PORT:
                reason += f" ({GRPC_PORT} is usually the port of gRPC; OTLP over HTTP listens on 4318)"
            notices.say("warning", f"export to {endpoint.url} fails: {reason}; {WHAT_NOW}")
        server.failures += 1
        if pause is None:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(server.failures - 1, 8))
        server.not_before = monotonic() + pause
        return Outcome.RETRY, 0

    def _tell_once(self, endpoint: Endpoint, status: int, message: str) -> None:
        if (endpoint.url, status) not in self._told:
            self._told.add((endpoint.url, status))
            notices.say("warning", f"{endpoint.url} {message}")

    def _forget(self) -> None:
        for server in self._servers.values():
            server.connection.forget()
            server.failures, server.not_before = 0, 0.0


def _compressed(payload: bytes, compression: str) -> bytes:
    if not compression:
        return payload
    compressor = zlib.compressobj(wbits=WBITS[compression])
    return compressor.compress(payload) + compressor.flush()


def _retry_after(response: Response) -> float | None:
    """Return the seconds that the server asks for; dates are not worth their parser, the usual pause does."""
    text = response.headers.get("retry-after", "")
    return min(float(text), LONGEST_REQUESTED_PAUSE) if text.isdigit() else None


def _words(response: Response) -> str:
    if "text" not in response.headers.get("content-type", ""):
        return "see the collector's log"
    text = response.body.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:WORDS_OF_OTHERS] or "see the collector's log"
