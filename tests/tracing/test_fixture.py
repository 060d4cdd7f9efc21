# SPDX-License-Identifier: Apache-2.0
"""The fixture `telemetry`: what was recorded by value, and what a failing test says."""

import os
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_openstack import dimensions, metrics, settings, tracing
from otel_openstack.tracing import events


def test_spans_are_seen_by_value(telemetry):
    operation = tracing.root("tests", "GET /", SpanKind.SERVER, {"a": 1})
    tracing.child("tests", "call", SpanKind.CLIENT, {}).finish("503")
    operation.finish()
    root, call = telemetry.span("GET /"), telemetry.span("call")
    assert (call.parent, call.trace_id) == (root.span_id, root.trace_id)
    assert (call.status, call.attributes, call.kind) == ("ERROR", {"error.type": "503"}, "CLIENT")
    assert (root.status, root.attributes, root.parent) == ("UNSET", {"a": 1}, None)


def test_every_test_has_its_own_provider(telemetry):
    assert trace.get_tracer_provider() is telemetry.provider
    assert telemetry.spans() == []


def test_clear_forgets(telemetry):
    tracing.root("tests", "x", SpanKind.INTERNAL).finish()
    assert len(telemetry.spans()) == 1
    telemetry.clear()
    assert telemetry.spans() == []


def test_what_is_not_there_is_told_by_what_is(telemetry):
    with tracing_of("GET /servers", {"http.route": "/servers"}):
        metrics.histogram("http.client.request.duration").record(0.5, "GET", "a")
    events.emit("shop.build.start", {"shop.host": "c1"}, trace.INVALID_SPAN_CONTEXT)
    for ask, says in (
        (
            lambda: telemetry.span("GET /server"),
            r"no span 'GET /server' \(did you mean 'GET /servers'\?\); recorded:\n  SERVER GET /servers ",
        ),
        (lambda: telemetry.span("GET /servers", {"http.route": "/"}), r"no span 'GET /servers' with .http.route='/'."),
        (lambda: telemetry.point("http.client.request.durations"), r"no point .*duration'\?"),
        (
            lambda: telemetry.point("http.client.request.duration", {"server.address": "b"}),
            r"recorded:\n  count 1, sum 0.5 .http.request.method='GET', server.address='a'.",
        ),
        (lambda: telemetry.event("shop.build.end"), r"no log event .*; recorded:\n  shop.build.start .shop.host='c1'."),
    ):
        with pytest.raises(AssertionError, match=says):
            ask()
    assert telemetry.span("GET /servers", {"http.route": "/servers"}).kind == "SERVER"
    assert telemetry.point("http.client.request.duration", {"server.address": "a"}).count == 1
    assert telemetry.event("shop.build.start", {"shop.host": "c1"}).trace_id == 0


def test_more_than_one_is_an_error_too(telemetry):
    for host in ("c1", "c2"):
        tracing_of("build", {"host": host}).finish()
    with pytest.raises(AssertionError, match=r"2 spans 'build'; recorded:\n  SERVER build .host='c1'.\n  SERVER build"):
        telemetry.span("build")
    assert telemetry.span("build", {"host": "c2"}).attributes == {"host": "c2"}


def test_children(telemetry):
    operation = tracing_of("GET /", {})
    for name in ("first", "second"):
        tracing.child("tests", name, SpanKind.CLIENT, {}).finish()
    operation.finish()
    assert [span.name for span in telemetry.children(telemetry.span("GET /"))] == ["first", "second"]


@pytest.mark.telemetry(level="deep", metric_dimensions={"project": "all"})
def test_options_of_one_test(telemetry):
    assert settings.get().level == "deep"
    metrics.histogram("openstack.wsgi.dispatch.duration").record(1)
    assert telemetry.point("openstack.wsgi.dispatch.duration").count == 1
    with tracing_of("GET /", {}):
        dimensions.add(project="p1")
        metrics.histogram("rpc.server.call.duration").record(1, "oslo_messaging", "a/b", "call")
    assert telemetry.point("rpc.server.call.duration").attributes["openstack.project_id"] == "p1"


FAILING = """
from otel_openstack import traced, counter

@traced("shop.build", values={"shop.host": "c1"})
def build():
    with traced("shop.step"):
        counter("shop.images").add(3)

def test_build(telemetry):
    build()
    assert telemetry.spans() == []

def test_passes(telemetry):
    build()
"""


def test_a_failing_test_shows_what_was_recorded(tmp_path):
    (tmp_path / "test_shop.py").write_text(FAILING)
    environment = {**os.environ, "OTEL_OPENSTACK_LEVEL": "deep"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", "-W", "ignore", tmp_path],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "mistakes in the use of otel_openstack" in done.stdout  # no registry file has these names
    (tmp_path / "conftest.py").write_text("from otel_openstack import use_registry\nuse_registry('telemetry.yaml')\n")
    (tmp_path / "telemetry.yaml").write_text(REGISTRY)
    done = subprocess.run(
        done.args, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    shown = done.stdout.partition("Recorded telemetry")[2]
    assert "INTERNAL shop.build {shop.host='c1'}\n" in shown
    assert "  INTERNAL shop.step {}\n" in shown
    assert "shop.images  = 3 {}\n" in shown
    assert done.stdout.count("Recorded telemetry") == 1


REGISTRY = """
groups:
  - {id: span.shop.build, type: span, span_kind: internal, brief: A., stability: development,
     attributes: [{ref: shop.host}]}
  - {id: span.shop.step, type: span, span_kind: internal, brief: A., stability: development,
     annotations: {level: deep}}
  - {id: metric.shop.images, type: metric, metric_name: shop.images, instrument: counter, unit: "{image}", brief: A.,
     stability: development, annotations: {level: basic}}
  - {id: registry.shop, type: attribute_group, brief: A., attributes: [
     {id: shop.host, type: string, brief: A., stability: development}]}
"""


def tracing_of(name, attributes):
    return Finished(tracing.root("tests", name, SpanKind.SERVER, attributes))


class Finished:
    """A root that `with` ends, or `finish`."""

    def __init__(self, operation):
        self.finish = operation.finish

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.finish()
