# SPDX-License-Identifier: Apache-2.0
"""One request through the edge, called as a server calls it: what is measured, and what server and application see."""

from __future__ import annotations

import gc
import io
import sys
import threading
import time
import wsgiref.util
import wsgiref.validate
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace

from otel_openstack import settings, testing, tracing
from otel_openstack.instrumentation import routes, wsgi, wsgi_environ
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.testing import Telemetry

DURATION = "http.server.request.duration"
IO_ERRORS = "openstack.http.server.io.errors"
ACTIVE = "http.server.active_requests"


def request(method: str = "GET", path: str = "/a/b", body: bytes = b"", **more: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body), **more}
    if body:
        environ.setdefault("CONTENT_LENGTH", str(len(body)))
    wsgiref.util.setup_testing_defaults(environ)
    return environ


class Server:
    """Runs an application as PEP 3333 says a server does."""

    def __init__(self, application: Any, environ: dict[str, Any], stop_after: int | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.output = b""
        self.result = application(environ, self.start_response)
        try:
            for number, part in enumerate(self.result, 1):
                self.output += part
                if number == stop_after:
                    break
        finally:
            if hasattr(self.result, "close"):
                self.result.close()

    def start_response(self, status: str, headers: Any, *exc: Any) -> Callable[[bytes], None]:
        self.calls.append((status, headers, *exc))
        return self._write

    def _write(self, data: bytes) -> None:
        self.output += data


def answering(parts: Any, status: str = "200 OK", headers: Any = ()) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(headers))
        return parts() if callable(parts) else parts

    return application


def duration(telemetry: Telemetry) -> Any:
    (point,) = telemetry.points(DURATION)
    return point


def test_a_streamed_body_is_measured_to_its_last_byte(telemetry: Telemetry) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(3):
            time.sleep(0.1)
            yield b"x" * 10

    served = Server(Edge(answering(body)), request())
    span = telemetry.span("GET")
    assert served.output == b"x" * 30
    assert (span.end - span.start) / 1e9 >= 0.3
    assert duration(telemetry).sum >= 0.3
    assert span.attributes["http.response.body.size"] == 30
    assert span.attributes["http.response.status_code"] == 200
    assert (span.kind, span.status) == ("SERVER", "UNSET")


def test_a_slow_client_of_a_list_is_in_the_duration(telemetry: Telemetry) -> None:
    result = Edge(answering([b"one", b"two"]))(request(), lambda *_: None)
    parts = iter(result)
    next(parts)
    time.sleep(0.15)  # the server sends the first part
    assert list(parts) == [b"two"]
    assert telemetry.spans() == []
    result.close()
    assert duration(telemetry).sum >= 0.15
    assert telemetry.span("GET").attributes["http.response.body.size"] == 6


@pytest.mark.parametrize("parts", [[b"abc"], (b"a", b"bc"), []])
def test_lists_stay_lists_with_their_length(telemetry: Telemetry, parts: Any) -> None:
    served = Server(Edge(answering(parts)), request())
    assert isinstance(served.result, list)
    assert len(served.result) == len(parts)
    assert served.output == b"".join(parts)
    assert telemetry.span("GET").attributes["http.response.body.size"] == len(served.output)
    assert telemetry.points(IO_ERRORS) == []


def test_a_sized_body_keeps_its_length_and_an_unsized_has_none(telemetry: Telemetry) -> None:
    class Sized:
        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"abc"])

    assert len(Server(Edge(answering(Sized)), request()).result) == 1
    assert not hasattr(Server(Edge(answering(lambda: iter([b"abc"]))), request()).result, "__len__")


def test_what_is_written_is_counted(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        write(b"12345")
        return [b"67"]

    assert Server(Edge(application), request()).output == b"1234567"
    assert telemetry.span("GET").attributes["http.response.body.size"] == 7


def test_a_write_that_fails_is_a_send_error_and_no_error_of_the_server(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])(b"12345")
        return []

    def broken(status: str, headers: Any) -> Any:
        def write(data: bytes) -> None:
            raise BrokenPipeError

        return write

    with pytest.raises(BrokenPipeError):
        Edge(application)(request(), broken)
    (point,) = telemetry.points(IO_ERRORS)
    assert point.attributes == {"openstack.http.io.phase": "send", "error.type": "BrokenPipeError"}
    assert telemetry.span("GET").status == "UNSET"
    assert telemetry.span("GET").attributes["error.type"] == "BrokenPipeError"


