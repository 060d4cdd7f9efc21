# SPDX-License-Identifier: Apache-2.0
"""Outgoing HTTP: one CLIENT span for every request that is sent, whatever the layers above it.

Two places see every request. urllib3's `HTTPConnectionPool._make_request` is one send of requests, keystoneauth1, the
clients of the services and botocore, with the connecting in it. `http.client.HTTPConnection` is everything else:
urllib.request, httplib2, code that uses it directly. A connection that urllib3 drives is marked, so the lower place
leaves it alone.

A retry and a redirect are requests of their own, each with its span and its context (the conventions say so), wherever
they are decided: keystoneauth1, requests, urllib3. A span ends when the response's headers are there, and so does the
metric; reading the body, which may take as long as the caller likes, is not in it. Contexts are sent in a copy of the
headers; a `traceparent` that somebody above has put there stays. To a host that is none of the cloud's no context is
sent (`cloud_endpoints`).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import cloud_endpoints, templates
from otel_openstack.instrumentation.facts import record
from otel_openstack.instrumentation.wsgi_environ import METHODS, OTHER
from otel_openstack.patching import Patch, finished, guard
from otel_openstack.semconv import attributes as attr
from otel_openstack.semconv import instruments as inst
from otel_openstack.tracing import api_seam

SCOPE = "otel_openstack.http_client"
STATE = "_otel_openstack_request"
"""Attribute of a connection that holds the request on it: an `Outgoing`, or DRIVEN while urllib3 measures it."""

DRIVEN = "urllib3"
FAILED = 400
PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2048

WATCH = "http_client.urllib3"
_watch = guard(WATCH)
_templates = templates.Bound(500)


class Outgoing:
    """One request on its way. `busy` while a call of the connection is under way that may close it by itself."""

    __slots__ = ("_facts", "_op", "busy")

    def __init__(self, method: Any, scheme: str, host: str, port: int, target: str) -> None:
        known = method if method in METHODS else OTHER
        path = target.partition("?")[0].partition("#")[0]
        template = _templates.admit(templates.of(path or "/"))
        self._facts: dict[str, Any] = {
            attr.HTTP_REQUEST_METHOD: known,
            attr.SERVER_ADDRESS: host.rpartition("@")[2],
            attr.SERVER_PORT: port,
            attr.URL_SCHEME: scheme,
        }
        attributes = {**self._facts, attr.URL_FULL: _url(scheme, host, port, path)}
        if known == OTHER:
            attributes[attr.HTTP_REQUEST_METHOD_ORIGINAL] = str(method)[:32]
        if template is not None:
            attributes[attr.URL_TEMPLATE] = self._facts[attr.URL_TEMPLATE] = template
        name = "HTTP" if known == OTHER else known
        self.busy = False
        self._op = tracing.child(SCOPE, f"{name} {template}" if template else name, SpanKind.CLIENT, attributes)

    def detach(self) -> None:
        """Take the span off the context: between the calls that make up the request runs code that is not of it."""
        self._op.detach()

    def let_go(self) -> None:
        """End the span if what should have ended it has failed."""
        self._op.let_go()

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the context; none to a host that is not of the cloud."""
        carrier: dict[str, str] = {}
        if cloud_endpoints.trusted(self._facts[attr.SERVER_ADDRESS]):
            self._op.carrier_inject(carrier)
        return carrier

    def finish(self, status: int | None, error: BaseException | None) -> None:
        """Record the request with the response's status, or with the error that came instead of a response."""
        facts = self._facts
        found: dict[str, Any] = {}
        failure: BaseException | str | None = error
        if status is not None:
            found[attr.HTTP_RESPONSE_STATUS_CODE] = facts[attr.HTTP_RESPONSE_STATUS_CODE] = status
            if status >= FAILED:
                failure = facts[attr.ERROR_TYPE] = str(status)
        if error is not None:
            facts[attr.ERROR_TYPE] = metrics.error_type(error)
        duration = perf_counter() - self._op.start
        self._op.totals.add_http(duration)  # before the end: the call may be all that its root consists of
        self._op.finish(error=failure, attributes=found)
        record(inst.HTTP_CLIENT_REQUEST_DURATION, duration, facts)


def _url(scheme: str, host: str, port: int, path: str) -> str:
    """Return the URL without user and query: both hold secrets (temp_url_sig, X-Amz-Signature, tokens)."""
    host = host.rpartition("@")[2]  # http.client takes a user for a part of the host, and then finds no such host
    name = f"[{host}]" if ":" in host else host
    place = name if PORTS.get(scheme) == port else f"{name}:{port}"
    return f"{scheme}://{place}{path if path.startswith('/') else ''}"[:LONGEST_URL]


def _suppressed() -> bool:
    """Return whether the caller is an exporter of OpenTelemetry's."""
    current = api_seam.get_context()
    return bool(current) and any(current.get(key) for key in api_seam.SUPPRESS_HTTP_KEYS)


