# SPDX-License-Identifier: Apache-2.0
"""The HTTP transport against a real server in every state, and raw answers that no good server gives."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import subprocess
import threading
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_openstack.exporters import connection, endpoints, names
from otel_openstack.exporters.otlp_http import OtlpHttp
from otel_openstack.exporters.sink import Outcome
from otel_openstack.runtime.originals import monotonic
from tests.sink import Sink

DELIVERED, RETRY, REJECTED = (Outcome.DELIVERED, 0), (Outcome.RETRY, 0), (Outcome.REJECTED, 0)


def payload(spans=3):
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(spans):
        scope.spans.add(name=f"span {number}")
    return request.SerializeToString()


@contextlib.contextmanager
def sending(url, encoding="protobuf", **variables):
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
    environ |= {"OTEL_EXPORTER_OTLP_" + name: text for name, text in variables.items()}
    endpoint, problems = endpoints.read("traces", environ)
    assert problems == []
    sink = OtlpHttp(encoding)
    sink.add("traces", endpoint)
    yield lambda data=None, within=5.0: sink.send(
        "traces", payload() if data is None else data, 3, monotonic() + within
    )
    sink.close()


@contextlib.contextmanager
def answering(*answers):
    """Serve one connection after the other; each gets its raw answer once a request is in."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for answer in answers:
                with contextlib.suppress(OSError):
                    client, _ = server.accept()
                    with client:
                        client.recv(65536)
                        for piece in answer if isinstance(answer, list) else [answer]:
                            client.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    thread.join(5)


def test_delivers_over_one_connection():
    with Sink() as collector, sending(collector.url) as send:
        assert [send() for _ in range(4)] == [DELIVERED] * 4
        assert len(collector.spans()) == 12
        assert len({request.connection for request in collector.requests}) == 1
        assert collector.requests[0].path == "/v1/traces"


def test_headers():
    with Sink() as collector, sending(collector.url, HEADERS="api-key=a%20b") as send:
        send()
        headers = collector.requests[0].headers
        assert headers["api-key"] == "a b"
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["host"] == f"127.0.0.1:{collector.port}"
        assert headers["user-agent"].startswith("otel-openstack/")


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compresses_where_asked(compression):
    with Sink() as collector, sending(collector.url, COMPRESSION=compression) as send:
        assert send() == DELIVERED
        assert collector.requests[0].headers["content-encoding"] == compression
        assert len(collector.spans()) == 3


def test_json():
    with Sink("partial") as collector, sending(collector.url, "json") as send:
        assert send(b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a","traceId":"0af7"}]}]}]}') == (
            Outcome.DELIVERED,
            1,
        )
        assert collector.spans()[0][2].trace_id == b"\x0a\xf7"


def test_a_partial_success_is_counted_and_told_once(caplog):
    with Sink("partial") as collector, sending(collector.url) as send:
        assert [send(), send()] == [(Outcome.DELIVERED, 1)] * 2
    assert [record.message for record in caplog.records if "one is too many" in record.message] != []
    assert len(caplog.records) == 1


@pytest.mark.parametrize("status", ["429", "502", "503", "504"])
def test_statuses_to_be_retried(status):
    with Sink(status) as collector, sending(collector.url) as send:
        assert send() == RETRY


@pytest.mark.parametrize("status", ["400", "401", "404", "413", "500", "501"])
def test_other_statuses_are_final_and_told_once(status, caplog):
    with Sink(status) as collector, sending(collector.url) as send:
        assert [send(), send()] == [REJECTED] * 2
        assert len(collector.requests) == 2
    assert [status in record.message for record in caplog.records] == [True]


def test_redirects_are_refused():
    with Sink("redirect") as collector, sending(collector.url) as send:
        assert send() == REJECTED


def test_a_failure_is_told_once_and_so_is_the_recovery(caplog):
    caplog.set_level(logging.INFO, "otel_openstack")
    with Sink("503") as collector, sending(collector.url) as send:
        collector.retry_after = "0"
        assert [send(), send(), send()] == [RETRY] * 3
        collector.mode = "up"
        assert [send(), send()] == [DELIVERED] * 2
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert f"{collector.url}/v1/traces fails: status 503" in told[0]
    assert "works again" in told[1]
    assert not any(record.exc_info for record in caplog.records)


def test_the_server_may_ask_for_a_pause():
    with Sink("503") as collector, sending(collector.url) as send:
        collector.retry_after = "60"
        assert [send(), send()] == [RETRY] * 2
        assert len(collector.requests) == 1


@pytest.mark.parametrize("mode", ["hanging", "blackhole", "drip", "slow"])
def test_the_deadline_holds_whatever_the_server_does(mode):
    with Sink(mode) as collector, sending(collector.url) as send:
        begin = time.monotonic()
        assert send(within=0.3) == RETRY
        assert time.monotonic() - begin < 2


def test_a_big_payload_to_a_server_that_does_not_read():
    with Sink("hanging") as collector, sending(collector.url) as send:
        begin = time.monotonic()
        assert send(b"x" * 2**23, within=0.3) == RETRY
        assert time.monotonic() - begin < 2


def test_refused_at_once():
    with Sink("refusing") as collector, sending(collector.url) as send:
        assert send() == RETRY


