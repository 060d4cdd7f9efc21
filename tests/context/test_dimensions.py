# SPDX-License-Identifier: Apache-2.0
"""Whom a request is for: told once at its edge, seen below it in threads, green threads, and beyond HTTP and RPC."""

from __future__ import annotations

import contextlib
import http.client
import threading
import uuid
from types import SimpleNamespace
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from opentelemetry import baggage
from opentelemetry.trace import SpanKind

from otel_openstack import dimensions, metrics, settings, tracing
from otel_openstack.instrumentation import wsgi_identity
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.patching import Guard
from otel_openstack.testing import recording
from otel_openstack.tracing import asking
from tests.green import run as run_green
from tests.messaging.bus import Bus

PROJECT, USER, DOMAIN = "openstack.project_id", "openstack.user_id", "openstack.domain_id"
REQUEST, INSTANCE = "openstack.request_id", "openstack.instance_id"
SERVER = "7b2b7d5c-7f4c-4f0e-8d9e-0a3d4a5b6c7d"
MODULES = ("threads", "http_client", "oslo_messaging_client", "oslo_messaging_server")
HTTP, RPC = "http.server.request.duration", "rpc.server.call.duration"


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


class Cloud:
    """An API, which a middleware tells who asks, and an RPC server behind it."""

    def __init__(self, bus):
        self.bus, self.seen = bus, {}
        self.rpc = bus.client("compute")
        bus.serve("compute", self)
        self.server = make_server("127.0.0.1", 0, Edge(self.api), handler_class=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def servers(self, number):
        def found():
            return [span for span in self.telemetry.spans() if span.kind == "SERVER"]

        self.telemetry.wait(lambda: len(found()) == number)
        return found()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def api(self, environ, start_response):
        self.seen["before the middleware"] = dimensions.current()
        # As nova's noauth middleware does it: the context is oslo.context's.
        project = environ["HTTP_X_PROJECT"]
        environ["nova.context"] = SimpleNamespace(
            user_id="u1", project_id=project, domain_id=None, project_domain_id="d1", user_domain_id="d2"
        )
        environ["openstack.request_id"] = "req-1"
        self.seen["api"] = dimensions.current()
        self._in_thread(lambda: self._call(project))
        start_response("202 Accepted", [("Content-Length", "0")])
        return []

    def _in_thread(self, work):
        def task():
            self.seen["thread"] = dimensions.current()
            work()

        thread = threading.Thread(target=task)
        thread.start()
        thread.join(10)

    def _call(self, project):
        context = {"user": "u1", "project_id": project, "project_domain": "d1", "request_id": "req-1"}
        self.rpc.call(context, "build", instance={"nova_object.name": "Instance", "nova_object.data": {"uuid": SERVER}})

    def build(self, ctxt, instance):
        self.seen["rpc"] = dimensions.current()
        self.seen["rpc baggage"] = dict(baggage.get_all())

    def get(self, path, project="p1", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"X-Project": project, **headers})
            assert connection.getresponse().status == 202


@pytest.fixture
def cloud(request):
    chosen = settings.Settings(strict=True, **getattr(request, "param", {}))
    with recording(chosen) as telemetry, telemetry.patched(*MODULES), contextlib.ExitStack() as stack:
        made = Cloud(stack.enter_context(contextlib.closing(Bus("fake:/", f"t{uuid.uuid4().hex[:8]}"))))
        stack.enter_context(contextlib.closing(made))
        made.telemetry = telemetry
        yield made


def test_everything_below_the_edge_sees_it(cloud):
    cloud.get(f"/v2.1/servers/{SERVER}/action")
    known = {PROJECT: "p1", USER: "u1", DOMAIN: "d1", REQUEST: "req-1", INSTANCE: SERVER}
    assert cloud.seen["before the middleware"] == {INSTANCE: SERVER}
    assert cloud.seen["api"] == cloud.seen["thread"] == known
    assert cloud.seen["rpc"] == known  # from the request context and the arguments of the call
    assert cloud.seen["rpc baggage"] == {}
    servers = cloud.servers(2)
    assert [{key: span.attributes.get(key) for key in known} for span in servers] == [known, known]
    # Off is the default: no metric has it.
    for name in (HTTP, RPC):
        assert [PROJECT in point.attributes for point in cloud.telemetry.points(name)] == [False]
    assert dimensions.current() == {}


