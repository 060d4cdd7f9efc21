# SPDX-License-Identifier: Apache-2.0
"""Workloads: who calls and who is called in a cloud; servers, loaders and drivers beside the usual ones."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from tests.faults.bench import Bench
from tests.faults.web import answers, environ, serve
from tests.faults.work import fails
from tests.trust.keystone import running

Runs = Iterator[Callable[[], None]]

STRANGER = {
    "HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "REMOTE_ADDR": "203.0.113.9",
}


def identity(bench: Bench) -> Runs:
    """keystonemiddleware before an application, and keystoneauth1 towards others, with a stub of keystone."""
    from keystoneauth1 import adapter, session
    from keystoneauth1.identity import v3
    from keystonemiddleware import auth_token
    from oslo_config import cfg

    from otel_openstack.instrumentation import cloud_endpoints, service_tokens
    from otel_openstack.instrumentation.wsgi import at_edge

    with running() as keystone:
        keystone.tokens.update({"a-service": ("service",), "a-user": ("member",)})
        keystone.offer("compute", f"{keystone.url}/compute")
        credentials = {
            "auth_url": keystone.url,
            "username": "service",
            "password": "x",
            "project_name": "service",
            "user_domain_id": "default",
            "project_domain_id": "default",
        }
        conf = {
            "oslo_config_config": cfg.ConfigOpts(),
            "auth_type": "password",
            "www_authenticate_uri": keystone.url,
            **credentials,
        }
        middleware = auth_token.AuthProtocol(answers(bench), conf)
        edged = at_edge(middleware)

        def out() -> list[int]:
            chosen = session.Session(auth=v3.Password(**credentials))
            wanted: dict[str, Any] = {"service_type": "compute", "interface": "internal"}
            configured = {**wanted, "endpoint_override": f"{keystone.url}/compute"}
            try:
                return [
                    int(adapter.Adapter(chosen, **each).get("/servers").status_code) for each in (wanted, configured)
                ]
            finally:
                chosen.session.close()

        def run() -> None:
            service_tokens._until.clear()
            cloud_endpoints.restart()
            user = {"HTTP_X_AUTH_TOKEN": "a-user"}
            for token in (user, {**user, "HTTP_X_SERVICE_TOKEN": "a-service"}, {"HTTP_X_AUTH_TOKEN": "nobody"}):
                serve(bench, f"asked with {sorted(token)}", edged, environ(**STRANGER, **token))
            with bench.request():
                bench.call("called", out)

        yield run
        middleware._session.session.close()


def profiler(bench: Bench) -> Runs:
    """osprofiler's driver, at the place where it keeps the API that it is going to use."""
    from opentelemetry import trace
    from osprofiler.drivers import otlp

    class Provider:
        sampler = None

        def get_tracer(self, name: str) -> Any:
            return SimpleNamespace(start_span=lambda name, context: (name, type(context).__name__))

    class Driver(otlp.OTLP):
        def __init__(self) -> None:
            self.trace_api = trace
            self.another = 5

    def run() -> None:
        driver = Driver()
        bench.did((driver.another, driver.trace_api.SpanKind is trace.SpanKind))
        if driver.trace_api is not trace:
            provider = Provider()
            driver.trace_api.set_tracer_provider(provider)
            assert driver.trace_api.get_tracer_provider() is provider
            assert driver.trace_api.get_tracer("osprofiler").start_span("name") == ("name", "Context")

    yield run


def configuration(bench: Bench) -> Runs:
    """oslo.config reads its files at the start and again, and finds the level that is in force."""
    import tempfile
    from pathlib import Path

    from oslo_config import cfg

    from otel_openstack import settings

    file = Path(tempfile.mkdtemp()) / "demo.conf"
    file.write_text(f"[otel_openstack]\nlevel = {settings.get().level}\n")

    def run() -> None:
        conf = cfg.ConfigOpts()
        bench.call("read", lambda: conf(["--config-file", str(file)]) and None)
        bench.call("reload", conf.reload_config_files)
        bench.call("mutate", lambda: sorted(conf.mutate_config_files()))
        bench.call("unreadable", lambda: cfg.ConfigOpts()(["--config-file", "/nowhere/at/all"]) and None)

    yield run


