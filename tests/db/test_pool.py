# SPDX-License-Identifier: Apache-2.0
"""Connection pools: counts that cannot drift, waits, errors of each phase, retries."""

from __future__ import annotations

import os
import threading
import time

import pytest
import sqlalchemy as sa
from oslo_db import api as oslo_db_api
from oslo_db import exception as oslo_db_exception
from oslo_db.sqlalchemy import engines as oslo_engines

from otel_openstack import settings

DB = ("db_engines", "db_statements", "db_pool", "db_functions")


@pytest.fixture
def engine(server, telemetry):
    with telemetry.patched(*DB):
        made = sa.create_engine(server.url("nova"), pool_size=2, max_overflow=1, pool_timeout=0.3, pool_pre_ping=True)
        yield made
        made.dispose()


def value(telemetry, metric, **labels):
    for point in telemetry.points(metric):
        attributes = {key.rpartition(".")[2]: v for key, v in point.attributes.items()}
        if all(attributes.get(key) == v for key, v in labels.items()):
            return point
    return None


def gauge(telemetry, state, pool="nova@127.0.0.1"):
    found = value(telemetry, "db.client.connection.count", state=state, name=pool)
    return None if found is None else found.value


def test_used_and_idle_are_what_the_pool_says_at_that_moment(engine, telemetry):
    first, second, third = engine.connect(), engine.connect(), engine.connect()
    assert (gauge(telemetry, "used"), gauge(telemetry, "idle")) == (3, 0)
    first.close()
    assert (gauge(telemetry, "used"), gauge(telemetry, "idle")) == (2, 1)
    second.invalidate()
    second.close()
    third.close()
    assert gauge(telemetry, "used") == 0
    assert value(telemetry, "db.client.connection.max").value == 3
    engine.dispose()
    assert (gauge(telemetry, "used"), gauge(telemetry, "idle")) == (0, 0)


def test_waiting_requests_and_timeouts(engine, telemetry):
    held = [engine.connect() for _ in range(3)]
    errors = []

    def ask():
        try:
            engine.connect()
        except sa.exc.TimeoutError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen = 0
    end = time.monotonic() + 5
    while seen != 2 and time.monotonic() < end and any(thread.is_alive() for thread in threads):
        seen = value(telemetry, "db.client.connection.pending_requests").value
    for thread in threads:
        thread.join()
    assert (seen, len(errors)) == (2, 2)
    assert value(telemetry, "db.client.connection.timeouts").value == 2
    assert value(telemetry, "db.client.connection.pending_requests").value == 0
    assert value(telemetry, "db.client.connection.wait_time").max >= 0.3
    for connection in held:
        connection.close()


def test_create_wait_and_use_times(engine, telemetry):
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT SLEEP(0.1)"))
    with engine.connect():
        pass
    assert value(telemetry, "db.client.connection.create_time").count == 1
    assert value(telemetry, "db.client.connection.wait_time").count == 2
    use = value(telemetry, "db.client.connection.use_time")
    assert use.count == 2
    assert 0.1 <= use.max < 1.0


def test_errors_by_phase(server, engine, telemetry):
    connection = engine.connect()
    number = connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
    server.execute(f"KILL {number}")
    with pytest.raises(sa.exc.OperationalError):
        connection.execute(sa.text("SELECT 1"))
    connection.close()
    with engine.connect() as connection:
        number = connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
    server.execute(f"KILL {number}")
    with engine.connect() as connection:  # the ping finds it dead and makes another
        connection.execute(sa.text("SELECT 1"))
    nowhere = sa.create_engine("mysql+pymysql://root@127.0.0.1:1/nova")
    with pytest.raises(sa.exc.OperationalError):
        nowhere.connect()
    name = "openstack.db.client.connection.errors"
    found = {
        (p.attributes["openstack.db.client.connection.phase"], p.attributes["error.type"]): p.value
        for p in telemetry.points(name)
    }
    assert found == {
        ("use", "pymysql.err.OperationalError"): 1,
        ("ping", "pymysql.err.OperationalError"): 1,
        ("connect", "pymysql.err.OperationalError"): 1,
    }


def test_a_child_reads_its_own_pool(engine, telemetry):
    held = [engine.connect() for _ in range(2)]
    for connection in held:
        connection.close()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            engine.dispose(close=False)
            with engine.connect():
                os.write(write, f"{gauge(telemetry, 'used')} {gauge(telemetry, 'idle')}".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert said == "1 0"
    assert (gauge(telemetry, "used"), gauge(telemetry, "idle")) == (0, 2)


def test_an_engine_of_oslo_db_is_seen_too(server, telemetry):
    with telemetry.patched(*DB):
        made = oslo_engines.create_engine(server.url("nova_cell0"), max_pool_size=4, max_overflow=6)
        with made.connect():
            assert gauge(telemetry, "used", "nova_cell0@127.0.0.1") == 1
        assert value(telemetry, "db.client.connection.max", name="nova_cell0@127.0.0.1").value == 10
        made.dispose()


def test_retries_and_deadlocks_are_exact(telemetry):
    with telemetry.patched(*DB):

        def deadlocks(times):
            calls = []

            @oslo_db_api.wrap_db_retry(
                max_retries=2, retry_interval=0, inc_retry_interval=False, retry_on_deadlock=True
            )
            def update():
                calls.append(1)
                if len(calls) <= times:
                    raise oslo_db_exception.DBDeadlock
                return "done"

            return update

        assert deadlocks(0)() == "done"
        assert deadlocks(2)() == "done"
        with pytest.raises(oslo_db_exception.DBDeadlock):
            deadlocks(9)()
    assert sum(point.value for point in telemetry.points("openstack.db.retries")) == 4
    assert sum(point.value for point in telemetry.points("openstack.db.deadlocks")) == 5


def test_functions_of_the_database_api_at_level_detailed(server, telemetry):
    settings.use(settings.Settings(level="detailed", strict=True))
    from oslo_context import context as oslo_context
    from oslo_db.sqlalchemy import enginefacade

    with telemetry.patched(*DB):
        manager = enginefacade.transaction_context()
        manager.configure(connection=server.url("nova"))

        @enginefacade.transaction_context_provider
        class Context(oslo_context.RequestContext):
            pass

        @manager.reader
        def instance_get(context):
            return context.session.execute(sa.text("SELECT 1")).scalar()

        @manager.writer
        def instance_update(context):
            raise KeyError

        assert instance_get(Context()) == 1
        with pytest.raises(KeyError):
            instance_update(Context())
    found = {
        (p.attributes["code.function.name"].rpartition(".")[2], p.attributes["openstack.db.access"]): (
            p.count,
            p.attributes.get("error.type"),
        )
        for p in telemetry.points("openstack.db.function.duration")
    }
    assert found == {("instance_get", "reader"): (1, None), ("instance_update", "writer"): (1, "KeyError")}
