# SPDX-License-Identifier: Apache-2.0
"""What a WSGI environ says about a request. Every value in it is hostile input: bounded, decoded, never trusted."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.propagators.textmap import Getter

from otel_openstack.semconv import attributes as attr
from otel_openstack.tracing import inbound

FLAG = "otel_openstack.request"
"""Key under which an environ holds the exchange that measures it."""

OTHER = "_OTHER"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
LONGEST = {"path": 1024, "agent": 256, "host": 255, "method": 32}
LONGEST_AUTHORITY = 1024
"""Characters of a Host header, with what stands before an `@` in it."""
LONGEST_NUMBER = 15
"""Digits of a length: longer ones would spoil the histogram's sum for ever."""
_TEXTS = (
    (attr.CLIENT_ADDRESS, "REMOTE_ADDR", LONGEST["host"]),
    (attr.USER_AGENT_ORIGINAL, "HTTP_USER_AGENT", LONGEST["agent"]),
)
LONGEST_WAIT = 600.0
"""Seconds; a longer wait in a queue is a clock that is wrong, or a lie."""


def method(environ: Mapping[str, Any]) -> str:
    """Return the method, `_OTHER` for one that HTTP does not know."""
    found = environ.get("REQUEST_METHOD")
    return found if isinstance(found, str) and found in METHODS else OTHER


def scheme(environ: Mapping[str, Any]) -> str:
    """Return http or https."""
    return "https" if environ.get("wsgi.url_scheme") == "https" else "http"


def content_length(environ: Mapping[str, Any]) -> int | None:
    """Return the bytes of the body that the client announced, None where it did not."""
    found = environ.get("CONTENT_LENGTH")
    if not isinstance(found, str) or len(found) > LONGEST_NUMBER or not (found.isascii() and found.isdecimal()):
        return None
    return int(found)


def attributes(environ: Mapping[str, Any], facts: Mapping[str, Any], asked: str) -> dict[str, Any]:
    """Return the span attributes known when the request arrives; no query, for secrets are in queries.

    Args:
        environ: of the request.
        facts: its method and scheme.
        asked: its path.

    """
    get, method = environ.get, facts[attr.HTTP_REQUEST_METHOD]
    found = {attr.HTTP_REQUEST_METHOD: method, attr.URL_SCHEME: facts[attr.URL_SCHEME], attr.URL_PATH: asked}
    if method == OTHER:
        found[attr.HTTP_REQUEST_METHOD_ORIGINAL] = text(get("REQUEST_METHOD"), LONGEST["method"])
    for name, key, longest in _TEXTS:
        value = get(key)
        if value and isinstance(value, str):
            found[name] = value if len(value) <= longest and value.isascii() else text(value, longest)
    protocol = get("SERVER_PROTOCOL")
    if isinstance(protocol, str) and protocol[:5] == "HTTP/" and len(protocol) > len("HTTP/"):
        found[attr.NETWORK_PROTOCOL_VERSION] = text(protocol[5:9], 4)
    host = get("HTTP_HOST")
    if isinstance(host, str) and host:
        address, port = _authority(host[:LONGEST_AUTHORITY])
    else:
        host, port = get("SERVER_NAME"), None
        address = _stripped(host) if isinstance(host, str) else ""
    if address:
        found[attr.SERVER_ADDRESS] = address
    port = port or get("SERVER_PORT")
    if isinstance(port, str) and len(port) <= 5 and port.isascii() and port.isdecimal():  # noqa: PLR2004 digits of a port
        found[attr.SERVER_PORT] = int(port)
    return found


@functools.lru_cache(256)
def _authority(host: str) -> tuple[str, str | None]:
    """Return address and port of a Host header: the same few come over and over."""
    host = host.rpartition("@")[2][: LONGEST["host"] + 6]
    name, colon, tail = host.rpartition(":")
    return (_stripped(name), tail) if colon and tail.isdecimal() else (_stripped(host), None)


def _stripped(host: str) -> str:
    return text(host.strip("[]"), LONGEST["host"])


def path(environ: Mapping[str, Any]) -> str:
    """Return the path that was asked for, without its query."""
    found = text(environ.get("SCRIPT_NAME"), LONGEST["path"]) + text(environ.get("PATH_INFO"), LONGEST["path"])
    return found[: LONGEST["path"]] or "/"


def text(value: Any, longest: int) -> str:
    """Return a header or path of the environ (latin-1 in WSGI) as text of at most `longest` characters."""
    if not isinstance(value, str):
        return ""
    if len(value) <= longest and value.isascii():
        return value
    raw: bytes = value[: longest * 4].encode("latin-1", "replace")
    return raw.decode("utf-8", "replace")[:longest]


def wait_in_queue(environ: Mapping[str, Any], now: float | None = None) -> float | None:
    """Return the seconds that a request waited before it got here, where the front says when it came.

    `X-Request-Start` (`t=` and seconds, milliseconds or microseconds since the epoch) of nginx, HAProxy and routers;
    `mod_wsgi.queue_start` in microseconds. None where there is none or its value is beyond belief.
    """
    stamp = environ.get("mod_wsgi.queue_start") or environ.get("HTTP_X_REQUEST_START")
    if not isinstance(stamp, str) or len(stamp) > 40:  # noqa: PLR2004 no number of seconds is longer
        return None
    try:
        start = float(stamp.strip().removeprefix("t="))
    except ValueError:
        return None
    now = time.time() if now is None else now
    for unit in (1.0, 1e3, 1e6, 1e9):
        wait = now - start / unit
        # Clocks of two hosts differ by some milliseconds: a small negative wait is none.
        if -1.0 <= wait <= LONGEST_WAIT:
            return max(0.0, wait)
    return None


class _EnvironGetter(Getter[Mapping[str, Any]]):
    """Reads request headers from an environ, for propagators."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        value = inbound.header(key, carrier.get("HTTP_" + key.upper().replace("-", "_")))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        return [
            key[5:].lower().replace("_", "-") for key in carrier if isinstance(key, str) and key.startswith("HTTP_")
        ]


class _ParentGetter(_EnvironGetter):
    """Leaves out what is dropped anyway: parsing it costs time, and its mistakes lines in the log."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        return None if key in ("tracestate", "baggage") else super().get(carrier, key)


GETTER = _EnvironGetter()
PARENT_ONLY = _ParentGetter()