def test_an_application_that_raises_at_once(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        raise KeyError("secret")

    with pytest.raises(KeyError):
        Server(Edge(application), request())
    span = telemetry.span("GET")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "KeyError")
    assert "http.response.status_code" not in span.attributes
    assert duration(telemetry).attributes["error.type"] == "KeyError"
    assert telemetry.points(ACTIVE)[0].value == 0


def test_an_application_that_raises_midway(telemetry: Telemetry) -> None:
    def body() -> Iterator[bytes]:
        yield b"abc"
        raise ValueError

    with pytest.raises(ValueError):
        Server(Edge(answering(body)), request())
    span = telemetry.span("GET")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "ValueError")
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.response.body.size"] == 3
    assert telemetry.points(IO_ERRORS) == []  # the application's error, not the line's


def test_the_second_start_response_decides_and_gets_its_exc_info(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            raise RuntimeError  # noqa: TRY301
        except RuntimeError:
            start_response("503 Busy", [("X-Openstack-Request-Id", "req-1")], sys.exc_info())
        return [b"busy"]

    served = Server(Edge(application), request())
    assert served.calls[1][2][0] is RuntimeError
    span = telemetry.span("GET")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", "503")
    assert span.attributes["openstack.request_id"] == "req-1"
    assert duration(telemetry).attributes["http.response.status_code"] == 503


def test_a_404_is_no_error(telemetry: Telemetry) -> None:
    Server(Edge(answering([b"no"], "404 Not Found")), request())
    assert telemetry.span("GET").status == "UNSET"
    assert "error.type" not in duration(telemetry).attributes


def test_a_client_that_goes_away_in_the_middle(telemetry: Telemetry) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a"] * 5)

        def close(self) -> None:
            closed.append(trace.get_current_span().get_span_context().is_valid)

    Server(Edge(answering(Body)), request(), stop_after=2)
    assert closed == [True]
    (point,) = telemetry.points(IO_ERRORS)
    assert point.attributes == {"openstack.http.io.phase": "send", "error.type": "ConnectionAbortedError"}
    span = telemetry.span("GET")
    assert (span.status, span.attributes["http.response.body.size"]) == ("UNSET", 2)


@pytest.mark.parametrize(
    ("method", "status", "headers"),
    [("HEAD", "200 OK", []), ("GET", "304 Not Modified", []), ("GET", "200 OK", [("Content-Length", "2")])],
)
def test_a_body_that_nobody_needs_further_is_complete(
    telemetry: Telemetry, method: str, status: str, headers: Any
) -> None:
    Server(Edge(answering(lambda: iter([b"a"] * 5), status, headers)), request(method), stop_after=2)
    assert telemetry.points(IO_ERRORS) == []
    assert len(telemetry.spans()) == 1


def test_a_server_that_forgets_to_close(telemetry: Telemetry) -> None:
    for parts in ([b"abc"], lambda: iter([b"abc"])):
        result = Edge(answering(parts))(request(), lambda *_: None)
        assert b"".join(result) == b"abc"
        del result
        gc.collect()
    assert len(telemetry.spans("GET")) == 2
    assert telemetry.points(ACTIVE)[0].value == 0


def test_the_span_is_current_while_the_application_works_and_at_no_other_time(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((trace.get_current_span().get_span_context().span_id, tracing.totals() is not None))

    def application(environ: Any, start_response: Any) -> Any:
        look()
        start_response("200 OK", [])

        def body() -> Iterator[bytes]:
            look()
            yield b"a"
            look()
            yield b"b"

        return body()

    result = Edge(application)(request(), lambda *_: None)
    outside = [trace.get_current_span().get_span_context().span_id for _ in result]
    result.close()
    span = telemetry.span("GET")
    assert seen == [(span.span_id, True)] * 3
    assert outside == [0, 0]
    assert trace.get_current_span().get_span_context().span_id == 0


def test_bodies_that_are_finished_by_another_thread(telemetry: Telemetry) -> None:
    result = Edge(answering(lambda: iter([b"a", b"b"])))(request(), lambda *_: None)

    def rest() -> None:
        assert list(result) == [b"a", b"b"]
        result.close()

    thread = threading.Thread(target=rest)
    thread.start()
    thread.join(10)
    assert telemetry.span("GET").attributes["http.response.body.size"] == 2


def test_the_caller_is_the_parent(telemetry: Telemetry) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    Server(Edge(answering([b""])), request(HTTP_TRACEPARENT=header))
    span = telemetry.span("GET")
    assert (span.trace_id, span.parent) == (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331)
    assert span.parent_is_remote


def test_nested_edges_are_one_request(telemetry: Telemetry) -> None:
    environ = request()
    Server(Edge(Edge(answering([b"a"]))), environ)
    assert len(telemetry.spans()) == 1
    assert wsgi.FLAG not in environ
    Server(Edge(answering([b"a"])), environ)  # a server that uses its environ again
    assert len(telemetry.spans()) == 2
    assert duration(telemetry).count == 2


def test_the_file_wrapper_of_the_server_comes_back_to_it(telemetry: Telemetry) -> None:
    file = io.BytesIO(b"x" * 100)

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "100")])
        return environ["wsgi.file_wrapper"](file, 10)

    environ = request(**{"wsgi.file_wrapper": wsgiref.util.FileWrapper})
    result = Edge(application)(environ, lambda *_: None)
    assert type(result) is wsgiref.util.FileWrapper
    assert telemetry.spans() == []
    result.close()
    assert file.closed
    assert telemetry.span("GET").attributes["http.response.body.size"] == 100


