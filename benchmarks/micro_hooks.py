# SPDX-License-Identifier: Apache-2.0
"""Our hooks round calls that do nothing: what a request, a statement and a message cost beside the library's own work.

The real libraries are in `request_app.py`; here only our part is counted, so an update of a library changes nothing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import request_app
from micro import Cases, Made
from micro_spans import PLENTY, _outside


def _provider(*, sampled: bool) -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import sampling

    from otel_openstack.tracing import TracerProvider

    # As services have it by default: what has a parent follows it.
    provider = TracerProvider(sampling.ParentBased(sampling.ALWAYS_ON if sampled else sampling.ALWAYS_OFF))
    provider.queue.most_bytes = PLENTY
    provider.queue.clear()
    trace._TRACER_PROVIDER = provider  # the API takes a global provider only once
    return provider


def _finds(provider: Any) -> Any:
    spans = [0]

    def found() -> int:
        spans[0] += len(provider.queue.take(PLENTY))
        return spans[0]

    return found


def _application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]


REQUEST = "serve(app, environ(headers))"
HEADERS = {"HTTP_X_OPENSTACK_REQUEST_ID": "req-6f1b0c9e-8d3c-4b55-8f0a-0d1f6f5b9c11", "HTTP_X_AUTH_TOKEN": "gAAAAAB"}


def _requests(application: Any, found: Any, collect: Any) -> Made:
    uses = {"app": application, "serve": request_app.serve, "environ": request_app.environ, "headers": HEADERS}
    return Made(REQUEST, uses, found, collect=collect)


def request(*, sampled: bool) -> Made:
    from otel_openstack.instrumentation.wsgi import at_edge

    _outside()
    provider = _provider(sampled=sampled)
    found = _finds(provider)
    return _requests(at_edge(_application), found if sampled else None, found)


def bare_request() -> Made:
    return _requests(_application, None, int)


def _engine() -> Any:
    from otel_openstack.instrumentation.db_engines import Database

    return Database("mysql", "nova", "127.0.0.1", 3306, "nova@127.0.0.1")


def _execute(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    pass


STATEMENT = "f(None, 'SELECT 1', (), context)"


def statement(level: str) -> Made:
    from otel_openstack.instrumentation import db_statements

    _outside()
    provider = _provider(sampled=True)
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing

    tracing.root("bench", "outer", SpanKind.SERVER, {})  # current from now on
    statements = db_statements._Statements(_engine())
    measured = statements.counted if level == "basic" else statements.traced
    context = SimpleNamespace(compiled=SimpleNamespace(statement=None, isinsert=True))
    found = _finds(provider)
    return Made(
        STATEMENT,
        {"f": measured(_execute, many=False), "context": context},
        found if level == "detailed" else None,
        collect=found,
    )


QUERY = "connection.execute(select(name).where(id == 3)).scalars().all()"


def query(*, measured: bool) -> Made:
    """Return a small query with SQLAlchemy Core on SQLite: the whole of it, not only our part."""
    import sqlalchemy as sa
    from sqlalchemy.pool import StaticPool

    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    table = sa.Table("i", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))
    table.metadata.create_all(engine)
    connection = engine.connect()
    connection.execute(table.insert(), [{"id": number, "name": f"vm{number}"} for number in range(10)])
    if measured:
        from opentelemetry.trace import SpanKind

        from otel_openstack import tracing
        from otel_openstack.instrumentation import db_engines, db_statements

        _outside()
        _provider(sampled=True)
        tracing.root("bench", "outer", SpanKind.SERVER, {})  # current from now on
        db_statements._measure(engine, db_engines.describe(engine))
    uses = {"connection": connection, "select": sa.select, "name": table.c.name, "id": table.c.id}
    return Made(QUERY, uses)


def bare_statement() -> Made:
    return Made(STATEMENT, {"f": _execute, "context": None})


class _Driver:
    """A broker's driver with a name."""


class _Transport:
    _driver = _Driver()

    def _send(self, target: Any, ctxt: Any, message: Any, wait_for_reply: Any = None) -> None:
        pass


MESSAGE = {"method": "build_and_run_instance", "args": {}, "namespace": None, "version": "5.0"}
SEND = "f(transport, target, context, message, True)"
CONTEXT = {
    "request_id": "req-6f1b0c9e-8d3c-4b55-8f0a-0d1f6f5b9c11",
    "project_id": "0f6c5b",
    "user_id": "8f1a2b",
    "auth_token": "gAAAAAB",
}


