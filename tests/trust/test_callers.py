# SPDX-License-Identifier: Apache-2.0
"""Whose context a request takes over, by what the environ says: parent or link, sampling, tracestate, baggage."""

from __future__ import annotations

import io
import logging
import wsgiref.util
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator, default_getter, default_setter
from opentelemetry.sdk.trace import sampling
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_openstack import testing, tracing
from otel_openstack.instrumentation import addresses, callers, service_tokens
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.settings import Settings
from otel_openstack.testing import SpanView, Telemetry

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
SENT = {
    "HTTP_TRACEPARENT": f"00-{TRACE:032x}-{SPAN:016x}-01",
    "HTTP_TRACESTATE": "vendor=secret-state",
    "HTTP_BAGGAGE": "tenant=secret-baggage",
}
PUBLIC = "203.0.113.9"
LOCAL = {"REMOTE_ADDR": "127.0.0.1"}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    callers._restart()


class Seen:
    """What the application saw: what is current, and what a request of its own would carry."""

    def __init__(self) -> None:
        self.baggage: dict[str, object] = {}
        self.sent: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.baggage = dict(baggage.get_all())
        self.current = trace.get_current_span()
        propagate.inject(self.sent)
        start_response("200 OK", [])
        return [b""]


def call(environ: dict[str, Any]) -> Seen:
    made: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a", "wsgi.input": io.BytesIO(), **environ}
    wsgiref.util.setup_testing_defaults(made)
    seen = Seen()
    for _ in (body := Edge(seen)(made, lambda *_: None)):
        pass
    body.close()
    return seen


def joined(span: SpanView) -> bool:
    """Whether the caller's span is the parent; if not, it has to be a link, and the trace another."""
    links = [(link.trace_id, link.span_id) for link in span.links]
    if (span.trace_id, span.parent, links) == (TRACE, SPAN, []):
        return span.parent_is_remote
    assert (span.parent, links) == (None, [(TRACE, SPAN)])
    assert span.trace_id != TRACE
    return False


OURS = ("loopback", "10.20.0.0/24", "fd00:20::/64", "192.0.2.7")
ADDRESSES: list[tuple[tuple[str, ...] | None, dict[str, Any], bool]] = [
    # the default
    (None, {"REMOTE_ADDR": "127.0.0.1"}, True),
    (None, {"REMOTE_ADDR": "127.3.2.1"}, True),
    (None, {"REMOTE_ADDR": "::1"}, True),
    (None, {"REMOTE_ADDR": "::ffff:127.0.0.1"}, True),
    (None, {"REMOTE_ADDR": "10.20.0.5"}, False),
    (None, {"REMOTE_ADDR": PUBLIC}, False),
    (None, {}, True),  # a Unix socket, as servers show it
    (None, {"REMOTE_ADDR": ""}, True),
    (None, {"REMOTE_ADDR": "unix"}, True),
    (None, {"REMOTE_ADDR": "<local>"}, True),
    (None, {"REMOTE_ADDR": "0.0.0.0"}, True),
    # networks
    (OURS, {"REMOTE_ADDR": "10.20.0.5"}, True),
    (OURS, {"REMOTE_ADDR": "10.20.1.5"}, False),
    (OURS, {"REMOTE_ADDR": "fd00:20::5"}, True),
    (OURS, {"REMOTE_ADDR": "fd00:20::5%eth0"}, True),
    (OURS, {"REMOTE_ADDR": "fd00:21::5"}, False),
    (OURS, {"REMOTE_ADDR": "192.0.2.7"}, True),
    (OURS, {"REMOTE_ADDR": "192.0.2.8"}, False),
    (("10.20.0.0/24",), {"REMOTE_ADDR": "127.0.0.1"}, False),
    (("10.20.0.0/24",), {}, False),
    (("none",), {"REMOTE_ADDR": "127.0.0.1"}, False),
    ((), {"REMOTE_ADDR": "127.0.0.1"}, False),
    (("all",), {"REMOTE_ADDR": PUBLIC, "HTTP_X_FORWARDED_FOR": "lie"}, True),
    # proxies
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": PUBLIC}, False),
    (OURS, {"HTTP_X_FORWARDED_FOR": PUBLIC}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": f"10.20.0.5, {PUBLIC}"}, False),  # the client's lie, the proxy's truth
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": f"{PUBLIC}, 10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "10.20.0.5,10.20.0.6"}, True),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "10.20.0.5:4711, [fd00:20::5]:80, fd00:20::6"}, True),
    (OURS, {"REMOTE_ADDR": PUBLIC, "HTTP_X_FORWARDED_FOR": "10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": ""}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "unknown"}, False),
    (OURS, {**LOCAL, "HTTP_X_REAL_IP": PUBLIC}, False),
    (OURS, {**LOCAL, "HTTP_X_REAL_IP": PUBLIC, "HTTP_X_FORWARDED_FOR": "10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_X_REAL_IP": "10.20.0.5", "HTTP_X_FORWARDED_PROTO": "https"}, True),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_PROTO": "https"}, False),  # a proxy that does not say for whom
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_HOST": "cloud.example"}, False),
    (OURS, {**LOCAL, "HTTP_VIA": "1.1 squid"}, False),
    (OURS, {**LOCAL, "HTTP_FORWARDED": f"for={PUBLIC};proto=https;by=10.20.0.1"}, False),
    (OURS, {**LOCAL, "HTTP_FORWARDED": "proto=https;For=10.20.0.5"}, True),
    (OURS, {**LOCAL, "HTTP_FORWARDED": 'for="[fd00:20::5]:4711", for=10.20.0.6;by=x'}, True),
    (OURS, {**LOCAL, "HTTP_FORWARDED": "for=_hidden"}, False),
    (OURS, {**LOCAL, "HTTP_FORWARDED": "by=10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_FORWARDED": f'for=10.20.0.5;x=", for={PUBLIC}'}, False),  # a quote that hides the truth
    # hostile
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "10.20.0.5," * 40 + "10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "," * 100_000}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": "1" * 100_000}, False),
    (OURS, {**LOCAL, "HTTP_X_FORWARDED_FOR": b"10.20.0.5"}, False),
    (OURS, {**LOCAL, "HTTP_FORWARDED": 'for="' + ";=" * 400}, False),
    (OURS, {"REMOTE_ADDR": "10.20.0.5" + "5" * 100}, False),
    (OURS, {"REMOTE_ADDR": "10.20.0.05"}, False),
    (OURS, {"REMOTE_ADDR": "169082885"}, False),
    (OURS, {"REMOTE_ADDR": ["127.0.0.1"]}, False),
    (OURS, {"REMOTE_ADDR": None}, False),
    (OURS, {"REMOTE_ADDR": "\x00\ud800"}, False),
]


