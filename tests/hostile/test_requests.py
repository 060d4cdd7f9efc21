# SPDX-License-Identifier: Apache-2.0
"""Requests of strangers through the WSGI edge: the application answers as it does without us, whatever they hold."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_openstack.exporters.accounting import Account
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.patching.guard import failures
from otel_openstack.testing import Telemetry, recording
from otel_openstack.tracing import encoding, encoding_json, inbound
from otel_openstack.tracing.queue import Queue
from tests.hostile import corpus

OURS = "otel_openstack.request"
LONGEST_REQUEST = 5.0  # seconds; a quadratic pattern takes minutes for the largest headers
MOST_BYTES = 64 * 1024  # of one exported span
PROPAGATORS = (TraceContextTextMapPropagator(), W3CBaggagePropagator())


@pytest.fixture(scope="module")
def seen():
    with recording() as telemetry:
        yield telemetry


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with all that the server said, as far as it has a text; fail where a real one would."""
    size = environ.get("CONTENT_LENGTH")
    body = environ["wsgi.input"].read(int(size) if size else 0)
    shown = {
        key: repr(value)
        for key, value in environ.items()
        if key not in (OURS, "wsgi.input") and type(value) is not object
    }
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Method", repr(environ.get("REQUEST_METHOD")))])
    return [repr(sorted(shown.items(), key=repr)).encode("utf-8", "surrogatepass"), body]


def answer(served: Any, changes: dict[str, Any]) -> Any:
    """Return everything that a server would see of one request, an exception with it."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/v2.1/servers/detail",
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(b"abc"),
        **changes,
    }
    told: list[Any] = []
    try:
        body = served(environ, lambda *arguments: told.append(arguments))
        told.append([bytes(part) for part in body])
        if hasattr(body, "close"):
            body.close()
    except Exception as error:
        told.append((type(error), str(error)))
    return told


def same(seen: Telemetry, changes: dict[str, Any]) -> None:
    start = time.monotonic()
    ours = answer(Edge(application), dict(changes))
    assert time.monotonic() - start < LONGEST_REQUEST
    assert ours == answer(application, dict(changes))
    assert failures() == {}
    (span,) = seen.provider.queue.take(9)
    assert span._weight < MOST_BYTES
    for form in (encoding, encoding_json):
        encoded = form.SpanEncoder().encode([span], lambda: None)
        assert encoded.items == 1
        assert len(encoded.payload) < MOST_BYTES
        assert b"geheim" not in encoded.payload


def test_the_kept_cases(seen):
    for changes in corpus.environs():
        same(seen, changes)


everything = st.one_of(
    st.sampled_from(corpus.TYPES),
    st.text(max_size=300),
    st.text("\t ,=;-0123456789abcdef", max_size=300),
    st.binary(max_size=50),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(corpus.HEADERS)), everything, max_size=6))
@example({"CONTENT_LENGTH": "3", "HTTP_TRANSFER_ENCODING": 5, "wsgi.url_scheme": []})
def test_random_requests(seen, changes):
    same(seen, changes)


@settings(max_examples=100, deadline=None)
@given(st.lists(everything, min_size=3, max_size=3))
@example([corpus.PARENT, corpus.STATES[3], corpus.BAGGAGE[1]])
@pytest.mark.parametrize(
    "propagators", [PROPAGATORS, PROPAGATORS[:1], PROPAGATORS[1:]], ids=["both", "context", "baggage"]
)
def test_propagators_get_what_they_can_parse(propagators, values):
    from otel_openstack.instrumentation.wsgi_environ import GETTER

    environ = dict(zip(("HTTP_TRACEPARENT", "HTTP_TRACESTATE", "HTTP_BAGGAGE"), values, strict=True))
    context = CompositePropagator(propagators).extract(environ, getter=GETTER)
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    assert len(carrier.get("tracestate", "")) <= 2048
    assert all(len(value) <= 8192 for value in carrier.values())


def test_white_space_and_length_that_make_propagators_slow_do_not_reach_them():
    assert inbound.header("baggage", "a=" + " " * 8000 + "b") == "a= b"
    assert inbound.header("baggage", "a=" + " \t" * 2000 + "b") == "a= b"
    assert inbound.header("traceparent", f"cc-{corpus.TRACE}-{corpus.SPAN}-01-   \nx") == (
        f"cc-{corpus.TRACE}-{corpus.SPAN}-01- x"
    )
    assert inbound.header("traceparent", " " * 200) is None
    assert inbound.header("baggage", "a" * 8193) is None


def test_a_long_tracestate_is_sent_on_with_its_first_members_only(seen):
    state = ",".join(f"key{number}={'v' * 100}" for number in range(15))
    carrier: dict[str, str] = {}

    def calls_another(environ, start_response):
        propagate.inject(carrier)
        return application(environ, start_response)

    answer(Edge(calls_another), {"HTTP_TRACEPARENT": corpus.PARENT, "HTTP_TRACESTATE": state})
    assert carrier["traceparent"].startswith(f"00-{corpus.TRACE}-")
    assert carrier["tracestate"] == ",".join(state.split(",")[:4])
    (span,) = seen.provider.queue.take(9)
    assert (
        dict(span.get_span_context().trace_state)
        == dict(span.parent.trace_state)
        == dict(pair.split("=") for pair in state.split(",")[:4])
    )


def test_requests_of_strangers_hold_no_more_memory_than_the_queue_may():
    import tracemalloc

    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from otel_openstack.testing import _set_global
    from otel_openstack.tracing import TracerProvider

    bound = 2 * 1024 * 1024
    provider = TracerProvider(ALWAYS_ON, queue=Queue(Account("traces"), bound, lambda: None))
    hostile = {
        "HTTP_TRACEPARENT": corpus.PARENT,
        "HTTP_TRACESTATE": ",".join(f"k{number}={number}" for number in range(32)),
        "HTTP_BAGGAGE": ",".join(f"k{number}=value" for number in range(180)),
    }
    restore = _set_global(provider)
    try:
        answer(Edge(application), hostile)
        provider.queue.take(9)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        count = 0
        while not provider.queue.account.dropped and count < 20_000:
            # Texts of its own in each request, one wide character in each.
            wide = f"\xf0\x9f\x98\x80{count:06}"
            answer(
                Edge(application),
                {**hostile, "PATH_INFO": f"/{wide}{'p' * 900}", "HTTP_USER_AGENT": f"{wide}{'u' * 200}"},
            )
            count += 1
        estimated = tracemalloc.get_traced_memory()[0] - before
        provider.queue.weigh()
        weighed = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        restore()
        provider.shutdown()
    assert provider.queue.account.dropped
    assert estimated < 4 * bound  # a wide character may make four bytes of each
    assert weighed < 1.25 * bound
