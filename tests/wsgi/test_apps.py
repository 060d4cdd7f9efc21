# SPDX-License-Identifier: Apache-2.0
"""Where the edge is put: what loaders return, what modules and servers hold; and that all of it can be taken back."""

from __future__ import annotations

import importlib
import sys
import threading
import types
import wsgiref.handlers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import gunicorn.app.base
import pecan
import pytest
import werkzeug.serving
from opentelemetry import propagate, trace
from paste import deploy

from otel_openstack import settings, testing
from otel_openstack.instrumentation import wsgi_apps
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.patching import inventory
from otel_openstack.patching.guard import resume, suspend
from otel_openstack.patching.inventory import State
from otel_openstack.testing import Telemetry
from tests.wsgi.test_exchange import Server, request

SITE = Path(__file__).parent / "site"
INI = """
[composite:main]
use = egg:Paste#urlmap
/v2 = piped
/ = plain

[pipeline:piped]
pipeline = filter plain

[filter:filter]
paste.filter_factory = {module}:make_filter

[app:plain]
paste.app_factory = {module}:make_application
"""


def make_application(settings: dict[str, str], **local: str) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["SCRIPT_NAME"].encode()]

    return application


def make_filter(settings: dict[str, str], **local: str) -> Any:
    return lambda application: application


@pytest.fixture
def patched(telemetry: Telemetry) -> Iterator[Telemetry]:
    with telemetry.patched("wsgi_apps", "routes"):
        yield telemetry


def test_an_application_from_paste(patched: Telemetry, tmp_path: Path) -> None:
    (tmp_path / "api-paste.ini").write_text(INI.format(module=__name__))
    application = deploy.loadapp(f"config:{tmp_path}/api-paste.ini", name="main")
    assert isinstance(application, Edge)
    assert Server(application, request(path="/v2/servers", SCRIPT_NAME="")).output == b"/v2"
    assert patched.span("GET").attributes["url.path"] == "/v2/servers"  # as it came, before urlmap moved its parts


def test_what_is_made_while_switched_off_is_measured_afterwards(patched: Telemetry, tmp_path: Path, demo: str) -> None:
    (tmp_path / "api-paste.ini").write_text(INI.format(module=__name__))
    suspend()
    try:
        made = [
            deploy.loadapp(f"config:{tmp_path}/api-paste.ini", name="main"),
            importlib.import_module(demo).application,
        ]
        made.append(werkzeug.serving.BaseWSGIServer("127.0.0.1", 0, make_application({})))
        made[2].server_close()
        made[2] = made[2].app
        for application in made:
            Server(application, request(path="/v2/servers", SCRIPT_NAME=""))
    finally:
        resume()
    assert patched.spans() == []
    for application in made:
        Server(application, request(path="/v2/servers", SCRIPT_NAME=""))
    assert [span.kind for span in patched.spans()] == ["SERVER"] * 3


@pytest.fixture
def demo() -> Iterator[str]:
    sys.path.insert(0, str(SITE))
    yield "demo.wsgi.api"
    sys.path.remove(str(SITE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "demo"]:
        del sys.modules[name]


def test_the_application_of_a_module_nobody_has_seen(telemetry: Telemetry, demo: str) -> None:
    with telemetry.patched("wsgi_apps"):
        module = importlib.import_module(demo)
        edge = module.application
        assert isinstance(edge, Edge)
        assert Server(edge, request(path="/list")).output == b"abc"
        assert importlib.import_module(demo).application is edge
    assert isinstance(module.application, types.FunctionType)
    assert len(telemetry.spans()) == 1


def test_modules_of_libraries_are_left_alone(patched: Telemetry) -> None:
    from django_like import wsgi  # type: ignore[import-not-found]

    assert wsgi.application is wsgi.Application


@pytest.fixture(autouse=True)
def _library() -> Iterator[None]:
    """A module called wsgi whose `application` is a class."""
    source = "class Application:\n    pass\napplication = Application\n"

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
            found = name in ("django_like", "django_like.wsgi")
            return importlib.util.spec_from_loader(name, self, is_package=name == "django_like") if found else None

        def exec_module(self, module: Any) -> None:
            if module.__name__.endswith("wsgi"):
                exec(source, vars(module))

    finder = Finder()
    sys.meta_path.append(finder)
    yield
    sys.meta_path.remove(finder)
    for name in ("django_like", "django_like.wsgi"):
        sys.modules.pop(name, None)


def test_the_application_classes_of_frameworks(patched: Telemetry) -> None:
    made = flask.Flask("demo")
    made.add_url_rule("/a/<name>", view_func=lambda name: name)
    assert Server(made, request(path="/a/x", SCRIPT_NAME="")).output == b"x"

    class Root:
        @pecan.expose("json")
        def index(self) -> dict[str, str]:
            return {}

    assert Server(pecan.Pecan(Root()), request(path="/", SCRIPT_NAME="")).output == b"{}"
    assert [span.name for span in patched.spans()] == ["GET /a/{name}", "GET /"]


def test_an_edge_outside_a_framework_measures_alone(patched: Telemetry) -> None:
    made = flask.Flask("demo")
    made.add_url_rule("/a/<name>", view_func=lambda name: name)
    Server(Edge(made), request(path="/a/x", SCRIPT_NAME=""))
    assert [span.name for span in patched.spans()] == ["GET /a/{name}"]


def test_everything_is_put_back(telemetry: Telemetry) -> None:
    places = [
        (deploy, "loadapp"),
        (sys.modules["paste.deploy.loadwsgi"], "loadapp"),
        (flask.Flask, "__call__"),
        (gunicorn.app.base.BaseApplication, "wsgi"),
        (werkzeug.serving.BaseWSGIServer, "__init__"),
        (wsgiref.handlers.BaseHandler, "run"),
        (pecan.core.PecanBase, "__call__"),
    ]
    before = [vars(owner)[name] for owner, name in places]
    with telemetry.patched("wsgi_apps"):
        assert all(vars(owner)[name] is not original for (owner, name), original in zip(places, before, strict=True))
    assert [vars(owner)[name] for owner, name in places] == before
    assert wsgi_apps._watch not in sys.meta_path


def test_nothing_is_put_anywhere_where_http_is_off(demo: str) -> None:
    off = settings.Settings(strict=True, levels={"http": "off"})
    with testing.recording(off) as telemetry, telemetry.patched("wsgi_apps"):
        assert not isinstance(importlib.import_module(demo).application, Edge)


def test_the_tracing_filter_of_oslo_middleware_steps_aside(telemetry: Telemetry) -> None:
    from oslo_config import cfg
    from oslo_middleware import tracing

    conf = cfg.ConfigOpts()
    tracing._register_opts(conf)
    conf.set_override("enabled", True, group="oslo_middleware_tracing")
    conf.set_override("service_name", "demo", group="oslo_middleware_tracing")
    conf([])
    provider, propagator = trace.get_tracer_provider(), propagate.get_global_textmap()
    with telemetry.patched("oslo_middleware"):
        tracing.init_tracing(conf)
        filtered = tracing.TracingMiddleware(make_application({}), conf)
        Server(Edge(filtered), request(path="/v2/servers", SCRIPT_NAME=""))
    assert tracing._TRACER_PROVIDER is None
    assert "oslo.middleware's tracing" in inventory.names(State.ASIDE)
    assert not any("OtelBatch" in thread.name for thread in threading.enumerate())
    assert (trace.get_tracer_provider(), propagate.get_global_textmap()) == (provider, propagator)
    assert [span.name for span in telemetry.spans()] == ["GET"]
