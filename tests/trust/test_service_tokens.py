# SPDX-License-Identifier: Apache-2.0
"""Services known by their token: real keystonemiddleware, validating with a stub of keystone."""

from __future__ import annotations

import io
import wsgiref.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from keystonemiddleware import auth_token
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import SpanKind
from oslo_config import cfg

from otel_openstack import settings, testing, tracing
from otel_openstack.instrumentation import service_tokens
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.testing import SpanView, Telemetry
from tests.trust.keystone import Keystone, running

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
SENT = {"HTTP_TRACEPARENT": f"00-{TRACE:032x}-{SPAN:016x}-01", "HTTP_BAGGAGE": "tenant=t", "REMOTE_ADDR": "203.0.113.9"}
SERVICE, USER = "gAAAA-service-secret", "gAAAA-user-secret"
FORGED = {
    "HTTP_X_SERVICE_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_ROLES": "service",
    "HTTP_X_SERVICE_ROLES": "service",
    "HTTP_X_SERVICE_USER_NAME": "nova",
}
BY_SERVICE = {"HTTP_X_AUTH_TOKEN": USER, "HTTP_X_SERVICE_TOKEN": SERVICE}


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    with running() as made:
        made.tokens.update({SERVICE: ("member", "service"), USER: ("member", "reader")})
        yield made


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    service_tokens._until.clear()
    yield
    service_tokens._until.clear()
    while open_sessions:
        open_sessions.pop().session.close()


open_sessions: list[Any] = []


class Cloud:
    """An application behind auth_token and our edge."""

    def __init__(self, keystone: Keystone, outer: Callable[[Any], Any] = lambda inner: inner, **options: Any) -> None:
        self.keystone = keystone
        self.baggage: dict[str, object] = {}
        self.traces: list[int] = []
        self.status = ""
        conf = {
            "oslo_config_config": cfg.ConfigOpts(),
            "auth_type": "password",
            "auth_url": keystone.url,
            "username": "service",
            "password": "x",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
            "www_authenticate_uri": keystone.url,
            **options,
        }
        self.middleware = auth_token.AuthProtocol(self._application, conf)
        open_sessions.append(self.middleware._session)
        self.edge = Edge(outer(self.middleware))

    def _application(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.baggage = dict(baggage.get_all())
        self.traces.append(trace.get_current_span().get_span_context().trace_id)
        tracing.child("test", "call", SpanKind.CLIENT).finish()
        start_response("200 OK", [])
        return [b"ok"]

    def call(self, **environ: Any) -> str:
        made: dict[str, Any] = {"PATH_INFO": "/a", "wsgi.input": io.BytesIO(), **SENT, **environ}
        wsgiref.util.setup_testing_defaults(made)
        self.baggage = {}

        def start(status: str, *_: Any) -> None:
            self.status = status

        body = self.edge(made, start)
        list(body)
        body.close()
        return self.status


def joined(span: SpanView) -> bool:
    links = [(link.trace_id, link.span_id) for link in span.links]
    if (span.trace_id, span.parent, links) == (TRACE, SPAN, []):
        return span.parent_is_remote
    assert (span.parent, links) == (None, [(TRACE, SPAN)])
    return False


def servers(telemetry: Telemetry) -> list[bool]:
    return [joined(span) for span in telemetry.spans() if span.kind == "SERVER"]


@contextmanager
def patched(telemetry: Telemetry, *more: str) -> Iterator[None]:
    with telemetry.patched("service_tokens", *more):
        yield


@pytest.mark.parametrize("token", [BY_SERVICE, {"HTTP_X_AUTH_TOKEN": SERVICE}], ids=["service token", "user token"])
def test_a_service_joins_at_once_or_from_the_second_request(
    telemetry: Telemetry, keystone: Keystone, token: dict[str, str]
) -> None:
    with patched(telemetry, "http_client"):
        cloud = Cloud(keystone)
        assert cloud.call(**token) == "200 OK"  # keystone is asked, under the request's own trace
        assert cloud.baggage == {}
        assert cloud.call(**token) == "200 OK"
        assert cloud.baggage == {"tenant": "t"}
        assert servers(telemetry) == [False, True]
        assert cloud.traces[1] == TRACE != cloud.traces[0]
        service_tokens._until.clear()
        assert cloud.call(**token) == "200 OK"  # the token is in the middleware's own cache: nobody has seen the span
        assert cloud.baggage == {"tenant": "t"}
    assert servers(telemetry) == [False, True, True]
    calls = telemetry.spans("call")
    assert [call.trace_id == TRACE for call in calls] == [False, True, True]
    assert [call.parent for call in calls] == [span.span_id for span in telemetry.spans() if span.kind == "SERVER"]
    requests = [span for span in telemetry.spans() if span.name == "GET /v3/auth/tokens"]
    assert requests
    assert {span.trace_id for span in requests} == {cloud.traces[0]}


@pytest.mark.parametrize(
    ("sampler", "flag", "recorded"),
    [
        (sampling.ALWAYS_ON, 0, True),
        (sampling.ALWAYS_OFF, 1, False),
        (sampling.DEFAULT_ON, 0, False),
        (sampling.ParentBasedTraceIdRatio(0.0), 1, True),
        (sampling.ParentBasedTraceIdRatio(0.0), 0, False),
    ],
)
def test_the_flag_of_a_service_counts_as_the_sampler_says(
    telemetry: Telemetry, keystone: Keystone, sampler: Any, flag: int, *, recorded: bool
) -> None:
    telemetry.provider.sampler = sampler
    with patched(telemetry):
        cloud = Cloud(keystone)
        for _ in range(2):  # by joining, by memory
            cloud.call(**BY_SERVICE, HTTP_TRACEPARENT=f"00-{TRACE:032x}-{SPAN:016x}-0{flag}")
    assert cloud.traces == [TRACE] * 2
    assert servers(telemetry) == [True] * 2 * recorded
    assert len(telemetry.spans("call")) == 2 * recorded


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"HTTP_X_AUTH_TOKEN": USER}, "200 OK"),
        ({"HTTP_X_AUTH_TOKEN": USER, **FORGED}, "200 OK"),
        ({"HTTP_X_AUTH_TOKEN": USER, "HTTP_X_SERVICE_TOKEN": USER, **FORGED}, "401 Unauthorized"),
        ({"HTTP_X_AUTH_TOKEN": USER, "HTTP_X_SERVICE_TOKEN": "made up", **FORGED}, "401 Unauthorized"),
        ({"HTTP_X_AUTH_TOKEN": "made up", **FORGED}, "401 Unauthorized"),
        ({"HTTP_X_AUTH_TOKEN": "x" * 10_000}, "401 Unauthorized"),
        ({**FORGED}, "401 Unauthorized"),
    ],
)
def test_nobody_makes_himself_a_service(
    telemetry: Telemetry, keystone: Keystone, sent: dict[str, str], status: str
) -> None:
    with patched(telemetry):
        cloud = Cloud(keystone)
        for _ in range(2):
            assert cloud.call(**sent) == status
            assert cloud.baggage == {}
        assert servers(telemetry) == [False, False]
        assert service_tokens._until == {}