def _split(target: str) -> tuple[str, str, int, str] | None:
    """Return scheme, host, port and path of an absolute URL, as it is sent to a proxy; None if it is a path."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme not in PORTS:
        return None
    authority, slash, path = rest.partition("/")
    host, _, port = authority.rpartition("@")[2].partition(":")
    return scheme, host, int(port) if port.isdecimal() else PORTS[scheme], slash + path


def _urllib3_send(original: Callable[..., Any]) -> Callable[..., Any]:
    """Replace `HTTPConnectionPool._make_request`: one request, sent once, the connecting included."""

    @functools.wraps(original)
    def send(*args: Any, **kwargs: Any) -> Any:
        begun = None
        if _watch.on:
            try:
                begun = _urllib3_begin(kwargs, *args, **kwargs)
            except Exception as failure:
                _watch.failed("before", failure)
        if begun is None:
            return original(*args, **kwargs)
        outgoing, conn, kwargs = begun
        try:
            response = original(*args, **kwargs)
        except BaseException as error:
            finished(_watch, outgoing, _urllib3_end, outgoing, conn, None, error)
            raise
        finished(_watch, outgoing, _urllib3_end, outgoing, conn, response, None)
        return response

    return send


def _urllib3_begin(
    given: dict[str, Any], /, pool: Any, conn: Any, method: Any, url: str, *_args: Any, **_kwargs: Any
) -> tuple[Outgoing, Any, dict[str, Any]] | None:
    """Return the request, its connection and the keyword arguments, `given`, with the context in the headers."""
    if _suppressed():
        return None
    scheme = pool.scheme
    place = _split(url) or (scheme, str(pool.host).strip("[]"), pool.port or PORTS.get(scheme, 0), url)
    outgoing = Outgoing(method, *place)
    try:
        conn.__dict__[STATE] = DRIVEN
        headers = given.get("headers")
        # A copy: the caller's mapping is used again for a retry, which has a context of its own.
        if headers is not None and not _carries(headers):
            copy = headers.copy() if hasattr(headers, "copy") else dict(headers)
            copy.update(outgoing.headers())
            given = {**given, "headers": copy}
        return outgoing, conn, given
    except BaseException:
        conn.__dict__.pop(STATE, None)
        outgoing.let_go()  # else it would stay current for ever
        raise


def _urllib3_end(outgoing: Outgoing, conn: Any, response: Any, error: BaseException | None) -> None:
    conn.__dict__.pop(STATE, None)
    outgoing.finish(getattr(response, "status", None), error)


def _carries(headers: Mapping[Any, Any]) -> bool:
    return any(name.lower() in ("traceparent", b"traceparent") for name in headers)


class PutRequest:
    """`HTTPConnection.putrequest(method, url)`: a request begins."""

    def before(self, conn: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        state = conn.__dict__.get(STATE)
        if state == DRIVEN or _suppressed():
            return None
        if state is not None:
            state.finish(None, None)  # begun, never answered, and the connection used again
        outgoing = Outgoing(method, *_place(conn, url))
        try:
            conn.__dict__[STATE] = outgoing
            outgoing.detach()
            return conn, outgoing
        except BaseException:
            conn.__dict__.pop(STATE, None)
            outgoing.let_go()
            raise

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is not None:
            conn, outgoing = state
            conn.__dict__.pop(STATE, None)
            outgoing.finish(None, error)


def _place(conn: Any, url: str) -> tuple[str, str, int, str]:
    scheme = "https" if getattr(conn, "default_port", 80) == PORTS["https"] else "http"
    host = getattr(conn, "_tunnel_host", None) or conn.host
    port = (getattr(conn, "_tunnel_port", None) if host is not conn.host else conn.port) or PORTS[scheme]
    return _split(url) or (scheme, str(host).strip("[]"), int(port), url)


class EndHeaders:
    """`HTTPConnection.endheaders(body)`: the headers are complete; connects and sends."""

    def before(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        outgoing = conn.__dict__.get(STATE)
        if not isinstance(outgoing, Outgoing):
            return None
        if not any(line.lower().startswith(b"traceparent:") for line in conn.__dict__.get("_buffer", ())):
            for name, value in outgoing.headers().items():
                conn.putheader(name, value)
        outgoing.busy = True
        return conn, outgoing

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        conn, outgoing = state
        outgoing.busy = False
        if error is not None:
            conn.__dict__.pop(STATE, None)
            outgoing.finish(None, error)


class GetResponse:
    """`HTTPConnection.getresponse()`: the response's headers are there."""

    def before(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        outgoing = conn.__dict__.get(STATE)
        if not isinstance(outgoing, Outgoing):
            return None
        outgoing.busy = True  # it closes the connection itself, after an error and before a last response
        return conn, outgoing

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        conn, outgoing = state
        conn.__dict__.pop(STATE, None)
        outgoing.finish(getattr(result, "status", None), error)


class Close:
    """`HTTPConnection.close()` with a request on it: given up, as after an error in sending its body."""

    def before(self, conn: Any) -> Any:
        outgoing = conn.__dict__.get(STATE)
        if isinstance(outgoing, Outgoing) and not outgoing.busy:
            del conn.__dict__[STATE]
            outgoing.finish(None, sys.exc_info()[1] or ConnectionAbortedError())

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        pass


def _patches() -> Iterator[Patch]:
    yield Patch(
        name="http_client.urllib3",
        module="urllib3.connectionpool",
        attribute="HTTPConnectionPool._make_request",
        group="http",
        replace=_urllib3_send,
    )
    # swift takes eventlet's own copy of the module
    for name, module in (("http.client", "http.client"), ("eventlet", "eventlet.green.http.client")):
        for attribute, hook in (
            ("putrequest", PutRequest),
            ("endheaders", EndHeaders),
            ("getresponse", GetResponse),
            ("close", Close),
        ):
            yield Patch(
                name=f"http_client.{name}.{attribute}",
                module=module,
                attribute=f"HTTPConnection.{attribute}",
                group="http",
                hook=hook,
            )


PATCHES: tuple[Patch, ...] = tuple(_patches())