def test_a_file_wrapper_that_is_a_function(telemetry: Telemetry) -> None:
    class File(io.BytesIO):
        pass

    file = File(b"abc")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "3")])
        return environ["wsgi.file_wrapper"](file)

    environ = request(**{"wsgi.file_wrapper": lambda given, size=0: given})
    result = Edge(application)(environ, lambda *_: None)
    assert result is file
    result.close()
    assert file.closed
    assert telemetry.span("GET").attributes["http.response.body.size"] == 3


def reading(how: Callable[[Any], Any]) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        how(environ["wsgi.input"])
        start_response("204 No Content", [])
        return []

    return application


@pytest.mark.parametrize(
    "how",
    [
        lambda body: body.read(),
        lambda body: [body.read(3) for _ in range(9)],
        lambda body: body.read(20),
        list,
        lambda body: body.readlines(),
        lambda body: [body.readline() for _ in range(4)],
    ],
)
def test_bytes_of_the_request_however_they_are_read(telemetry: Telemetry, how: Any) -> None:
    Server(Edge(reading(how)), request("POST", body=b"line one\nline two\nx\n"))
    assert telemetry.span("POST").attributes["http.request.body.size"] == 20
    assert telemetry.points(IO_ERRORS) == []


def test_bytes_announced_where_the_application_reads_nothing(telemetry: Telemetry) -> None:
    Server(Edge(answering([])), request("POST", body=b"12345"))
    assert telemetry.span("POST").attributes["http.request.body.size"] == 5


def test_a_body_that_ends_early_is_a_receive_error(telemetry: Telemetry) -> None:
    Server(Edge(reading(lambda body: body.read(20))), request("POST", body=b"12345", CONTENT_LENGTH="20"))
    (point,) = telemetry.points(IO_ERRORS)
    assert point.attributes == {"openstack.http.io.phase": "receive", "error.type": "ConnectionAbortedError"}