def test_a_connection_that_the_server_closed_is_opened_again():
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"  # keep-alive by its words, closed by its deeds
    with answering(ok, ok) as url, sending(url) as send:
        assert send() == DELIVERED
        time.sleep(0.1)
        assert send() == DELIVERED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x0a\x02\x08\x00\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n\x0a\x02\x08\x00",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
        [b"HTTP/1.1 20", b"0 OK\r\nContent-Len", b"gth: 0\r", b"\n\r\n"],
    ],
)
def test_good_and_odd_answers(answer):
    with answering(answer) as url, sending(url) as send:
        assert send() == DELIVERED


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a" * 200_000,
    ],
)
def test_what_is_no_answer_is_retried(answer):
    with answering(answer) as url, sending(url) as send:
        assert send(within=1.0) == RETRY


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def server_context(certificate, *, ask_client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if ask_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate[0])
    return context


def test_tls(certificate):
    with (
        Sink(tls=server_context(certificate)) as collector,
        sending(collector.url, CERTIFICATE=str(certificate[0])) as send,
    ):
        assert [send(), send()] == [DELIVERED] * 2
        assert len({request.connection for request in collector.requests}) == 1


def test_tls_with_a_client_certificate(certificate):
    files = {"CLIENT_CERTIFICATE": str(certificate[0]), "CLIENT_KEY": str(certificate[1])}
    with Sink(tls=server_context(certificate, ask_client=True)) as collector:
        with sending(collector.url, CERTIFICATE=str(certificate[0]), **files) as send:
            assert send() == DELIVERED
        with sending(collector.url, CERTIFICATE=str(certificate[0])) as send:
            assert send() == RETRY


def test_an_authority_that_is_not_known_is_not_trusted(certificate, caplog):
    with Sink(tls=server_context(certificate)) as collector, sending(collector.url) as send:
        assert send() == RETRY
        assert collector.requests == []
    assert "self" in caplog.text


def test_a_certificate_of_another_host_is_not_trusted(certificate):
    with Sink(tls=server_context(certificate)) as collector:
        url = collector.url.replace("127.0.0.1", "localhost")
        with sending(url, CERTIFICATE=str(certificate[0])) as send:
            assert send() == RETRY
            assert collector.requests == []


def test_tls_to_a_server_that_hangs():
    with Sink("blackhole") as collector, sending(collector.url.replace("http", "https")) as send:
        assert send(within=0.3) == RETRY
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with sending(f"https://127.0.0.1:{silent.getsockname()[1]}") as send:
            begin = time.monotonic()
            assert send(within=0.3) == RETRY
            assert time.monotonic() - begin < 2


def test_through_a_proxy():
    with Sink() as proxy:
        origin = endpoints.Origin("http", "collector.example", 4318, proxy=("127.0.0.1", proxy.port, "Basic eDp5"))
        sink = OtlpHttp()
        sink.add("traces", endpoints.Endpoint(origin, "/v1/traces"))
        assert sink.send("traces", payload(), 3, monotonic() + 5) == DELIVERED
        sink.close()
        assert proxy.requests[0].path == "http://collector.example:4318/v1/traces"
        assert proxy.requests[0].headers["host"] == "collector.example:4318"
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic eDp5"


class Resolver:
    """Stands for the C library's resolver, which cannot be made to hang or fail here."""

    def __init__(self, answer, monkeypatch):
        self.asked = 0
        self.answer = answer
        self.go = threading.Event()
        monkeypatch.setattr(names, "socket", self)
        names._lookups.clear()
        names._last_good.clear()

    def __getattr__(self, name):
        return getattr(connection.socket, name)

    def getaddrinfo(self, host, port, family, kind):
        self.asked += 1
        if self.answer == "hang":
            self.go.wait(30)
        if self.answer == "fail":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]


def test_a_name_is_resolved_once(monkeypatch):
    resolver = Resolver("good", monkeypatch)
    with Sink("closing") as collector, sending(f"http://collector.example:{collector.port}") as send:
        assert [send() for _ in range(3)] == [DELIVERED] * 3
    assert resolver.asked == 1


def test_a_resolver_that_hangs_is_left_behind_and_not_asked_again(monkeypatch):
    resolver = Resolver("hang", monkeypatch)
    left = monotonic() + 0.3
    for _ in range(2):
        with pytest.raises(OSError, match="takes too long"):
            names.resolve("collector.example", 1, lambda: left - monotonic())
    assert resolver.asked == 1
    resolver.go.set()


def test_a_name_that_does_not_exist_is_not_asked_for_all_the_time(monkeypatch):
    resolver = Resolver("fail", monkeypatch)
    for _ in range(3):
        with pytest.raises(OSError, match="not known"):
            names.resolve("collector.example", 1, lambda: 1.0)
    assert resolver.asked == 1


def test_an_answer_is_asked_for_again_after_a_minute_and_the_old_one_serves_meanwhile(monkeypatch):
    resolver = Resolver("good", monkeypatch)
    assert names.resolve("collector.example", 7, lambda: 1.0) == [(socket.AF_INET, ("127.0.0.1", 7))]
    names._lookups["collector.example", 7].asked -= names.KEEP
    resolver.answer = "hang"
    left = monotonic() + 0.2
    assert names.resolve("collector.example", 7, lambda: left - monotonic()) == [(socket.AF_INET, ("127.0.0.1", 7))]
    assert resolver.asked == 2
    resolver.go.set()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_not_asked_for(host, monkeypatch):
    resolver = Resolver("fail", monkeypatch)
    assert names.resolve(host, 1, lambda: 1.0)
    assert resolver.asked == 0
