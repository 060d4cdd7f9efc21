# SPDX-License-Identifier: Apache-2.0
"""Workloads: requests in, through every place of the edge and every router; requests out, through every client."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import wsgiref.handlers
import wsgiref.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.faults.bench import Bench
from tests.faults.work import Boom, fails

Runs = Iterator[Callable[[], None]]


def environ(method: str = "GET", path: str = "/servers", body: bytes = b"", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body), **more}
    if body:
        found["CONTENT_LENGTH"] = str(len(body))
    found.setdefault("SCRIPT_NAME", "")
    wsgiref.util.setup_testing_defaults(found)
    return found


def serve(bench: Bench, what: str, application: Any, given: dict[str, Any], stop_after: int = 0) -> None:
    """Serve one request as PEP 3333 says a server does, and tell all that it saw."""
    sent = io.BytesIO()

    def start_response(status: str, headers: Any, *exc: Any) -> Callable[[bytes], Any]:
        bench.did((what, status))
        return sent.write

    def served() -> bytes:
        parts = application(given, start_response)
        try:
            for number, part in enumerate(parts, 1):
                sent.write(part)
                if number == stop_after:
                    break
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return sent.getvalue()

    bench.call(what, served)
    bench.did((what, sorted(key for key in given if key.startswith("otel_openstack"))))


class Body:
    """A body that is produced while it is sent, and closed."""

    def __init__(self, bench: Bench, error: bool = False) -> None:
        self._bench, self._error, self._left = bench, error, 2

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._left:
            raise StopIteration
        if self._error and self._left == 1:
            fails()
        self._left -= 1
        return b"part"

    def close(self) -> None:
        self._bench.did("closed")


def edge(bench: Bench) -> Runs:
    """The edge itself, with every kind of body."""
    from otel_openstack.instrumentation.wsgi import at_edge

    def application(given: Any, start_response: Any) -> Any:
        path = given["PATH_INFO"]
        bench.did(("application", path))
        if path == "/raises":
            fails()
        given["openstack.request_id"] = "req-1"
        write = start_response("500 Oh" if path == "/fails" else "200 OK", [("Content-Length", "8")])
        if path == "/input":
            source = given["wsgi.input"]
            return [source.read(2), source.readline(), *source.readlines(), source.read()]
        if path == "/write":
            write(b"written")
            return []
        if path == "/file":
            return given["wsgi.file_wrapper"](io.BytesIO(b"content"))
        if path == "/function":
            return given["wsgi.file_wrapper"](io.BytesIO(b"content"))
        return Body(bench, path == "/breaks") if path in ("/stream", "/breaks", "/aborted") else [b"fine"]

    edged = at_edge(application)

    def run() -> None:
        for path in ("/", "/servers", "/fails", "/raises", "/stream", "/breaks", "/write", "/file"):
            serve(bench, path, edged, environ(path=path))
        serve(bench, "/function", edged, environ(path="/function", **{"wsgi.file_wrapper": _file_wrapper}))
        serve(bench, "/aborted", edged, environ(path="/aborted"), stop_after=1)
        serve(bench, "/input", edged, environ("POST", "/input", b"a\nbc\nd", HTTP_X_REQUEST_START="t=1"))
        known = {"keystone.token_auth": 1, "HTTP_X_IDENTITY_STATUS": "Confirmed", "HTTP_X_USER_ID": "u1"}
        serve(bench, "known", edged, environ("BREW", **known))
        serve(bench, "keystone", edged, environ(KEYSTONE_AUTH_CONTEXT={"user_id": "u"}))
        serve(bench, "context", edged, environ(**{"nova.context": SimpleNamespace(user_id="u")}))

    yield run


def _file_wrapper(file: Any, size: int = 8192) -> Any:
    return wsgiref.util.FileWrapper(file, size)


def answers(bench: Bench) -> Any:
    def application(given: Any, start_response: Any) -> Any:
        bench.did(("application", given["PATH_INFO"]))
        if given["PATH_INFO"] == "/raises":
            fails()
        start_response("200 OK", [])
        return [b"fine"]

    return application


def loaders(bench: Bench) -> Runs:
    """What loads applications, and the servers that are given them."""
    import gunicorn.app.base
    import werkzeug.serving
    from cheroot import wsgi as cheroot
    from paste import deploy
    from paste.deploy import loadwsgi

    module = sys.modules["tests_faults_paste"] = ModuleType("tests_faults_paste")
    ini = Path(tempfile.mkdtemp()) / "api-paste.ini"
    ini.write_text("[app:main]\npaste.app_factory = tests_faults_paste:make\n")
    module.make = lambda _settings, **_local: answers(bench)  # type: ignore[attr-defined]

    class Gunicorn(gunicorn.app.base.BaseApplication):
        def load_config(self) -> None: ...

        def load(self) -> Any:
            return answers(bench)

    def by_wsgiref(path: str) -> bytes:
        sent = io.BytesIO()
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            handler = wsgiref.handlers.SimpleHandler(io.BytesIO(), sent, errors, environ(path=path))
            handler.run(answers(bench))
        return sent.getvalue().partition(b"\r\n")[0] + sent.getvalue()[-4:]

    def run() -> None:
        for load in (deploy.loadapp, loadwsgi.loadapp):
            application = load(f"config:{ini}")
            serve(bench, "paste", application, environ())
            serve(bench, "paste", application, environ(path="/raises"))
        serve(bench, "gunicorn", Gunicorn().wsgi(), environ())
        serve(bench, "cheroot", cheroot.Server(("127.0.0.1", 0), answers(bench)).wsgi_app, environ())
        server = werkzeug.serving.BaseWSGIServer("127.0.0.1", 0, answers(bench))
        serve(bench, "werkzeug", server.app, environ())
        server.server_close()
        for path in ("/", "/raises"):
            bench.call("wsgiref", by_wsgiref, path)

    yield run


def services_of(directory: Path) -> Callable[[Bench], Runs]:
    """Modules that hold an `application`, imported by name: by the finder and the post-import hooks."""

    def modules(bench: Bench) -> Runs:
        package = directory / "faultservice"
        (package / "wsgi").mkdir(parents=True, exist_ok=True)
        for each in (package, package / "wsgi"):
            (each / "__init__.py").write_text("")
        (package / "wsgi" / "api.py").write_text(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'fine']\n"
        )
        sys.path.insert(0, str(directory))

        def run() -> None:
            import importlib

            for name in [name for name in sys.modules if name.startswith("faultservice")]:
                del sys.modules[name]
            module = importlib.import_module("faultservice.wsgi.api")
            bench.did((module.__name__, type(module.__loader__).__name__))
            serve(bench, "module", module.application, environ())

        yield run
        sys.path.remove(str(directory))

    return modules


def scripts(bench: Bench) -> Runs:
    """A script that a server in C executes, and in whose namespace it looks for the application."""
    source = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'fine']\n"
    code = compile(source, "script.wsgi", "exec")
    loader = sys.modules["_frozen_importlib_external"]

    def run() -> None:
        for name in ("uwsgi_file_script", "another"):
            namespace: dict[str, Any] = {"__name__": name}
            loader._fix_up_module(namespace, name, "script.wsgi")  # type: ignore[attr-defined]
            exec(code, namespace)
            serve(bench, name, namespace["application"], environ())
            bench.did(("names", sorted({*map(str, namespace)} - {"__builtins__"})))

    yield run


def routers(bench: Bench) -> Runs:  # noqa: C901 (each framework defines its own)
    """Frameworks, each with a request that it routes, one that it does not, and a failing one."""
    import falcon
    import flask
    import pecan
    import pecan.rest
    import routes
    from routes import middleware

    made = flask.Flask("flaskdemo")

    @made.route("/servers/<int:number>")
    def shown(number: int) -> str:
        bench.did(("flask", number))
        return f"{number}"

    @made.route("/raises")
    def raises() -> str:
        raise Boom("service")

    made.config["PROPAGATE_EXCEPTIONS"] = True

    class Servers(pecan.rest.RestController):
        @pecan.expose("json")
        def get(self, number: str) -> dict[str, str]:
            bench.did(("pecan", number))
            return {"number": number}

    class Nested(pecan.rest.RestController):
        @pecan.expose()
        def _lookup(self, name: str, *rest: str) -> Any:
            return Servers(), rest

    class Tenant:
        servers = Servers()
        nested = Nested()

    class Root:
        @pecan.expose()
        def _lookup(self, tenant: str, *rest: str) -> Any:
            return Tenant(), rest

    class Resource:
        def on_get(self, request: Any, response: Any, number: str) -> None:
            bench.did(("falcon", number))

    pecans = pecan.make_app(Root(), debug=False, force_canonical=False)
    falcons = falcon.App()
    falcons.add_route("/servers/{number}", Resource())
    mapper = routes.Mapper()
    mapper.connect("/servers/{number:[0-9]+}", controller="servers", action="show")

    def routed(given: Any, start_response: Any) -> Any:
        bench.did(("routes", given["wsgiorg.routing_args"][1].get("number")))
        start_response("200 OK", [])
        return [b"routed"]

    from otel_openstack.instrumentation.wsgi import at_edge

    by_routes = at_edge(middleware.RoutesMiddleware(routed, mapper, use_method_override=False, singleton=False))

    def run() -> None:
        for what, application, paths in (
            ("flask", made, ("/servers/5", "/none", "/raises")),
            ("pecan", pecans, ("/tenant/servers/7", "/tenant/nested/x/8", "/")),
            ("falcon", falcons, ("/servers/9", "/none")),
            ("routes", by_routes, ("/servers/3", "/none")),
        ):
            for path in paths:
                serve(bench, what, application, environ(path=path))

    yield run


def middleware_of_oslo(bench: Bench) -> Runs:
    """oslo.middleware's own tracing."""
    from oslo_config import cfg
    from oslo_middleware import tracing

    conf = cfg.ConfigOpts()
    tracing._register_opts(conf)
    conf.set_override("enabled", True, group="oslo_middleware_tracing")
    conf.set_override("service_name", "demo", group="oslo_middleware_tracing")
    conf([])

    def run() -> None:
        bench.call("init", lambda: tracing.init_tracing(conf) and None)
        filtered = tracing.TracingMiddleware(answers(bench), conf)
        serve(bench, "filter", filtered, environ())

    yield run