@pytest.mark.parametrize("sent", [BY_SERVICE, {"HTTP_X_AUTH_TOKEN": SERVICE}])
def test_a_services_token_that_has_expired(telemetry: Telemetry, keystone: Keystone, sent: dict[str, str]) -> None:
    keystone.expired.add(SERVICE)  # keystone still tells its roles
    with patched(telemetry):
        cloud = Cloud(keystone)
        for _ in range(2):
            assert cloud.call(**sent) == "401 Unauthorized"
    assert servers(telemetry) == [False, False]


def test_a_users_token_where_the_middleware_takes_any_for_a_services(telemetry: Telemetry, keystone: Keystone) -> None:
    with patched(telemetry):
        cloud = Cloud(keystone, service_token_roles_required=False)
        for _ in range(2):
            cloud.call(HTTP_X_AUTH_TOKEN=USER, HTTP_X_SERVICE_TOKEN=USER)
            assert cloud.status == "200 OK"  # it confirms
    assert servers(telemetry) == [False, False]


def test_the_role_is_the_one_that_the_middleware_is_configured_with(telemetry: Telemetry, keystone: Keystone) -> None:
    keystone.tokens["other"] = ("machine",)
    with patched(telemetry):
        cloud = Cloud(keystone, service_token_roles="machine")
        cloud.call(HTTP_X_AUTH_TOKEN="other")
        cloud.call(HTTP_X_AUTH_TOKEN=SERVICE)
    assert servers(telemetry) == [True, False]


def test_memory_ends(telemetry: Telemetry, keystone: Keystone, monkeypatch: pytest.MonkeyPatch) -> None:
    def environ(token: str) -> dict[str, str]:
        return {"HTTP_X_SERVICE_TOKEN": token}

    with patched(telemetry):
        Cloud(keystone).call(**BY_SERVICE)
    assert service_tokens.known(environ(SERVICE))
    assert service_tokens.known(environ(f" {SERVICE}"))  # as the middleware strips it
    assert SERVICE not in str(service_tokens._until)
    now = service_tokens.monotonic()
    monkeypatch.setattr(service_tokens, "monotonic", lambda: now + service_tokens.LIFETIME - 1)
    assert service_tokens.known(environ(SERVICE))
    monkeypatch.setattr(service_tokens, "monotonic", lambda: now + service_tokens.LIFETIME + 1)
    assert not service_tokens.known(environ(SERVICE))


