# SPDX-License-Identifier: Apache-2.0
"""Calls of a real memcached, through both clients that OpenStack uses and through dogpile.cache."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import memcache
import pytest
from dogpile.cache import make_region
from opentelemetry.trace import SpanKind
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError

from otel_openstack import settings, testing, tracing
from otel_openstack.testing import Telemetry

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        chosen: int = found.getsockname()[1]
    server = subprocess.Popen(["memcached", "-l", "127.0.0.1", "-p", str(chosen), "-u", "nobody"])
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", chosen)).close()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.02)
    yield chosen
    server.terminate()
    server.wait(10)


def by_pymemcache(port: int) -> int:
    client = Client(("127.0.0.1", port))
    client.set("k", "1")
    assert client.get("k") == b"1"
    client.incr("k", 2)
    client.get_many(["k", "l"])
    client.delete("k")
    client.close()
    return 5


def by_pools(port: int) -> int:
    pooled = PooledClient(("127.0.0.1", port))
    pooled.set("k", "1")
    assert pooled.get("k") == b"1"
    pooled.close()
    hashed = HashClient([("127.0.0.1", port)])
    hashed.set("k", "1")
    hashed.get("k")
    hashed.close()
    return 4


def by_python_memcached(port: int) -> int:
    client = memcache.Client([f"127.0.0.1:{port}"])
    client.set("k", "1")
    assert client.get("k") == "1"
    client.incr("k")
    client.set_multi({"a": 1, "b": 2})
    client.get_multi(["a", "b"])
    client.delete_multi(["a", "b"])
    client.delete("k")
    client.touch("k")
    client.disconnect_all()
    return 8


def by_dogpile(port: int) -> int:
    region = make_region().configure("dogpile.cache.pymemcache", arguments={"url": [f"127.0.0.1:{port}"]})
    region.set("k", {"a": 1})
    assert region.get("k") == {"a": 1}
    region.backend.client.close()
    return 2


CLIENTS = (by_pymemcache, by_pools, by_python_memcached, by_dogpile)


@pytest.mark.parametrize("work", CLIENTS)
def test_calls_are_counted_and_are_no_spans(telemetry: Telemetry, port: int, work: Callable[[int], int]) -> None:
    with telemetry.patched("memcache"):
        operation = tracing.root("test", "root", SpanKind.SERVER)
        start = time.perf_counter()
        calls = work(port)
        took = time.perf_counter() - start
        operation.finish()
        work(port)  # outside every request: nothing to count into
    (span,) = telemetry.spans()
    assert span.attributes["openstack.cache.calls"] == calls
    assert 0 < span.attributes["openstack.cache.duration"] <= took


@pytest.mark.parametrize("work", CLIENTS)
def test_calls_are_spans_at_level_detailed(port: int, work: Callable[[int], int]) -> None:
    with testing.recording(settings.Settings(strict=True, level="detailed")) as telemetry:
        with telemetry.patched("memcache"):
            operation = tracing.root("test", "root", SpanKind.SERVER)
            calls = work(port)
            operation.finish()
        *spans, root = telemetry.spans()
        assert len(spans) == calls
        assert {span.parent for span in spans} == {root.span_id}
        assert {span.attributes["db.system.name"] for span in spans} == {"memcached"}
        assert spans[0].name == spans[0].attributes["db.operation.name"] == "set"
        assert spans[1].name == "get"
        assert root.attributes["openstack.cache.calls"] == calls
        assert all("'k'" not in str(span.attributes) for span in spans)


def in_root(telemetry: Telemetry, call: Callable[[], Any]) -> list[Any]:
    with telemetry.patched("memcache"):
        operation = tracing.root("test", "root", SpanKind.SERVER)
        try:
            call()
        except (OSError, MemcacheClientError):
            pass
        finally:
            operation.finish()
    return telemetry.spans()


def test_a_call_that_fails_is_a_span(telemetry: Telemetry, port: int) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        unused = found.getsockname()[1]
    span, root = in_root(telemetry, lambda: Client(("127.0.0.1", unused)).get("secret-key"))
    assert (span.name, span.status, span.parent) == ("get", "ERROR", root.span_id)
    assert span.attributes["error.type"] == "ConnectionRefusedError"
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("127.0.0.1", unused)
    assert "secret-key" not in str(span)


def test_a_slow_call_is_a_span(telemetry: Telemetry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(silent.getsockname(), timeout=0.2)
        span, root = in_root(telemetry, lambda: client.get("k"))
        client.close()
    assert (span.name, span.attributes["error.type"]) == ("get", "TimeoutError")
    assert (span.end - span.start) / 1e9 >= 0.2
    assert root.start <= span.start
    assert root.attributes["openstack.cache.calls"] == 1


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    before = dict(vars(Client)), dict(vars(memcache.Client))
    with telemetry.patched("memcache"):
        assert vars(Client)["_fetch_cmd"] is not before[0]["_fetch_cmd"]
    assert (dict(vars(Client)), dict(vars(memcache.Client))) == before