class Peer:
    """An HTTP server of one thread, without any library: what a client asks for it gets, or the line is cut."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.headers: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True, name="http peer").start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, contextlib.suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: Any) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = connection.recv(65536)
            if not more:
                return
            asked += more
        if b"Content-Length: 4" in asked and not asked.endswith(b"body"):
            connection.recv(4)  # what is not read would reset the connection
        self.headers.append(asked)
        path = asked.split(b" ", 2)[1]
        if path.endswith(b"/cut"):
            return
        status = b"503 Busy" if path.endswith(b"/busy") else b"200 OK"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine")

    def close(self) -> None:
        self.listener.close()


def clients(bench: Bench) -> Runs:  # noqa: C901 (each client is a function)
    """urllib3 under requests, http.client under urllib.request, and by itself."""
    import requests
    import urllib3

    peer = Peer()
    pool = urllib3.HTTPConnectionPool("127.0.0.1", peer.port, retries=False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    modules = [http.client]
    if "eventlet" in sys.modules:
        from eventlet.green.http import client as green

        modules.append(green)

    def by_requests(path: str) -> int:
        return requests.get(f"http://127.0.0.1:{peer.port}{path}", timeout=5).status_code

    def by_urllib(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{peer.port}{path}", timeout=5) as response:
            return bytes(response.read())

    def by_hand(module: Any, path: str) -> int:
        connection = module.HTTPConnection("127.0.0.1", peer.port, timeout=5)
        try:
            connection.putrequest("POST", path)
            connection.putheader("Content-Length", "4")
            connection.endheaders(b"body")
            return int(connection.getresponse().status)
        finally:
            connection.close()

    def given_up(module: Any) -> str:
        connection = module.HTTPConnection("127.0.0.1", peer.port, timeout=5)
        connection.putrequest("GET", "/")
        connection.close()
        return str(connection._HTTPConnection__state)

    def refused(module: Any) -> None:
        module.HTTPConnection("127.0.0.1", nobody, timeout=5).request("GET", "/")

    def run() -> None:
        with bench.request():
            for path in ("/ok", "/busy", "/cut"):
                bench.call(f"urllib3 {path}", lambda path=path: pool.request("GET", path, headers={"A": "b"}).status)
                bench.call(f"urllib {path}", by_urllib, path)
            bench.call("requests", by_requests, "/v2/servers/5")
            for module in modules:
                for path in ("/ok", "/cut"):
                    bench.call(f"http.client {path}", by_hand, module, path)
                bench.call("given up", given_up, module)
                bench.call("refused", refused, module)
        bench.call("alone", lambda: pool.request("GET", "/ok").status)
        asked = list(peer.headers)
        peer.headers.clear()
        bench.did(("asked", [headers.split(b"\r\n")[0] for headers in asked]))

    yield run
    peer.close()
    pool.close()