@pytest.mark.parametrize(("trusted", "environ", "expected"), ADDRESSES)
def test_who_is_trusted(trusted: tuple[str, ...] | None, environ: dict[str, Any], *, expected: bool) -> None:
    chosen = Settings(strict=True) if trusted is None else Settings(strict=True, trusted_callers=trusted)
    with testing.recording(chosen) as telemetry:
        for _ in range(2):  # the second verdict is a kept one
            seen = call({**SENT, **environ})
            assert seen.baggage == ({"tenant": "secret-baggage"} if expected else {})
            assert seen.sent.get("tracestate") == ("vendor=secret-state" if expected else None)
            assert seen.sent.get("baggage") == ("tenant=secret-baggage" if expected else None)
        spans = telemetry.spans("GET")
        assert [joined(span) for span in spans] == [expected] * 2
        assert len({span.trace_id for span in spans}) == (1 if expected else 2)


SAMPLERS = {
    "always_on": sampling.ALWAYS_ON,
    "always_off": sampling.ALWAYS_OFF,
    "parentbased_always_on": sampling.DEFAULT_ON,
    "parentbased_traceidratio 0": sampling.ParentBasedTraceIdRatio(0.0),
}
DECISIONS = [
    # sampler, the caller's flag, whether it is trusted, whether the request is recorded
    ("always_on", 0, True, True),
    ("always_on", 0, False, True),
    ("always_off", 1, True, False),
    ("always_off", 1, False, False),
    ("parentbased_always_on", 0, True, False),
    ("parentbased_always_on", 0, False, True),  # a stranger cannot suppress
    ("parentbased_always_on", 1, True, True),
    ("parentbased_traceidratio 0", 1, True, True),
    ("parentbased_traceidratio 0", 1, False, False),  # a stranger cannot force
    ("parentbased_traceidratio 0", 0, False, False),
]


@pytest.mark.parametrize(("sampler", "flag", "trusted", "recorded"), DECISIONS)
def test_the_sampled_flag(telemetry: Telemetry, sampler: str, flag: int, *, trusted: bool, recorded: bool) -> None:
    telemetry.provider.sampler = SAMPLERS[sampler]
    traceparent = f"00-{TRACE:032x}-{SPAN:016x}-0{flag}"
    seen = call({"REMOTE_ADDR": "127.0.0.1" if trusted else PUBLIC, "HTTP_TRACEPARENT": traceparent})
    spans = telemetry.spans()
    assert [joined(span) for span in spans] == ([trusted] if recorded else [])
    current = seen.current.get_span_context()
    assert (current.trace_id == TRACE) is trusted
    assert seen.sent["traceparent"].startswith(f"00-{current.trace_id:032x}-")
    assert int(seen.sent["traceparent"][-2:], 16) & 1 == recorded


def test_what_is_started_under_a_strangers_request_is_in_our_trace(telemetry: Telemetry) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        tracing.child("test", "call", trace.SpanKind.CLIENT).finish()
        start_response("200 OK", [])
        return [b""]

    environ: dict[str, Any] = {**SENT, "REMOTE_ADDR": PUBLIC, "PATH_INFO": "/a", "wsgi.input": io.BytesIO()}
    wsgiref.util.setup_testing_defaults(environ)
    Edge(application)(environ, lambda *_: None).close()
    root = telemetry.span("GET")
    assert not joined(root)
    assert (telemetry.span("call").trace_id, telemetry.span("call").parent) == (root.trace_id, root.span_id)
    (point,) = telemetry.points("http.server.request.duration")
    assert point.count == 1


