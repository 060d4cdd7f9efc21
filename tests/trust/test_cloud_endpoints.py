# SPDX-License-Identifier: Apache-2.0
"""Where outgoing requests carry context to: real keystoneauth1, with one stub that is called by several names."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from keystoneauth1 import adapter, noauth, session
from keystoneauth1.identity import v3
from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.trace import SpanKind

from otel_openstack import testing, tracing
from otel_openstack.instrumentation import cloud_endpoints
from otel_openstack.settings import Settings
from otel_openstack.testing import Telemetry
from tests.trust.keystone import Keystone, running

# The same server under names that no rule for addresses takes for another's.
KEYSTONE, CATALOG, ELSEWHERE = "127.0.0.1", "localhost", "127.1"
OPTIONS: tuple[tuple[tuple[str, ...], tuple[str, ...], dict[str, bool]], ...] = (
    # trusted_endpoints, trusted_callers
    (
        ("loopback", "callers", "catalog"),
        ("loopback", "service", "10.20.0.0/24"),
        {
            "127.0.0.1": True,
            "127.9.9.9": True,
            "::1": True,
            "localhost": True,
            "LOCALHOST.": True,
            "10.20.0.9": True,
            "10.20.1.9": False,
            "nova.cloud.example": False,
            "127.1": False,
            "localhost.evil.example": False,
            "": False,
            "x" * 10_000: False,
        },
    ),
    (
        ("nova.cloud.example", "*.internal", "fd00:20::/64", "192.0.2.7"),
        ("loopback",),
        {
            "nova.cloud.example": True,
            "Nova.Cloud.Example": True,
            "evil-nova.cloud.example": False,
            "nova.cloud.example.evil": False,
            "a.internal": True,
            "b.a.internal": True,
            "internal": False,
            "evilinternal": False,
            "fd00:20::7": True,
            "fd00:21::7": False,
            "192.0.2.7": True,
            "192.0.2.70": False,
            "127.0.0.1": False,
            "localhost": False,
        },
    ),
    (("none",), ("all",), {"127.0.0.1": False, "localhost": False}),
    (("callers",), ("all",), {"127.0.0.1": False, "nova.cloud.example": False}),  # `all` names nobody
    (("callers",), ("loopback",), {"127.0.0.1": True, "10.20.0.9": False}),
    (("all",), ("none",), {"203.0.113.9": True, "x.example": True}),
    ((), ("loopback",), {"127.0.0.1": False}),
)


@pytest.fixture
def cloud() -> Iterator[Keystone]:
    cloud_endpoints.restart()
    with running() as made:
        made.offer("compute", f"http://{CATALOG}:{made.port}/compute")
        yield made
    cloud_endpoints.restart()


@contextmanager
def recording(*places: str) -> Iterator[Telemetry]:
    """Record a request with baggage that calls others."""
    with testing.recording(Settings(strict=True, trusted_endpoints=places)) as telemetry:
        root = tracing.root("test", "root", SpanKind.SERVER)
        token = context_api.attach(baggage.set_baggage("tenant", "t"))
        try:
            with telemetry.patched("http_client", "cloud_endpoints"):
                yield telemetry
        finally:
            context_api.detach(token)
            root.finish()


def password(cloud: Keystone, **more: Any) -> v3.Password:
    return v3.Password(
        auth_url=f"http://{KEYSTONE}:{cloud.port}/v3",
        username="u",
        password="p",
        user_domain_id="default",
        project_name="x",
        project_domain_id="default",
        **more,
    )


def carried(cloud: Keystone, telemetry: Telemetry) -> list[tuple[str, bool]]:
    """What arrived and whether it carried context; each has its CLIENT span, and carries all of it or nothing."""
    spans = [span for span in telemetry.spans() if span.kind == "CLIENT"]
    assert len(spans) == len(cloud.seen)
    found = []
    for (request, headers), span in zip(cloud.seen, spans, strict=True):
        parent = headers.get("traceparent")
        assert parent in (None, f"00-{span.trace_id:032x}-{span.span_id:016x}-03")
        assert headers.get("baggage") == (None if parent is None else "tenant=t")
        found.append((f"{headers['host'].partition(':')[0]} {request}", parent is not None))
    return found


@pytest.mark.parametrize(("places", "trusted", "hosts"), OPTIONS)
def test_hosts(places: tuple[str, ...], trusted: tuple[str, ...], hosts: dict[str, bool]) -> None:
    cloud_endpoints.restart()
    chosen = Settings(strict=True, trusted_endpoints=places, trusted_callers=trusted)
    with testing.recording(chosen):
        for _ in range(2):
            assert {host: cloud_endpoints.trusted(host) for host in hosts} == hosts


def test_the_catalog_and_what_is_configured(cloud: Keystone) -> None:
    with recording("catalog") as telemetry:
        made = session.Session(auth=password(cloud))
        nova = adapter.Adapter(made, service_type="compute", interface="public")
        nova.get("/servers")
        nova.get("/servers")
        made.get(f"http://{ELSEWHERE}:{cloud.port}/v3/image-of-a-user")  # an absolute URL teaches nothing
        made.get(f"http://{ELSEWHERE}:{cloud.port}/v3/image-of-a-user")
        made.close()
        assert carried(cloud, telemetry) == [
            (f"{KEYSTONE} POST /v3/auth/tokens", True),
            (f"{CATALOG} GET /compute/servers", True),
            (f"{CATALOG} GET /compute/servers", True),
            (f"{ELSEWHERE} GET /v3/image-of-a-user", False),
            (f"{ELSEWHERE} GET /v3/image-of-a-user", False),
        ]


def test_discovery_of_an_endpoint_of_the_catalog_carries_context_already(cloud: Keystone) -> None:
    cloud.offer("image", f"http://{ELSEWHERE}:{cloud.port}/v3")
    with recording("catalog") as telemetry:
        made = session.Session(auth=password(cloud))
        assert made.get_endpoint(service_type="image", version=(2, 0), interface="public") is None
        made.close()
        assert carried(cloud, telemetry)[1:] == [(f"{ELSEWHERE} GET /", True)]


def test_an_endpoint_that_is_configured(cloud: Keystone) -> None:
    with recording("catalog") as telemetry:
        made = session.Session(auth=noauth.NoAuth())
        adapter.Adapter(made, endpoint_override=f"http://{ELSEWHERE}:{cloud.port}/").get("/v3/x")
        fixed = noauth.NoAuth(endpoint=f"http://{CATALOG}:{cloud.port}")
        adapter.Adapter(made, auth=fixed, service_type="x").get("/v3/x")
        made.close()
        assert [found for _, found in carried(cloud, telemetry)] == [True, True]


def test_a_redirect_teaches_nothing(cloud: Keystone, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.trust.keystone import Handler

    def redirect(handler: Any) -> None:
        handler._note()
        location = {"Location": f"http://{ELSEWHERE}:{cloud.port}/v3/target"}
        first = handler.path.startswith("/compute")
        handler._answer(302 if first else 200, {}, location if first else None)

    monkeypatch.setattr(Handler, "do_GET", redirect)
    with recording("catalog") as telemetry:
        made = session.Session(auth=password(cloud))
        adapter.Adapter(made, service_type="compute", interface="public").get("/v3/x")
        made.close()
        assert carried(cloud, telemetry)[1:] == [
            (f"{CATALOG} GET /compute/v3/x", True),
            (f"{ELSEWHERE} GET /v3/target", False),
        ]


def by_urllib(url: str) -> None:
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()


def by_requests(url: str) -> None:
    with requests.Session() as made:
        made.get(url, timeout=10)


@pytest.mark.parametrize("client", [by_urllib, by_requests])
def test_requests_that_nobody_else_knows(cloud: Keystone, client: Any) -> None:
    with recording(CATALOG) as telemetry:
        for host in (CATALOG, KEYSTONE, ELSEWHERE):
            client(f"http://{host}:{cloud.port}/v3/x")
        assert [found for _, found in carried(cloud, telemetry)] == [True, False, False]


def test_without_catalog_what_it_names_is_not_trusted(cloud: Keystone) -> None:
    with recording("none") as telemetry:
        made = session.Session(auth=password(cloud))
        adapter.Adapter(made, service_type="compute", interface="public").get("/v3/x")
        made.close()
        assert [found for _, found in carried(cloud, telemetry)] == [False, False]


@pytest.mark.parametrize("url", [None, 7, "", "http://", "http://[::1", "x" * 100_000, f"http://{'x' * 300}/"])
def test_urls_that_are_none(url: Any) -> None:
    cloud_endpoints.restart()
    cloud_endpoints.learn(url)
    assert not cloud_endpoints._learned


def test_what_is_learned_is_bounded() -> None:
    cloud_endpoints.restart()
    with testing.recording(Settings(strict=True)):
        for number in range(5000):
            cloud_endpoints.learn(f"http://h{number}.example:{number}/v2")
            cloud_endpoints.trusted(f"other{number}.example")
        assert cloud_endpoints.trusted("h7.example")
        assert not cloud_endpoints.trusted("h4999.example")
        sizes = (len(cloud_endpoints._learned), len(cloud_endpoints._urls), len(cloud_endpoints._current()._verdicts))
    assert max(sizes) <= cloud_endpoints.MOST
    cloud_endpoints.restart()


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    names = ("request", "get_endpoint")
    before = [vars(session.Session)[name] for name in names]
    with telemetry.patched("cloud_endpoints"):
        assert [vars(session.Session)[name] for name in names] != before
    assert [vars(session.Session)[name] for name in names] == before


GREEN = """
import eventlet
eventlet.monkey_patch()
from otel_openstack import settings, testing
from tests.trust.keystone import running
from tests.trust.test_cloud_endpoints import CATALOG, recording
from keystoneauth1 import adapter, noauth, session
with running() as cloud, recording("catalog") as telemetry:
    made = session.Session(auth=noauth.NoAuth(endpoint=f"http://{CATALOG}:{cloud.port}/compute"))
    nova = adapter.Adapter(made, service_type="compute", interface="public")
    pool = eventlet.GreenPool()
    nova.get("/servers")
    for _ in range(20):
        pool.spawn(nova.get, "/servers")
    pool.waitall()
    made.get(f"http://127.0.0.1:{cloud.port}/v3/x")  # eventlet resolves no 127.1
    sent = ["traceparent" in headers for _, headers in cloud.seen]
assert sent == [True] * 21 + [False], sent
"""


def test_in_an_eventlet_service() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GREEN], timeout=60, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