def abandoned(bench: Bench) -> Runs:
    """A reply to a client of RPC that is gone."""
    import logging

    from oslo_messaging._drivers import amqpdriver

    logging.getLogger("oslo_messaging").setLevel(logging.CRITICAL)

    def run() -> None:
        cache = amqpdriver.ObsoleteReplyQueuesCache()
        bench.call("gone", cache.add, "reply_1", "id")
        bench.call("known", cache.reply_q_valid, "reply_1", "id")
        bench.call("there", cache.reply_q_valid, "reply_2", "id")

    yield run


def other_servers(bench: Bench) -> Runs:
    """waitress; Django; and the loaders of services that are not installed here, by stand-ins."""
    import django
    import waitress.server
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def shown(request: Any, number: int) -> Any:
        bench.did(("django", number))
        return fails() if number == 9 else HttpResponse(b"fine")

    urls = sys.modules["tests_faults_urls"] = types.ModuleType("tests_faults_urls")
    urls.urlpatterns = [path("servers/<int:number>", shown)]  # type: ignore[attr-defined]
    if not settings.configured:
        settings.configure(ROOT_URLCONF=urls.__name__, DEBUG_PROPAGATE_EXCEPTIONS=True, ALLOWED_HOSTS=["*"],
                           USE_TZ=True, LOGGING_CONFIG=None)  # fmt: skip
        django.setup()
    by_django = get_wsgi_application()
    dispatcher = SimpleNamespace(set_thread_count=lambda count: None)

    def by_waitress(application: Any) -> Any:
        server = waitress.server.create_server(
            application, {}, _start=False, _dispatcher=dispatcher, listen="127.0.0.1:0"
        )
        try:
            return server.application
        finally:
            server.close()

    loaders = [
        sys.modules["placement.deploy"].loadapp,
        sys.modules["keystone.server.wsgi"].initialize_public_application,
        sys.modules["ironic.api.app"].setup_app,
        sys.modules["swift.common.wsgi"].loadapp,
    ]

    def run() -> None:
        for asked in ("/servers/5", "/servers/9", "/none"):
            serve(bench, "django", by_django, environ(path=asked))
        serve(bench, "waitress", by_waitress(answers(bench)), environ())
        for load in loaders:
            application = load(answers(bench))
            serve(bench, "loaded", application, environ())
            serve(bench, "loaded", application, environ(path="/raises"))
        proxy = sys.modules["swift.proxy.server"].Application()
        for asked in ("/v1/a/c", "/info", "/raises"):
            serve(bench, "swift", proxy, environ(path=asked))

    yield run
    urls.urlpatterns = []  # type: ignore[attr-defined]


def stand_ins() -> None:
    """Put modules of services that cannot run here into their places, before the patches look for them."""

    def load(application: Any) -> Any:
        return application

    class Application:
        """The proxy, as far as routes go."""

        def get_controller(self, request: Any) -> Any:
            if request.path == "/raises":
                fails()
            return object(), {"account_name": "a"} if request.path.startswith("/v1") else {}

        def __call__(self, given: Any, start_response: Any) -> Any:
            from otel_openstack.instrumentation.wsgi import at_edge

            def answer(given: Any, start_response: Any) -> Any:
                self.get_controller(SimpleNamespace(path=given["PATH_INFO"], environ=given))
                start_response("200 OK", [])
                return [b"fine"]

            return at_edge(answer)(given, start_response)

    found: dict[str, dict[str, Any]] = {
        "placement": {},
        "placement.deploy": {"loadapp": load},
        "keystone": {},
        "keystone.server": {},
        "keystone.server.wsgi": {"initialize_public_application": load},
        "ironic": {},
        "ironic.api": {},
        "ironic.api.app": {"setup_app": load},
        "swift": {},
        "swift.common": {},
        "swift.common.wsgi": {"loadapp": load},
        "swift.proxy": {},
        "swift.proxy.server": {"Application": Application},
    }
    for name, content in found.items():
        module = sys.modules[name] = types.ModuleType(name)
        vars(module).update(content)


ALL = (identity, configuration, profiler, abandoned, other_servers)