@pytest.mark.parametrize("traceparent", ["", "00-0-0-01", f"00-{0:032x}-{SPAN:016x}-01", "ff" * 30_000, "00-é"])
def test_no_traceparent_no_link(telemetry: Telemetry, traceparent: str) -> None:
    seen = call({"HTTP_TRACEPARENT": traceparent, "HTTP_BAGGAGE": "a=b", "REMOTE_ADDR": PUBLIC})
    span = telemetry.span("GET")
    assert (span.parent, span.links, seen.baggage) == (None, (), {})


class Other(TextMapPropagator):
    """A propagator that nobody here knows: a header of its own, and more than a span in the context."""

    fails = False

    def extract(self, carrier: Any, context: Context | None = None, getter: Getter[Any] = default_getter) -> Context:
        if self.fails:
            raise ZeroDivisionError
        found = getter.get(carrier, "x-other")
        if not found:
            return context or Context()
        span = NonRecordingSpan(SpanContext(TRACE, SPAN, is_remote=True, trace_flags=TraceFlags(1)))
        return baggage.set_baggage("other", found[0], trace.set_span_in_context(span, context))

    def inject(self, carrier: Any, context: Context | None = None, setter: Setter[Any] = default_setter) -> None: ...

    @property
    def fields(self) -> set[str]:
        return {"x-other"}


@pytest.fixture
def other() -> Iterator[Other]:
    before, made = propagate.get_global_textmap(), Other()
    propagate.set_global_textmap(made)
    yield made
    propagate.set_global_textmap(before)


def test_headers_of_other_propagators(telemetry: Telemetry, other: Other) -> None:
    assert call({"HTTP_X_OTHER": "secret", **LOCAL}).baggage == {"other": "secret"}
    assert call({"HTTP_X_OTHER": "secret", "REMOTE_ADDR": PUBLIC}).baggage == {}
    assert [joined(span) for span in telemetry.spans()] == [True, False]


@pytest.mark.parametrize("remote", ["127.0.0.1", PUBLIC])
def test_a_propagator_that_fails(telemetry: Telemetry, other: Other, remote: str) -> None:
    other.fails = True
    for _ in range(10):  # more often than a failing hook of ours is called
        call({**SENT, "HTTP_X_OTHER": "secret", "REMOTE_ADDR": remote})
    assert [(span.parent, span.links) for span in telemetry.spans()] == [(None, ())] * 10


def test_without_headers_nobody_is_asked_who_it_is(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers._Rules, "stranger", None)
    call({"REMOTE_ADDR": PUBLIC, "HTTP_X_FORWARDED_FOR": PUBLIC})
    assert telemetry.span("GET").links == ()


def test_verdicts_are_bounded(telemetry: Telemetry) -> None:
    for number in range(3000):
        call({**SENT, "REMOTE_ADDR": f"198.51.{number // 250}.{number % 250}", "HTTP_X_FORWARDED_FOR": "x" * 900})
        telemetry.clear()
    assert len(callers._current()._verdicts) <= callers.MOST_VERDICTS
    assert max(map(len, callers._current()._verdicts)) <= addresses.LONGEST


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"REMOTE_ADDR": PUBLIC}, PUBLIC),
        ({**LOCAL, "HTTP_X_FORWARDED_FOR": f"198.51.100.1, {PUBLIC}"}, PUBLIC),
        ({**LOCAL, "HTTP_X_FORWARDED_FOR": "evil\nname"}, "an unknown address"),
        ({**LOCAL, "HTTP_VIA": "1.1 x"}, "a proxy that does not say for whom"),
    ],
)
def test_one_line_names_the_option(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, environ: dict[str, Any], named: str
) -> None:
    caplog.set_level(logging.INFO, "otel_openstack")
    call({**SENT, **LOCAL})
    assert caplog.messages == []
    for _ in range(3):
        call({**SENT, **environ})
    text = "became a link; name the address in OTEL_OPENSTACK_TRUSTED_CALLERS to join its traces"
    assert caplog.messages == [f"otel-openstack: a traceparent from {named} {text}"]


HEADERS = [*SENT, "REMOTE_ADDR", *callers.NAMING, *callers.SHOWING, "HTTP_X_AUTH_TOKEN", "HTTP_X_SERVICE_TOKEN"]
PARTS = st.sampled_from(["for=", '"', ",", ";", "=", "[", "]", ":", "%", "127.0.0.1", "::1", "::ffff:", "0" * 32, "-"])
VALUES = st.one_of(st.text(max_size=2000), st.lists(PARTS, max_size=60).map("".join), st.binary(max_size=9), st.none())


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(HEADERS), VALUES))
def test_whatever_is_sent_it_is_a_request(environ: dict[str, Any]) -> None:
    with testing.recording(Settings(strict=True)) as telemetry:
        service_tokens.remember("a service's")
        call(environ)
        assert len(telemetry.spans()) == 1
        service_tokens.forget("a service's")