@pytest.mark.parametrize("cloud", [{"metric_dimensions": {"project": "top:2"}}], indirect=True)
def test_metrics_have_the_projects_that_were_chosen(cloud):
    for project in ("p1", "p2", "p3", "p1"):
        cloud.get("/v2.1/servers", project)
    expected = {"p1": 2, "p2": 1, "_other": 1}
    for name in (HTTP, RPC):
        cloud.telemetry.wait(lambda name=name: sum(p.count for p in cloud.telemetry.points(name)) == 4)
        assert {p.attributes[PROJECT]: p.count for p in cloud.telemetry.points(name)} == expected
    for point in cloud.telemetry.points("http.client.request.duration"):
        assert PROJECT not in point.attributes  # the registry does not allow it there


@pytest.mark.parametrize("cloud", [{"baggage_dimensions": ("instance", "project")}], indirect=True)
def test_what_was_asked_for_travels_as_baggage_and_nothing_else(cloud):
    outside = tracing.root("test", "POST /", SpanKind.SERVER)
    assert dimensions.add(instance="other-id", project="p0", user="secret")
    cloud.get("/v2.1/images")
    outside.finish()
    assert cloud.seen["before the middleware"] == {INSTANCE: "other-id", PROJECT: "p0"}
    assert cloud.seen["api"][PROJECT] == "p1"  # what the edge itself knows counts
    assert cloud.seen["rpc baggage"] == {INSTANCE: "other-id", PROJECT: "p1"}
    assert cloud.seen["rpc"][INSTANCE] == SERVER


def test_green_threads_see_their_own_request():
    out = run_green("""
import eventlet.tpool
from otel_openstack import dimensions
seen = {}
def request(name):
    operation = root()
    dimensions.add(project=name)
    eventlet.sleep(0)
    pool = eventlet.GreenPool()
    pool.spawn(lambda: (eventlet.sleep(0), seen.setdefault(name, []).append(dimensions.current())))
    pool.waitall()
    seen[name].append(eventlet.tpool.execute(lambda: dimensions.current()))
    operation.finish()
threads = [eventlet.spawn(request, name) for name in ("p1", "p2", "p3")]
[thread.wait() for thread in threads]
out.update(seen)
out["after"] = dimensions.current()
""")
    assert out == {**{name: [{PROJECT: name}] * 2 for name in ("p1", "p2", "p3")}, "after": {}}


def test_a_request_that_is_over_holds_no_environ(cloud):
    """A task that outlives its request keeps what is known, not the request's headers."""
    kept = []
    cloud._call = lambda _: kept.append(tracing.totals())
    cloud.get("/v2.1/servers")
    cloud.telemetry.wait(lambda: isinstance(kept[0].parent.asked, dict))
    assert kept[0].parent.asked == {PROJECT: "p1", USER: "u1", DOMAIN: "d1", REQUEST: "req-1"}


class Hostile:
    """A request context whose attributes are calls that fail."""

    @property
    def user_id(self):
        raise OSError("not now")


def test_what_a_middleware_left_cannot_hurt_who_counts(monkeypatch):
    monkeypatch.setattr(asking, "_watch", Guard("tests"))
    chosen = settings.Settings(metric_dimensions={"project": "all"})
    with recording(chosen) as telemetry:
        operation = tracing.root("test", "GET /", SpanKind.SERVER)
        operation.totals.asked = wsgi_identity.of, {"x.context": Hostile()}
        assert dimensions.add(instance=SERVER)
        for _ in range(10):
            metrics.histogram(RPC).record(1, "oslo_messaging", "a/b", "call")
        assert dimensions.current() == {INSTANCE: SERVER}
        operation.finish()
        assert telemetry.point(RPC).count == 10
