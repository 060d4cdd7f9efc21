# SPDX-License-Identifier: Apache-2.0
"""Workloads: databases, caches, messages."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from tests.faults.bench import Bench, until
from tests.faults.work import Boom, fails

Runs = Iterator[Callable[[], None]]


def database(bench: Bench) -> Runs:
    """SQLAlchemy: statements of every kind, pools, errors."""
    import sqlalchemy as sa
    from sqlalchemy.pool import QueuePool

    metadata = sa.MetaData()
    table = sa.Table("instances", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))

    def made() -> Any:
        return sa.create_engine(
            "sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0, pool_pre_ping=True
        )

    engine = made()
    metadata.create_all(engine)

    def statements() -> list[Any]:
        with engine.begin() as connection:
            connection.execute(table.delete())
            connection.execute(table.insert(), {"id": 1, "name": "a"})
            connection.execute(table.insert(), [{"id": 2, "name": "b"}, {"id": 3, "name": "c"}])
            connection.execute(sa.text("UPDATE instances SET name = 'd' WHERE id = 1"))
            connection.exec_driver_sql("SELECT 1", execution_options={"no_parameters": True})
            return [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]

    def doubled() -> None:
        with engine.begin() as connection:
            connection.execute(table.insert(), [{"id": 9, "name": "a"}, {"id": 9, "name": "a"}])

    def exhausted() -> None:
        with engine.connect(), engine.connect():
            pass

    def broken() -> None:
        with engine.connect() as connection:
            connection.connection.dbapi_connection.close()
            connection.exec_driver_sql("SELECT 1")

    def unreachable() -> None:
        sa.create_engine("sqlite:////nowhere/at/all").connect()

    def run() -> None:
        with bench.request():
            bench.call("statements", statements)
            bench.call("doubled", doubled)
            bench.call("exhausted", exhausted)
            bench.call("broken", broken)
            bench.call("unreachable", unreachable)
        fresh = made()
        bench.call("alone", lambda: fresh.connect().execute(sa.select(sa.literal(5))).scalar())
        fresh.dispose()
        engine.dispose()
        metadata.create_all(engine)

    yield run
    engine.dispose()


def database_functions(bench: Bench) -> Runs:
    """oslo.db: its retries and its transactions."""
    from oslo_db import api, exception
    from oslo_db.sqlalchemy import enginefacade

    def decorated() -> tuple[Any, Any, Any]:
        attempts: list[int] = []

        @api.wrap_db_retry(max_retries=2, retry_interval=0, inc_retry_interval=False, retry_on_deadlock=True)
        def retried() -> str:
            attempts.append(1)
            bench.did("attempt")
            if len(attempts) == 1:
                raise exception.DBDeadlock(Boom("service"))
            return "kept"

        @api.wrap_db_retry(max_retries=1, retry_interval=0)
        def broken() -> None:
            bench.did("attempt")
            fails()

        manager = enginefacade.transaction_context()
        manager.configure(connection="sqlite://")

        @manager.reader
        def listed(context: Any, error: bool) -> int:
            bench.did("listed")
            if error:
                fails()
            return len(list(context.session.connection().exec_driver_sql("SELECT 1")))

        return retried, broken, listed

    class Context:
        pass

    enginefacade.transaction_context_provider(Context)

    def run() -> None:
        retried, broken, listed = decorated()
        bench.call("retried", retried)
        bench.call("broken", broken)
        bench.call("listed", listed, Context(), False)
        bench.call("fails", listed, Context(), True)
        bench.did((retried.__name__, listed.__name__))

    yield run


def caches(bench: Bench) -> Runs:
    """Both clients of memcached, at a real one."""
    import memcache
    from pymemcache.client.base import Client

    port = int(os.environ["FAULTS_MEMCACHED"])
    first, second = Client(("127.0.0.1", port)), memcache.Client([f"127.0.0.1:{port}"])
    nowhere = Client(("127.0.0.1", 1), connect_timeout=1)

    def run() -> None:
        with bench.request():
            bench.call("flush", second.flush_all)
            bench.call("set", first.set, "k", "1", noreply=False)
            bench.call("get", first.get, "k")
            bench.call("incr", first.incr, "k", 2)
            bench.call("refused", nowhere.get, "k")
            bench.call("set", second.set, "a", 5)
            bench.call("get", second.get, "a")
            bench.call("incr", second.incr, "a")
            bench.call("touch", second.touch, "a", 9)
            bench.call("set_multi", second.set_multi, {"b": 1, "c": 2})
            bench.call("get_multi", lambda: sorted(second.get_multi(["b", "c"])))
            bench.call("delete_multi", second.delete_multi, ["b"])
            bench.call("delete", second.delete, "c")
        bench.call("alone", first.get, "none")

    yield run
    first.close()
    second.disconnect_all()


def given(context: Any) -> list[str]:
    """The caller's keys. Where the receiving hook fails, the sending one's stay, as in a service without us."""
    return sorted(set(context) - {"traceparent", "tracestate"})


class Endpoint:
    def __init__(self, bench: Bench, messaging: Any) -> None:
        self._bench = bench
        self._messaging = messaging

    def echo(self, context: Any, value: int) -> int:
        self._bench.did(("echo", given(context), value))
        return value * 2

    def raises(self, context: Any) -> None:
        self._bench.did("raises")
        fails()

    def expected(self, context: Any) -> None:
        try:
            fails()
        except Boom:
            raise self._messaging.ExpectedException from None

    def info(self, context: Any, publisher_id: str, event_type: str, payload: Any, metadata: Any) -> Any:
        self._bench.did(("info", event_type, given(context)))
        if event_type == "raises":
            fails()
        return self._messaging.NotificationResult.HANDLED


class Batch:
    def __init__(self, bench: Bench, messaging: Any) -> None:
        self._bench = bench
        self._messaging = messaging

    def info(self, messages: Any) -> Any:
        for message in messages:
            self._bench.did(("batch", message["event_type"]))
        return self._messaging.NotificationResult.HANDLED


def _messages(bench: Bench, url: str, timeout: float) -> Runs:
    import oslo_messaging
    from oslo_config import cfg
    from oslo_messaging._drivers import impl_fake

    impl_fake.time = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.002)))
    logging.getLogger("oslo_messaging").setLevel(logging.CRITICAL)
    conf = cfg.CONF
    conf([])
    transport = oslo_messaging.get_rpc_transport(conf, url)
    notifications = oslo_messaging.get_notification_transport(conf, url)
    endpoint = Endpoint(bench, oslo_messaging)
    target = oslo_messaging.Target(topic="faults", server="host1")
    servers = [
        oslo_messaging.get_rpc_server(transport, target, [endpoint]),
        oslo_messaging.get_notification_listener(
            notifications, [oslo_messaging.Target(topic="single")], [endpoint]
        ),
        oslo_messaging.get_batch_notification_listener(
            notifications, [oslo_messaging.Target(topic="batch")], [Batch(bench, oslo_messaging)], batch_size=2,
            batch_timeout=0.2,
        ),
    ]  # fmt: skip
    for server in servers:
        server.start(override_pool_size=1)
    client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="faults"), timeout=timeout)
    single, batch = (
        oslo_messaging.Notifier(notifications, driver="messagingv2", topics=[topic], publisher_id="nova.host1")
        for topic in ("single", "batch")
    )

    def settled() -> None:
        """Wait for the one worker of each server to be done with what it has."""
        for server in servers:
            server._work_executor.submit(int).result(10)

    def anew() -> None:
        """Make a pool of connections, use and empty it."""
        fresh = oslo_messaging.get_rpc_transport(conf, url)
        oslo_messaging.get_rpc_client(fresh, oslo_messaging.Target(topic="nobody")).cast({}, "echo", value=7)
        fresh.cleanup()

    def expecting(count: int, send: Callable[[], Any]) -> None:
        before = len(bench._told)
        send()
        until(lambda: bench.interrupted or len(bench._told) >= before + count)

    def run() -> None:
        with bench.request():
            bench.call("call", client.call, {"user_id": "u"}, "echo", value=3)
            bench.call("raises", client.call, {}, "raises")
            bench.call("expected", client.call, {}, "expected")
            bench.call("unknown", client.call, {}, "unknown")
            bench.call("silent", client.prepare(topic="nobody", timeout=0.01).call, {}, "echo", value=1)
            expecting(2, lambda: bench.call("cast", client.cast, {}, "echo", value=4))
            expecting(2, lambda: bench.call("fanout", client.prepare(fanout=True).cast, {}, "echo", value=5))
            expecting(2, lambda: bench.call("to server", client.prepare(server="host1").cast, {}, "raises"))
            expecting(2, lambda: bench.call("notify", single.info, {"a": "b"}, "boots", {}))
            expecting(2, lambda: bench.call("notify", single.info, {}, "raises", {}))
            for number in range(2):
                bench.call("notify", batch.info, {}, f"event{number}", {})
            until(lambda: bench.interrupted or sum("batch" in told for told in bench._told) == 2)
        bench.call("alone", client.call, {}, "echo", value=6)
        if not url.startswith("fake"):
            bench.call("anew", anew)
        settled()

    yield run
    for server in servers:
        server.stop()
        server.wait()
    transport.cleanup()
    notifications.cleanup()


def messages(bench: Bench) -> Runs:
    """RPC and notifications on the driver in memory."""
    yield from _messages(bench, "fake:/", 5)


def messages_by_rabbitmq(bench: Bench) -> Runs:
    """The same over RabbitMQ, with its pool of connections, its replies and their waiters."""
    yield from _messages(bench, os.environ["FAULTS_RABBITMQ"], 5)


ALL = (database, database_functions, caches, messages)
