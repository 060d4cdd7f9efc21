# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection, kept alive, on the C sockets below everything that can be patched.

`http.client` is not used: its timeout starts anew with every packet, it would be imported lazily in the export thread
(a fork in the middle of an import leaves the child a locked module), and its sockets may be green. What an OTLP
exchange needs of HTTP is little. Every wait is cut into slices, so that the end of the process is noticed at once.
"""

from __future__ import annotations

import errno
import posix
from typing import Any

from otel_openstack.exporters import names
from otel_openstack.exporters.endpoints import Origin
from otel_openstack.runtime import originals, worker
from otel_openstack.runtime.originals import monotonic, socket

SLICE = 0.05  # seconds
MAX_HEAD = 64 * 1024  # bytes
MAX_BODY = 64 * 1024
CONTINUE = 100
NO_CONTENT = 204
OK = 200


class TransportError(OSError):
    """The exchange did not take place, for a reason that fits into a log line."""


class Response:
    """Status, headers (lower case) and the body up to `MAX_BODY` bytes."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Connection:
    """A connection to `origin`, opened at the first request and again when the server has closed it."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._context = _tls_context(origin) if origin.scheme == "https" else None
        self._raw: Any = None
        self._stream: Any = None
        self._deadline = 0.0
        self._buffer = b""

    def post(self, target: str, headers: list[tuple[str, str]], body: bytes, deadline: float) -> Response:
        """Send one request and read the answer.

        Raises:
            TransportError: it failed, or took longer than `deadline` or the end of the process allows.

        """
        self._deadline = deadline
        try:
            if not self._is_open():
                self.close()
                self._open()
            self._send(self._head(target, headers, len(body)) + body)
            response, reusable = self._receive()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise _readable(error) from error
            raise
        if not reusable:
            self.close()
        return response

    def close(self) -> None:
        """Close the connection, if there is one."""
        raw, self._raw, self._stream, self._buffer = self._raw, None, None, b""
        if raw is not None:
            raw.close()

    def forget(self) -> None:
        """Let go of a connection that a parent made: close this process's copy, say nothing to the server."""
        raw, self._raw, self._stream, self._buffer = self._raw, None, None, b""
        if raw is not None:
            posix.close(raw.detach())

    def _left(self) -> float:
        left: float = min(self._deadline, worker.cutoff()) - monotonic()
        return left

    def _is_open(self) -> bool:
        """Whether the server still keeps the idle connection: nothing to read means yes, an end of file means no."""
        if self._stream is None:
            return False
        try:
            self._raw.settimeout(0)
            unread = self._raw.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(unread) and self._context is not None  # TLS has records of its own, such as session tickets

    def _open(self) -> None:
        proxy = self.origin.proxy
        host, port = (proxy[0], proxy[1]) if proxy else (self.origin.host, self.origin.port)
        failure: OSError = TransportError("no address")
        for family, address in names.resolve(host, port, self._left):
            try:
                self._connect(family, address)
            except OSError as error:
                failure = error
                self.close()
                continue
            break
        else:
            raise failure
        self._stream = _Plain(self._raw)
        if self._context is not None:
            if proxy:
                self._tunnel(proxy[2])
            self._handshake()

    def _connect(self, family: int, address: Any) -> None:
        raw = self._raw = _Socket(family, socket.SOCK_STREAM)
        raw.settimeout(0)
        code = raw.connect_ex(address)
        if code == errno.EINPROGRESS:
            waiter = originals.poll()
            waiter.register(raw.fileno(), originals.POLLOUT)
            self._sliced(lambda: _ready(waiter))
            code = raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, posix.strerror(code))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _tunnel(self, authorization: str) -> None:
        authority = f"{self.origin.host}:{self.origin.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
        if authorization:
            lines.append(f"proxy-authorization: {authorization}")
        self._send(_encode(lines))
        status, _ = self._receive_head()
        if status != OK:
            raise TransportError(f"the proxy answers {status}")

    def _handshake(self) -> None:
        context: Any = self._context
        self._raw.settimeout(SLICE)
        tls = context._wrap_socket(self._raw, False, self.origin.host)
        self._sliced(tls.do_handshake)
        self._stream = _Tls(tls)

    def _head(self, target: str, headers: list[tuple[str, str]], length: int) -> bytes:
        proxy = self.origin.proxy
        if proxy and self._context is None:
            target = self.origin.url + target
            headers = [*headers, ("proxy-authorization", proxy[2])] if proxy[2] else headers
        lines = [f"POST {target} HTTP/1.1", f"host: {self.origin.authority}", f"content-length: {length}"]
        return _encode(lines + [f"{name}: {value}" for name, value in headers])

    def _send(self, data: bytes) -> None:
        self._raw.settimeout(SLICE)
        rest = memoryview(data)
        while rest:
            piece = rest
            rest = rest[self._sliced(lambda piece=piece: self._stream.write(piece)) :]

    def _more(self) -> bytes:
        self._raw.settimeout(SLICE)
        data: bytes = self._sliced(lambda: self._stream.read(65536))
        return data

    def _receive(self) -> tuple[Response, bool]:
        status, headers = self._receive_head()
        while status == CONTINUE:
            status, headers = self._receive_head()
        body, whole = self._receive_body(status, headers)
        reusable = whole and headers.get("connection", "").lower() != "close" and not self._buffer
        return Response(status, headers, body), reusable

    def _receive_head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD:
                raise TransportError("the answer is no HTTP")
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise TransportError("the answer is no HTTP")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        return int(rest[:3]), headers

    def _fill(self) -> None:
        data = self._more()
        if not data:
            raise TransportError("the server closed the connection without an answer")
        self._buffer += data

    def _receive_body(self, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
        """Return the body, cut at `MAX_BODY`, and whether the connection stands right behind its end."""
        if status == NO_CONTENT:
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._receive_chunks()
        length = headers.get("content-length", "")
        if not length.isdigit():
            return self._receive_rest(), False
        return self._take(int(length))

    def _take(self, length: int) -> tuple[bytes, bool]:
        wanted = min(length, MAX_BODY)
        while len(self._buffer) < wanted:
            self._fill()
        body, self._buffer = self._buffer[:wanted], self._buffer[wanted:]
        return body, length <= MAX_BODY

    def _receive_chunks(self) -> tuple[bytes, bool]:
        body = b""
        while len(body) <= MAX_BODY:
            size = self._line().partition(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError as error:
                raise TransportError("the answer is no HTTP") from error
            if length == 0:
                while self._line():
                    pass  # trailers
                return body, True
            chunk, whole = self._take(length)
            body += chunk
            if not whole:
                break
            self._line()
        return body[:MAX_BODY], False

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD:
                raise TransportError("the answer is no HTTP")
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _receive_rest(self) -> bytes:
        while len(self._buffer) < MAX_BODY:
            data = self._more()
            if not data:
                break
            self._buffer += data
        body, self._buffer = self._buffer[:MAX_BODY], b""
        return body

    def _sliced(self, act: Any) -> Any:
        """Do `act`, which waits at most a slice, until it is through or the time is up."""
        while True:
            if self._left() <= 0:
                raise TransportError("no answer in time")
            try:
                return act()
            except (TimeoutError, BlockingIOError, InterruptedError):
                continue


class _Socket(socket.socket):
    """The C socket, with the weak references that TLS wants of it."""


class _Plain:
    def __init__(self, raw: Any) -> None:
        self.read = raw.recv
        self.write = raw.send


class _Tls:
    def __init__(self, tls: Any) -> None:
        self.write = tls.write
        self._read = tls.read

    def read(self, size: int) -> bytes:
        try:
            data: bytes = self._read(size)
        except Exception as error:
            # Servers that close without saying so: the length of the body tells whether something is missing.
            if type(error).__name__ in ("SSLZeroReturnError", "SSLEOFError"):
                return b""
            raise
        return data


def _ready(waiter: Any) -> None:
    if not waiter.poll(SLICE * 1000):
        raise TimeoutError


def _encode(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def _readable(error: OSError) -> TransportError:
    if isinstance(error, TransportError):
        return error
    text = getattr(error, "verify_message", "") or error.strerror or str(error)
    return TransportError(str(text).lower() if error.errno else str(text))


def _tls_context(origin: Origin) -> Any:
    """Make a TLS context of the C module's type: `ssl.SSLContext` recurses when eventlet replaced it afterwards."""
    import _ssl

    context: Any = _ssl._SSLContext(_ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host's name
    context.minimum_version = _ssl.PROTO_TLSv1_2
    context._host_flags |= _ssl.HOSTFLAG_NEVER_CHECK_SUBJECT  # names stand in the alternative names, nowhere else
    if origin.tls.authorities:
        context.load_verify_locations(origin.tls.authorities, None, None)
    else:
        context.set_default_verify_paths()
    if origin.tls.certificate:
        context.load_cert_chain(origin.tls.certificate, origin.tls.key or None)
    return context