def test_a_timeout_in_receiving(telemetry: Telemetry) -> None:
    class Slow(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise TimeoutError("timed out")

    environ = request("PUT", body=b"12345")
    environ["wsgi.input"] = Slow()
    with pytest.raises(TimeoutError):
        Server(Edge(reading(lambda body: body.read())), environ)
    (point,) = telemetry.points(IO_ERRORS)
    assert point.attributes == {"openstack.http.io.phase": "receive", "error.type": "TimeoutError"}


def test_an_input_without_a_body_is_not_touched(telemetry: Telemetry) -> None:
    environ = request()
    body = environ["wsgi.input"]
    Server(Edge(answering([])), environ)
    assert environ["wsgi.input"] is body


def test_an_input_shows_the_attributes_of_the_servers_own(telemetry: Telemetry) -> None:
    class Own(io.BytesIO):
        special = "socket"

    environ = request("POST", body=b"12345")
    environ["wsgi.input"] = Own(b"12345")
    seen = []
    Server(Edge(reading(lambda body: seen.append(body.special))), environ)
    assert seen == ["socket"]


def test_attributes_of_the_conventions(telemetry: Telemetry) -> None:
    environ = request(
        "PATCH",
        "/v3/caf\xc3\xa9",
        SCRIPT_NAME="/identity",
        QUERY_STRING="token=secret",
        HTTP_HOST="cloud.example:5000",
        HTTP_USER_AGENT="agent" * 100,
        REMOTE_ADDR="192.0.2.7",
        SERVER_PROTOCOL="HTTP/1.1",
    )
    environ["wsgi.url_scheme"] = "https"
    Server(Edge(answering([b""])), environ)
    assert telemetry.span("PATCH").attributes == {
        "http.request.method": "PATCH",
        "url.scheme": "https",
        "url.path": "/identity/v3/café",
        "server.address": "cloud.example",
        "server.port": 5000,
        "client.address": "192.0.2.7",
        "user_agent.original": ("agent" * 100)[:256],
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.response.body.size": 0,
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"REQUEST_METHOD": "BREW\x00"},
        {"REQUEST_METHOD": 7},
        {"PATH_INFO": "/" + "a" * 100_000},
        {"PATH_INFO": "/\udce9\u20ac"},
        {"PATH_INFO": None},
        {"HTTP_HOST": ":::", "SERVER_PORT": "no"},
        {"HTTP_HOST": b"bytes"},
        {"CONTENT_LENGTH": "many", "wsgi.input": None},
        {"HTTP_USER_AGENT": "\xff\xfe", "HTTP_TRACEPARENT": "\xff"},
        {"HTTP_X_REQUEST_START": "t=" + "9" * 39},
        {"HTTP_X_REQUEST_START": "nan"},
        {"wsgi.url_scheme": None, "SERVER_PROTOCOL": 3},
        {"keystone.token_auth": None, "HTTP_X_IDENTITY_STATUS": "Confirmed", "HTTP_X_USER_ID": b"\xff"},
    ],
)
def test_hostile_environs_are_served_and_measured(telemetry: Telemetry, broken: dict[str, Any]) -> None:
    environ = {**request(), **broken}
    assert Server(Edge(answering([b"fine"])), environ).output == b"fine"
    (span,) = telemetry.spans()
    for value in span.attributes.values():
        str(value).encode("utf-8")
        assert len(str(value)) <= 1024


def test_an_unknown_method_has_one_name(telemetry: Telemetry) -> None:
    Server(Edge(answering([])), request("BREW"))
    span = telemetry.span("HTTP")
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_odd_bodies_pass_as_they_are(telemetry: Telemetry) -> None:
    environ = request()
    assert Edge(answering(b"bytes"))(environ, lambda *_: None) == b"bytes"
    assert Edge(answering(None))(environ, lambda *_: None) is None
    assert len(telemetry.spans()) == 2


class Proof:
    """What keystonemiddleware leaves beside the headers."""