def _sent(send: Any, found: Any, collect: Any) -> Made:
    target = SimpleNamespace(topic="compute", server="host1", fanout=False, exchange="nova", namespace=None)
    uses = {"f": send, "transport": _Transport(), "target": target, "context": CONTEXT, "message": MESSAGE}
    return Made(SEND, uses, found, collect=collect)


def bare_send() -> Made:
    return _sent(_Transport._send, None, int)


def send(*, sampled: bool) -> Made:
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing
    from otel_openstack.instrumentation import oslo_messaging_client as client

    _outside()
    provider = _provider(sampled=sampled)
    found = _finds(provider)
    tracing.root("bench", "outer", SpanKind.SERVER, {})  # current from now on
    measured = client.sender("bench.send", client._begin, client._finish)(_Transport._send)
    return _sent(measured, found if sampled else None, found)


class _Incoming:
    """A message off the wire."""

    def __init__(self, ctxt: dict[str, Any]) -> None:
        self.ctxt = ctxt
        self.message = MESSAGE
        self.reply_q = "reply_1"
        self.orig_msg_id = "4711"
        self.listener = SimpleNamespace(driver=_Transport._driver)


class _Endpoint:
    """What is called."""

    def build_and_run_instance(self) -> None:
        pass


class _Server:
    """The steps of a call that are hooked, as oslo.messaging's server, dispatcher and driver make them."""

    _target = SimpleNamespace(topic="compute")
    transport = _Transport()

    def __init__(self) -> None:
        self.dispatcher = SimpleNamespace(endpoints=[_Endpoint()])

    def arrive(self, incoming: list[_Incoming]) -> None:
        self.process(incoming)

    def process(self, incoming: list[_Incoming]) -> None:
        self.dispatch(incoming[0])
        self.reply(incoming[0])

    @staticmethod
    def dispatch(message: _Incoming) -> None:
        pass

    @staticmethod
    def reply(message: _Incoming) -> None:
        pass


SERVE = "f([make({**context})]); got(waiters, '4711', None)"
PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-%s"}


def _taken(dispatcher: Any, message: _Incoming) -> None:
    pass


def _got(waiters: Any, msg_id: Any, data: Any) -> None:
    pass


def _served(server: _Server, got: Any, found: Any, collect: Any, flags: str) -> Made:
    context = {**CONTEXT, "traceparent": PARENT["traceparent"] % flags}
    waiters = SimpleNamespace(_queues={"4711": None})
    uses = {"f": server.arrive, "make": _Incoming, "context": context, "got": got, "waiters": waiters}
    return Made(SERVE, uses, found, collect=collect)


def bare_served() -> Made:
    return _served(_Server(), _got, None, int, "01")


def served(*, sampled: bool) -> Made:
    """Return all hooks of a server round one call, and that of the client round its reply."""
    from otel_openstack.instrumentation import oslo_messaging_server as hooks
    from otel_openstack.patching.guard import guard
    from otel_openstack.patching.patch import hooked, rewritten

    _outside()
    found = _finds(_provider(sampled=True))

    class Hooked(_Server):
        """The same with our hooks."""

        arrive = rewritten(_Server.arrive, hooks.stamp_arrival, guard("bench.arrival"))
        process = hooked(_Server.process, hooks.Process(), guard("bench.process"))
        reply = staticmethod(hooked(_Server.reply, hooks.Reply(), guard("bench.reply")))

        def __init__(self) -> None:
            super().__init__()
            take = hooked(_taken, hooks.Dispatch(), guard("bench.dispatch"))
            self.dispatch = lambda message: take(self.dispatcher, message)  # type: ignore[method-assign]

    got = hooked(_got, hooks.ReplyReceived(), guard("bench.got"))
    return _served(Hooked(), got, found if sampled else None, found, "01" if sampled else "00")


# Of one operation only one variant is ours: spans go to the one global provider.
CASES: Cases = {
    "request, edge": {"nothing": bare_request, "ours": lambda: request(sampled=True)},
    "request, edge, sampled out": {"nothing": bare_request, "ours": lambda: request(sampled=False)},
    "statement": {"nothing": bare_statement, "ours": lambda: statement("basic")},
    "statement, detailed": {"nothing": bare_statement, "ours": lambda: statement("detailed")},
    "query": {"nothing": lambda: query(measured=False), "ours": lambda: query(measured=True)},
    "message, sent": {"nothing": bare_send, "ours": lambda: send(sampled=True)},
    "message, sent, sampled out": {"nothing": bare_send, "ours": lambda: send(sampled=False)},
    "message, served": {"nothing": bare_served, "ours": lambda: served(sampled=True)},
    "message, served, sampled out": {"nothing": bare_served, "ours": lambda: served(sampled=False)},
}