def test_each_confirmation_makes_it_longer_and_a_refusal_ends_it(
    telemetry: Telemetry, keystone: Keystone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with patched(telemetry, "http_client"):
        Cloud(keystone).call(**BY_SERVICE)
        now = service_tokens.monotonic()
        monkeypatch.setattr(service_tokens, "monotonic", lambda: now + service_tokens.LIFETIME - 1)
        Cloud(keystone).call(**BY_SERVICE)  # each with a cache of its own
        monkeypatch.setattr(service_tokens, "monotonic", lambda: now + service_tokens.LIFETIME + 1)
        Cloud(keystone).call(**BY_SERVICE)
        del keystone.tokens[SERVICE]
        assert Cloud(keystone).call(**BY_SERVICE) == "401 Unauthorized"
        Cloud(keystone).call(**BY_SERVICE)
    assert servers(telemetry) == [False, True, True, True, False]


def test_memory_is_bounded_and_keeps_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_tokens, "MOST", 10)
    for number in range(50):
        service_tokens.remember(f"token {number}")
        service_tokens.remember("often")
    service_tokens.remember("x" * 100_000)
    service_tokens.remember("")
    assert len(service_tokens._until) == 10
    assert service_tokens.known({"HTTP_X_AUTH_TOKEN": "often"})
    assert service_tokens.known({"HTTP_X_AUTH_TOKEN": "token 49"})
    assert not service_tokens.known({"HTTP_X_AUTH_TOKEN": "token 1"})
    assert not service_tokens.known({"HTTP_X_AUTH_TOKEN": "y" * 100_000})
    assert not service_tokens.known({"HTTP_X_AUTH_TOKEN": b"often"})
    assert not service_tokens.known({"HTTP_X_AUTH_TOKEN": ""})


def test_where_services_are_not_trusted(keystone: Keystone) -> None:
    chosen = settings.Settings(strict=True, trusted_callers=("loopback",))
    with testing.recording(chosen) as telemetry, patched(telemetry):
        cloud = Cloud(keystone)
        for _ in range(2):
            cloud.call(**BY_SERVICE)
        assert servers(telemetry) == [False, False]
        assert service_tokens._until == {}


def test_a_middleware_before_it_that_begins_spans(telemetry: Telemetry, keystone: Keystone) -> None:
    def outer(inner: Any) -> Any:
        def filtering(environ: Any, start_response: Any) -> Any:
            with trace.get_tracer("filter").start_as_current_span("filter"):
                return inner(environ, start_response)

        return filtering

    with patched(telemetry):
        cloud = Cloud(keystone, outer)
        for _ in range(2):
            cloud.call(**BY_SERVICE)
    assert servers(telemetry) == [False, True]


class KeystonesOwn(auth_token.BaseAuthProtocol):
    """As keystone's AuthContextMiddleware: headers of the client stay, no role of service tokens is configured."""

    def fetch_token(self, token: str, **_: Any) -> Any:
        from tests.trust import keystone

        if token not in (SERVICE, USER):
            raise auth_token.InvalidToken
        return keystone.token(("service",) if token == SERVICE else ("member",), [])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"HTTP_X_AUTH_TOKEN": SERVICE}, True),
        ({"HTTP_X_AUTH_TOKEN": USER, **FORGED}, False),
        ({"HTTP_X_AUTH_TOKEN": "made up", **FORGED}, False),
        (FORGED, False),
    ],
)
def test_keystone_itself(telemetry: Telemetry, sent: dict[str, str], *, expected: bool) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b""]

    with patched(telemetry):
        edge = Edge(KeystonesOwn(application))
        for _ in range(2):
            environ: dict[str, Any] = {**SENT, **sent, "wsgi.input": io.BytesIO()}
            wsgiref.util.setup_testing_defaults(environ)
            edge(environ, lambda *_: None).close()
    assert servers(telemetry) == [expected] * 2


def test_one_request_many_at_once(telemetry: Telemetry, keystone: Keystone) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with patched(telemetry, "http_client"):
        cloud = Cloud(keystone)
        cloud.call(**BY_SERVICE)
        tokens = [BY_SERVICE, {"HTTP_X_AUTH_TOKEN": USER}] * 50
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda sent: cloud.call(**sent), tokens)) == {"200 OK"}
    found = servers(telemetry)
    assert (found.count(True), found.count(False)) == (50, 51)


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    original = auth_token.BaseAuthProtocol.process_request
    with patched(telemetry):
        assert auth_token.BaseAuthProtocol.process_request is not original
    assert auth_token.BaseAuthProtocol.process_request is original