def test_identity_after_the_application(telemetry: Telemetry) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ.update(
            {
                "keystone.token_auth": Proof(),
                "keystone.token_info": {"token": "gAAAAA-secret"},
                "HTTP_X_IDENTITY_STATUS": "Confirmed",
                "HTTP_X_USER_ID": "u1",
                "HTTP_X_PROJECT_ID": "p1",
                "HTTP_X_PROJECT_DOMAIN_ID": "default",
                "HTTP_X_USER_NAME": "alice",
                "HTTP_X_ROLES": "admin",
                "HTTP_X_AUTH_TOKEN": "gAAAAA-secret",
                "openstack.request_id": "req-1",
                "openstack.global_request_id": "req-2",
            }
        )
        start_response("200 OK", [("X-Openstack-Request-Id", "req-other")])
        return [b""]

    Server(Edge(application), request())
    attributes = telemetry.span("GET").attributes
    assert {name: value for name, value in attributes.items() if name.startswith("openstack.")} == {
        "openstack.user_id": "u1",
        "openstack.project_id": "p1",
        "openstack.domain_id": "default",
        "openstack.request_id": "req-1",
        "openstack.global_request_id": "req-2",
    }
    assert not any(word in str(attributes) for word in ("gAAAAA", "alice", "admin"))
    for point in telemetry.points(DURATION):
        assert not any(name.startswith("openstack.") for name in point.attributes)


def test_identity_that_anyone_could_send_is_none(telemetry: Telemetry) -> None:
    environ = request(HTTP_X_USER_ID="mallory", HTTP_X_PROJECT_ID="x", HTTP_X_IDENTITY_STATUS="Confirmed")
    Server(Edge(answering([b""])), environ)
    assert "openstack.user_id" not in telemetry.span("GET").attributes


@pytest.mark.parametrize("key", ["KEYSTONE_AUTH_CONTEXT", "nova.context"])
def test_identity_of_services_that_make_their_own(telemetry: Telemetry, key: str) -> None:
    values = {"user_id": "u1", "project_id": "p1", "domain_id": None, "user_domain_id": "d1", "token": "secret"}

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ[key] = values if key.isupper() else type("RequestContext", (), values)()
        start_response("200 OK", [])
        return [b""]

    Server(Edge(application), request())
    attributes = telemetry.span("GET").attributes
    assert attributes["openstack.user_id"] == "u1"
    assert attributes["openstack.domain_id"] == "d1"
    assert "secret" not in str(attributes)


@pytest.mark.parametrize(
    ("stamp", "low", "high"),
    [
        (lambda now: f"t={now - 2:.3f}", 1.9, 3),
        (lambda now: f"{(now - 2) * 1e3:.0f}", 1.9, 3),
        (lambda now: f"t={(now - 2) * 1e6:.0f}", 1.9, 3),
        (lambda now: f"t={now + 0.5:.3f}", None, None),
        (lambda now: "t=12", None, None),
        (lambda now: f"{now + 3600:.3f}", None, None),
    ],
)
def test_the_wait_in_a_queue_is_believed_within_bounds(telemetry: Telemetry, stamp: Any, low: Any, high: Any) -> None:
    Server(Edge(answering([b""])), request(HTTP_X_REQUEST_START=stamp(time.time())))
    wait = telemetry.span("GET").attributes.get("openstack.request.queue_wait")
    assert wait is None if low is None else low <= wait < high


