# SPDX-License-Identifier: Apache-2.0
"""The two applications that are measured whole. Made after a variant has set itself up, as a service is.

`plain`: WSGI, 10 queries with SQLAlchemy Core on SQLite, 2 RPC calls over oslo.messaging's fake driver, both sides in
this process. `nova`: the stack of an API of OpenStack: Routes and WebOb, 10 queries of the ORM through oslo.db, one RPC
call, one HTTP request with requests.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

QUERIES = 10
CALLS = {"plain": 2, "nova": 1}
REQUESTS = {"plain": 0, "nova": 1}

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def _wake_the_fake_driver() -> None:
    """Let the fake driver wait for a message instead of looking for one every 50 ms; the same for all variants."""
    from oslo_messaging._drivers import impl_fake

    bell = threading.Event()

    def sleep(seconds: float) -> None:
        bell.wait(seconds)
        bell.clear()

    deliver = impl_fake.FakeExchange.deliver_message

    def deliver_message(*args: Any, **kwargs: Any) -> Any:
        result = deliver(*args, **kwargs)
        bell.set()
        return result

    impl_fake.time = SimpleNamespace(time=time.time, sleep=sleep)
    impl_fake.FakeExchange.deliver_message = deliver_message


class Compute:
    """The other side of the RPC calls."""

    def get_state(self, context: Any, server: str) -> dict[str, str]:
        return {"id": server, "state": "ACTIVE"}


def _client() -> Any:
    import oslo_messaging
    from oslo_config import cfg

    _wake_the_fake_driver()
    transport = oslo_messaging.get_rpc_transport(cfg.CONF, "fake:/")
    target = oslo_messaging.Target(topic="compute", server="host1")
    server = oslo_messaging.get_rpc_server(transport, target, [Compute()], executor="threading")
    server.start(override_pool_size=2)
    return oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="compute"), timeout=30)


CONTEXT = {"request_id": "req-6f1b0c9e-8d3c-4b55-8f0a-0d1f6f5b9c11", "project_id": "0f6c5b", "user_id": "8f1a2b"}


def plain(hook: Callable[[Any], None]) -> Application:
    import sqlalchemy as sa
    from sqlalchemy.pool import StaticPool

    engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    hook(engine)
    table = sa.Table(
        "instances", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String)
    )
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"id": number, "name": f"vm{number}"} for number in range(QUERIES)])
    client = _client()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        names = []
        with engine.connect() as connection:
            for number in range(QUERIES):
                names += connection.execute(sa.select(table.c.name).where(table.c.id == number)).scalars()
        states = [client.call(dict(CONTEXT), "get_state", server=name) for name in names[: CALLS["plain"]]]
        body = json.dumps({"names": names, "states": states}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return application


def nova(hook: Callable[[Any], None]) -> Application:
    import os

    import requests
    import routes
    import sqlalchemy as sa
    import webob.dec
    from oslo_db.sqlalchemy import enginefacade
    from routes import middleware
    from sqlalchemy import orm

    base = orm.declarative_base()
    Instance = type(  # noqa: N806 a class
        "Instance",
        (base,),
        {
            "__tablename__": "instances",
            "id": sa.Column(sa.Integer, primary_key=True),
            "name": sa.Column(sa.String(64)),
        },
    )
    facade = enginefacade.transaction_context()
    facade.configure(connection="sqlite:///file:bench?mode=memory&cache=shared&uri=true", sqlite_fk=False)
    reader = facade.reader

    @enginefacade.transaction_context_provider
    class Context:
        """A request's context."""

    engine = facade.writer.get_engine()
    hook(engine)
    base.metadata.create_all(engine)
    with facade.writer.using(Context()) as session:
        session.add_all(Instance(id=number, name=f"vm{number}") for number in range(QUERIES))
    client, web, url = _client(), requests.Session(), os.environ["BENCH_HTTP"]

    class Controller:
        def show(self, request: Any) -> Any:
            names = []
            with reader.using(Context()) as session:
                for number in range(QUERIES):
                    names += session.execute(sa.select(Instance.name).where(Instance.id == number)).scalars()
            state = client.call(dict(CONTEXT), "get_state", server=names[0])
            port = web.get(url, headers={"X-Auth-Token": "gAAAAAB"}).json()
            return webob.Response(json_body={"server": {"id": names[0], **state, "port": port}})

    controllers = {"servers": Controller()}
    mapper = routes.Mapper()
    mapper.connect("/v2.1/servers/{id}", controller="servers", action="show", conditions={"method": ["GET"]})

    @webob.dec.wsgify
    def dispatch(request: Any) -> Any:
        match = request.environ["wsgiorg.routing_args"][1]
        return getattr(controllers[match["controller"]], match["action"])(request)

    application: Application = middleware.RoutesMiddleware(dispatch, mapper, singleton=False)
    return application


APPLICATIONS = {"plain": plain, "nova": nova}


def environ(headers: dict[str, str]) -> dict[str, Any]:
    """Return what a server would hand over for one GET."""
    from io import BytesIO

    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/v2.1/servers/4711",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8774",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "127.0.0.1:8774",
        "HTTP_USER_AGENT": "python-novaclient",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": None,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }


def _start_response(status: str, headers: Any, exc_info: Any = None) -> None:
    if not status.startswith("200"):
        raise SystemExit(f"the application answered {status}")


def serve(application: Application, environ: dict[str, Any]) -> None:
    """Do for one request what a server does."""
    body = application(environ, _start_response)
    for _part in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


def run(application: Application, headers: dict[str, str], times: int) -> None:
    """Serve `times` requests."""
    for _ in range(times):
        serve(application, environ(headers))


def quiet() -> None:
    """Let libraries' warnings about each other not be written a hundred times."""
    warnings.simplefilter("ignore")
