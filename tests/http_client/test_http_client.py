# SPDX-License-Identifier: Apache-2.0
"""Outgoing HTTP through every client, against a real server that counts: one span, one request, one context."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httplib2
import pytest
import requests
import urllib3
from keystoneauth1 import noauth
from keystoneauth1 import session as keystone_session
from opentelemetry import context
from opentelemetry.trace import SpanKind
from requests.adapters import HTTPAdapter

from otel_openstack import tracing
from otel_openstack.testing import Telemetry

DURATION = "http.client.request.duration"
UUID = "6f0bc8d0-0c8d-4d8b-9df6-fd8bb8dfc6cc"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        server.seen.append((self.command, self.path, self.headers.get_all("traceparent"), body))
        first = self.path.split("/")[1].partition("?")[0]
        if first == "drop":
            self.close_connection = True
            return
        status = {"redirect": 302, "busy": 503, "missing": 404}.get(first, 200)
        if first == "once" and len(server.seen) > 1:
            status = 200
        elif first == "once":
            status = 503
        self.send_response(status)
        if status == 302:
            self.send_header("Location", server.url("/target"))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_PUT = do_POST = do_BREW = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    seen: list[tuple[str, str, list[str] | None, bytes]]

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.seen = []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join(10)
    made.server_close()


@pytest.fixture(autouse=True)
def _patched(telemetry: Telemetry) -> Iterator[None]:
    with telemetry.patched("http_client"):
        yield


def by_requests(url: str, method: str = "GET", **more: Any) -> int:
    with requests.Session() as client:
        return client.request(method, url, timeout=10, **more).status_code


def by_keystoneauth(url: str, method: str = "GET", **more: Any) -> int:
    made = keystone_session.Session(auth=noauth.NoAuth())
    return int(made.request(url, method, raise_exc=False, **more).status_code)


def by_urllib3(url: str, method: str = "GET", **more: Any) -> int:
    with urllib3.PoolManager(timeout=10) as pool:
        return pool.request(method, url, **more).status


def by_urllib(url: str, method: str = "GET", **more: Any) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, **more), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def by_httplib2(url: str, method: str = "GET", **more: Any) -> int:
    client = httplib2.Http(timeout=10)
    answer, _ = client.request(url, method, **more)
    client.close()
    return int(answer.status)


def by_http_client(url: str, method: str = "GET", **more: Any) -> int:
    place, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place, timeout=10)
    connection.request(method, f"/{path}", **more)
    status = connection.getresponse().status
    connection.close()
    return status


CLIENTS: list[Callable[..., int]] = [
    by_requests,
    by_keystoneauth,
    by_urllib3,
    by_urllib,
    by_httplib2,
    by_http_client,
]


@pytest.fixture(params=CLIENTS, ids=lambda client: str(client.__name__))
def client(request: pytest.FixtureRequest) -> Callable[..., int]:
    made: Callable[..., int] = request.param
    return made


@pytest.fixture
def root(telemetry: Telemetry) -> Iterator[tracing.operations.Operation]:
    made = tracing.root("test", "root", SpanKind.SERVER)
    yield made
    made.finish()


def clients(telemetry: Telemetry) -> list[Any]:
    return [span for span in telemetry.spans() if span.kind == "CLIENT"]


def header(span: Any) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-03"  # sampled, and an id whose bits are random


def test_one_span_one_request_one_context(telemetry: Telemetry, server: Server, client: Any, root: Any) -> None:
    assert client(server.url(f"/v2/servers/{UUID}?marker=secret")) == 200
    ((_, path, parents, _),) = server.seen
    assert path == f"/v2/servers/{UUID}?marker=secret"
    span = telemetry.span("GET /v2/servers/{id}")
    above = root.span.get_span_context()
    assert parents == [header(span)]
    assert span.trace_id == above.trace_id
    assert (span.kind, span.parent, span.status) == ("CLIENT", above.span_id, "UNSET")
    assert span.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.full": server.url(f"/v2/servers/{UUID}"),
        "url.template": "/v2/servers/{id}",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "http.response.status_code": 200,
    }
    (point,) = telemetry.points(DURATION)
    assert (point.count, point.attributes["http.response.status_code"]) == (1, 200)
    assert 0 < point.sum < 10
    assert (root.totals.http_calls, root.totals.http_seconds) == (1, pytest.approx(point.sum))


@pytest.mark.parametrize("status", [404, 503])
def test_errors_by_status(telemetry: Telemetry, server: Server, client: Any, root: Any, status: int) -> None:
    assert client(server.url({404: "/missing", 503: "/busy"}[status])) == status
    (span,) = clients(telemetry)
    assert (span.status, span.attributes["error.type"]) == ("ERROR", str(status))
    (point,) = telemetry.points(DURATION)
    assert point.attributes["error.type"] == str(status)


def test_a_connection_that_is_refused(telemetry: Telemetry, client: Any, root: Any) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{found.getsockname()[1]}/v2/servers"
        with pytest.raises(Exception, match=r"[Rr]efused|Unable to establish"):
            client(url, **({"retries": False} if client is by_urllib3 else {}))
    spans = clients(telemetry)
    assert len(spans) == (client is not by_httplib2)  # which connects first and then begins a request
    assert all(span.status == "ERROR" for span in spans)
    assert {span.attributes["error.type"] for span in spans} <= {
        "ConnectionRefusedError",
        "urllib3.exceptions.NewConnectionError",
    }
    assert sum(point.count for point in telemetry.points(DURATION)) == len(spans)


def test_a_connection_that_is_dropped(telemetry: Telemetry, server: Server, client: Any, root: Any) -> None:
    more = {"retries": False} if client is by_urllib3 else {}
    with pytest.raises(Exception, match=r"Remote end closed|Connection aborted|[Cc]onnection"):
        client(server.url("/drop"), **more)
    assert len(clients(telemetry)) == len(server.seen)
    assert {span.attributes["error.type"] for span in clients(telemetry)} == {"http.client.RemoteDisconnected"}


@pytest.mark.parametrize("client", CLIENTS[:-1])  # http.client follows none
def test_a_redirect_is_a_request_of_its_own(telemetry: Telemetry, server: Server, client: Any, root: Any) -> None:
    assert client(server.url("/redirect")) == 200
    assert [path for _, path, _, _ in server.seen] == ["/redirect", "/target"]
    spans = clients(telemetry)
    assert [span.name for span in spans] == ["GET /redirect", "GET /target"]
    assert [parents for _, _, parents, _ in server.seen] == [[header(span)] for span in spans]
    assert "error.type" not in spans[0].attributes


def test_a_retry_has_a_context_of_its_own(telemetry: Telemetry, server: Server, root: Any) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=urllib3.Retry(2, status_forcelist=[503], backoff_factor=0)))
        assert session.get(server.url("/once"), timeout=10).status_code == 200
    first, second = clients(telemetry)
    assert [parents for _, _, parents, _ in server.seen] == [[header(span)] for span in (first, second)]
    assert (first.attributes["http.response.status_code"], second.attributes["http.response.status_code"]) == (503, 200)


def test_the_callers_headers_are_not_changed(server: Server, root: Any) -> None:
    headers = {"X-Own": "1"}
    with requests.Session() as session:
        prepared = session.prepare_request(requests.Request("GET", server.url("/a"), headers=headers))
        session.send(prepared, timeout=10)
        assert "traceparent" not in prepared.headers
    by_urllib3(server.url("/a"), headers=headers)
    assert headers == {"X-Own": "1"}


def test_a_context_that_is_there_stays(server: Server, client: Any, root: Any) -> None:
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client(server.url("/a"), headers={"Traceparent": own})
    ((_, _, parents, _),) = server.seen
    assert parents == [own]


def test_bodies_arrive(telemetry: Telemetry, server: Server, client: Any, root: Any) -> None:
    name = {by_http_client: "body", by_urllib3: "body", by_httplib2: "body"}.get(client, "data")
    assert client(server.url("/a"), "PUT", **{name: b"12345"}) == 200
    assert [(method, body) for method, _, _, body in server.seen] == [("PUT", b"12345")]
    assert [span.name for span in clients(telemetry)] == ["PUT /a"]


def test_a_connection_that_is_kept(telemetry: Telemetry, server: Server, root: Any) -> None:
    with requests.Session() as session:
        for number in range(5):
            session.get(server.url(f"/a/{number}"), timeout=10)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for number in range(5):
        connection.request("GET", f"/a/{number}")
        connection.getresponse().read()
    connection.close()
    assert [span.name for span in clients(telemetry)] == ["GET /a/{id}"] * 10
    assert len({tuple(parents or ()) for _, _, parents, _ in server.seen}) == 10


def test_the_span_ends_with_the_headers(telemetry: Telemetry, server: Server, root: Any) -> None:
    with requests.Session() as session:
        answer = session.get(server.url("/a"), stream=True, timeout=10)
        assert len(clients(telemetry)) == 1
        assert answer.content == b"ok"
    assert len(clients(telemetry)) == 1


def test_a_request_given_up_while_its_body_is_sent(telemetry: Telemetry, server: Server, root: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("PUT", "/a")
    connection.putheader("Content-Length", "10")
    connection.endheaders()
    connection.send(b"123")
    connection.close()
    (span,) = clients(telemetry)
    assert (span.name, span.attributes["error.type"]) == ("PUT /a", "ConnectionAbortedError")


def test_a_method_nobody_knows(telemetry: Telemetry, server: Server, root: Any) -> None:
    assert by_http_client(server.url("/a"), "BREW") == 200
    span = telemetry.span("HTTP /a")
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_secrets_of_a_url_stay(telemetry: Telemetry, server: Server, root: Any) -> None:
    by_requests(f"http://user:password@127.0.0.1:{server.port}/v1/AUTH_a/c/o?temp_url_sig=abc#x")
    (span,) = clients(telemetry)
    assert span.name == "GET /v1/{account}/{container}/{object}"
    assert not any(word in str(span.attributes) for word in ("password", "abc"))


@pytest.mark.parametrize(
    "key",
    [
        "suppress_instrumentation",
        context._SUPPRESS_INSTRUMENTATION_KEY,  # the SDK's batch processor
        context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    ],
)
def test_an_exporters_own_requests_are_none(
    telemetry: Telemetry, server: Server, client: Any, root: Any, key: str
) -> None:
    token = context.attach(context.set_value(key, True))
    try:
        client(server.url("/v1/traces"))
    finally:
        context.detach(token)
    assert clients(telemetry) == []
    assert telemetry.points("http.client.request.duration") == []
    assert server.seen[0][2] is None


def test_a_call_outside_every_request_has_a_root(telemetry: Telemetry, server: Server, client: Any) -> None:
    client(server.url("/a"))
    span, above = telemetry.spans()
    assert (span.name, span.parent, above.parent) == ("GET /a", above.span_id, None)
    assert above.kind == "INTERNAL"
    assert above.attributes["openstack.http.calls"] == 1


def test_a_proxy(telemetry: Telemetry, server: Server, root: Any) -> None:
    with requests.Session() as session:
        session.proxies = {"http": server.url("")}
        session.get("http://cloud.example:8774/v2.1/servers", timeout=10)
    (span,) = clients(telemetry)
    assert span.attributes["server.address"] == "cloud.example"
    assert span.attributes["server.port"] == 8774
    assert span.attributes["url.full"] == "http://cloud.example:8774/v2.1/servers"


def test_threads_at_once(telemetry: Telemetry, server: Server) -> None:
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=8))

    def one(number: int) -> int:
        operation = tracing.root("test", "root", SpanKind.SERVER)
        status = session.get(server.url(f"/a/{number}"), timeout=30).status_code
        operation.finish()
        return status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(200))) == {200}
    session.close()
    spans = clients(telemetry)
    assert len(spans) == len(server.seen) == 200
    sent = {parents[0].split("-")[2] for _, _, parents, _ in server.seen if parents}
    assert sent == {f"{span.span_id:016x}" for span in spans}
    assert sum(point.count for point in telemetry.points(DURATION)) == 200


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    names = ("putrequest", "endheaders", "getresponse", "close")
    with telemetry.patched():
        pass
    from otel_openstack import instrumentation

    instrumentation.uninstall(["http_client"])
    assert all(vars(http.client.HTTPConnection)[name].__module__ == "http.client" for name in names)
    assert not hasattr(urllib3.connectionpool.HTTPConnectionPool._make_request, "__wrapped__")


GREEN = """
import eventlet
eventlet.monkey_patch()
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import requests
from eventlet.green.http.client import HTTPConnection
from otel_openstack import testing, settings, tracing, instrumentation

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
        seen.append((self.path, self.headers.get_all("traceparent")))
    def log_message(self, *_): pass

seen = []
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
with testing.recording(settings.Settings(strict=True)) as telemetry, telemetry.patched("http_client"):
    def own():
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/own")
        assert connection.getresponse().status == 200
        connection.close()
    requests.get(f"http://127.0.0.1:{port}/requests", timeout=5)
    pool = eventlet.GreenPool()
    for _ in range(20):
        pool.spawn(own)
    pool.waitall()
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
assert sorted(span.name for span in spans) == ["GET /own"] * 20 + ["GET /requests"], spans
sent = {parents[0].split("-")[2] for _, parents in seen}
assert sent == {f"{span.span_id:016x}" for span in spans}
"""

EARLY = """
import sys
from otel_openstack import instrumentation
instrumentation.install()
early = {"eventlet", "urllib3", "requests", "oslo_messaging", "oslo_service", "futurist", "pymemcache", "memcache",
         "flask", "routes", "pecan", "wrapt"} & set(sys.modules)
assert not early, early
"""


@pytest.mark.parametrize("program", [GREEN, EARLY], ids=["eventlet", "nothing is imported early"])
def test_in_a_process_of_its_own(program: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=60, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