def test_what_the_request_did_is_on_its_span(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        running = tracing.totals()
        assert running is not None
        running.add_db(0.25, "SELECT instances")
        running.add_cache(0.5)
        start_response("200 OK", [])
        return [b""]

    Server(Edge(application), request())
    attributes = telemetry.span("GET").attributes
    assert attributes["openstack.db.calls"] == 1
    assert attributes["openstack.cache.duration"] == 0.5


@pytest.mark.parametrize("place", ["open", "started", "returned", "finish"])
def test_an_error_of_ours_is_not_the_services(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def bad(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    target = {"open": "tracing.root", "started": "Exchange._started", "returned": "Parts", "finish": "routes.of"}[place]
    with testing.recording(settings.Settings(strict=False)) as telemetry:
        monkeypatch.setattr(f"otel_openstack.instrumentation.wsgi.{target}", bad)
        served = Server(Edge(answering([b"fine"])), request())
        assert served.output == b"fine"
        assert len(served.calls) == 1
        assert len(telemetry.spans()) == (0 if place == "open" else 1)
        assert all(point.value == 0 for point in telemetry.points(ACTIVE))
    wsgi._watch.failures, wsgi._watch.on = 0, True


def test_server_and_application_keep_to_the_protocol(telemetry: Telemetry) -> None:
    validator = wsgiref.validate.validator
    environ = request("POST", body=b"12345", QUERY_STRING="", SCRIPT_NAME="")
    headers = [("Content-Type", "text/plain")]

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.input"].read(5)
        start_response("200 OK", headers)
        return iter([b"a", b"b"])

    result = validator(Edge(validator(application)))(environ, lambda status, headers, exc=None: lambda data: None)
    assert list(result) == [b"a", b"b"]
    result.close()
    assert telemetry.span("POST").attributes["http.request.body.size"] == 5


def test_an_edge_looks_like_its_application(telemetry: Telemetry) -> None:
    application = answering([])
    application.name = "demo"
    assert Edge(application).name == "demo"
    assert wsgi.at_edge(wsgi.at_edge(application)).__wrapped__ is application
    assert wsgi.at_edge(None) is None


def test_phases_at_their_levels() -> None:
    def body() -> Iterator[bytes]:
        time.sleep(0.05)
        yield b"a"
        time.sleep(0.1)
        yield b"bc"

    def application(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return body()

    names = {
        "openstack.wsgi.request.process.duration": (0.05, 0.09),
        "openstack.wsgi.response.process.duration": (0.1, 0.14),
        "openstack.http.server.response.send.duration": (0.2, 0.29),
        "openstack.http.server.request.receive.duration": (0.0, 0.02),
        "http.server.request.body.size": (5, 5),
        "http.server.response.body.size": (3, 3),
    }
    for level in ("basic", "detailed"):
        with testing.recording(settings.Settings(strict=True, level=level)) as telemetry:
            result = Edge(application)(request("POST", body=b"12345"), lambda *_: None)
            for _ in result:
                time.sleep(0.1)
            result.close()
            found = {name: telemetry.points(name) for name in names}
            if level == "basic":
                assert not any(found.values())
                continue
            for name, (low, high) in names.items():
                assert low <= found[name][0].sum, name
                assert found[name][0].sum <= high * 4, name  # generous: two cores, other work
                assert found[name][0].attributes["http.request.method"] == "POST"


def test_threads_at_once_are_counted_exactly(telemetry: Telemetry) -> None:
    application = Edge(answering(lambda: iter([b"ab", b"c"])))

    def client() -> None:
        for _ in range(200):
            Server(application, request())

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    spans = telemetry.spans("GET")
    assert len(spans) == 1600
    assert len({span.trace_id for span in spans}) == 1600
    assert duration(telemetry).count == 1600
    assert telemetry.points(ACTIVE)[0].value == 0
    assert {span.attributes["http.response.body.size"] for span in spans} == {3}


def test_the_route_names_the_span(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "of", lambda *_: "/servers/{id}")
    Server(Edge(answering([b""])), request())
    assert telemetry.span("GET /servers/{id}").attributes["http.route"] == "/servers/{id}"
    assert duration(telemetry).attributes["http.route"] == "/servers/{id}"


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("t=999.5", 0.5),
        ("998", 2.0),
        ("1000.5", 0.0),  # clocks of two hosts
        ("1001.5", None),
        ("300", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("t=", None),
    ],
)
def test_the_bounds_of_the_wait(stamp: str, expected: float | None) -> None:
    assert wsgi_environ.wait_in_queue({"HTTP_X_REQUEST_START": stamp}, 1000.0) == expected


def test_the_wait_that_mod_wsgi_tells() -> None:
    stamp = f"{1_700_000_000_000_000}"
    assert wsgi_environ.wait_in_queue({"mod_wsgi.queue_start": stamp}, 1_700_000_001.5) == 1.5
