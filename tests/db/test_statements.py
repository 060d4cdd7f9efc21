# SPDX-License-Identifier: Apache-2.0
"""Database operations: what each statement is called, how long it took, whose request paid for it."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from sqlalchemy import orm

from otel_openstack import settings, tracing

DURATION = "db.client.operation.duration"
DB = ("db_engines", "db_statements", "db_pool", "db_functions")
SECRET = "s3cr3t-canary"

Base = orm.declarative_base()


class Instance(Base):
    __tablename__ = "instances"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(64), unique=True)


class Tag(Base):
    __tablename__ = "tags"
    id = sa.Column(sa.Integer, primary_key=True)
    instance = sa.Column(sa.ForeignKey("instances.id"))


@pytest.fixture
def engine(server, telemetry):
    with telemetry.patched(*DB):
        made = sa.create_engine(server.url("nova"), pool_size=2, max_overflow=1)
        Base.metadata.drop_all(made)
        Base.metadata.create_all(made)
        telemetry.clear()
        yield made
        made.dispose()


def counts(telemetry, **wanted):
    """Return the number of operations by (operation, table)."""
    found = {}
    for point in telemetry.points(DURATION):
        key = (point.attributes.get("db.operation.name"), point.attributes.get("db.collection.name"))
        if all(point.attributes.get(name.replace("_", ".")) == value for name, value in wanted.items()):
            found[key] = found.get(key, 0) + point.count
    return found


def difference(before, after):
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


def test_every_way_to_execute_has_its_operation_and_table(engine, telemetry):
    before = counts(telemetry)
    with orm.Session(engine) as session:
        session.add(Instance(name="a"))
        session.flush()
        session.add_all([Instance(name="b"), Instance(name="c")])
        session.flush()
        session.query(Instance).filter_by(name="a").all()
        session.execute(sa.select(Instance.id).join(Tag)).all()
        session.query(Instance).filter_by(name="a").update({"name": "d"})
        session.execute(sa.delete(Tag).where(Tag.id == 7))
        session.execute(sa.union(sa.select(Tag.id), sa.select(Instance.id))).all()
        session.execute(sa.select(sa.select(Tag.id).subquery())).all()
        session.execute(sa.text("SELECT 1 FROM instances"))
        session.commit()
    with engine.begin() as connection:
        connection.execute(Instance.__table__.insert(), [{"name": "e"}, {"name": "f"}])
        connection.exec_driver_sql("SELECT 1")
    found = difference(before, counts(telemetry))
    assert found == {
        ("INSERT", "instances"): 1,
        ("BATCH INSERT", "instances"): 2,
        ("SELECT", "instances"): 2,
        ("UPDATE", "instances"): 1,
        ("DELETE", "tags"): 1,
        ("SELECT", "tags"): 2,
        (None, None): 2,
    }
    point = next(p for p in telemetry.points(DURATION) if p.attributes.get("db.operation.name") == "UPDATE")
    assert point.attributes == {
        "db.system.name": "mysql",
        "db.operation.name": "UPDATE",
        "db.collection.name": "instances",
        "db.namespace": "nova",
        "server.address": "127.0.0.1",
    }


def test_duration_is_the_servers_time(engine, telemetry):
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT SLEEP(0.25)"))
    slow = max(telemetry.points(DURATION), key=lambda point: point.max)
    assert 0.25 <= slow.max < 1.0


def test_calls_are_counted_into_the_request_and_make_no_spans(engine, telemetry):
    operation = tracing.root("test", "GET /servers", SpanKind.SERVER, {})
    with engine.connect() as connection:
        for _ in range(3):
            connection.execute(sa.select(Instance.id))
        connection.execute(sa.select(Tag.id))
    operation.finish()
    (span,) = telemetry.spans()
    assert span.attributes["openstack.db.calls"] == 4
    assert 0 < span.attributes["openstack.db.slowest.duration"] <= span.attributes["openstack.db.duration"]
    assert span.attributes["openstack.db.slowest.summary"] in ("SELECT instances", "SELECT tags")


def test_a_slow_call_becomes_a_span_without_values(engine, telemetry):
    operation = tracing.root("test", "GET /servers", SpanKind.SERVER, {})
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT SLEEP(0.15), :secret"), {"secret": SECRET})
    operation.finish()
    slow, root = sorted(telemetry.spans(), key=lambda span: span.kind == "SERVER")
    assert (slow.name, slow.kind, slow.parent) == ("SELECT", "CLIENT", root.span_id)
    assert 0.15e9 <= slow.end - slow.start < 1e9
    assert root.start <= slow.start
    assert slow.end <= root.end
    assert slow.attributes["db.system.name"] == "mysql"
    assert slow.attributes["db.query.summary"] == "SELECT"
    assert SECRET not in repr(telemetry.spans())


def test_a_failed_call_becomes_an_error_span_without_values(engine, telemetry):
    before = counts(telemetry)
    operation = tracing.root("test", "POST /servers", SpanKind.SERVER, {})
    with orm.Session(engine) as session:
        session.add(Instance(name=SECRET))
        session.commit()
        session.add(Instance(name=SECRET))
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()
    operation.finish()
    failed = next(span for span in telemetry.spans() if span.kind == "CLIENT")
    assert failed.name == "INSERT instances"
    assert failed.attributes["error.type"] == "pymysql.err.IntegrityError"
    assert failed.status == "ERROR"
    assert SECRET not in repr([(s.name, s.attributes, s.events, s.description) for s in telemetry.spans()])
    assert difference(before, counts(telemetry, error_type="pymysql.err.IntegrityError")) == {
        ("INSERT", "instances"): 1
    }


def test_at_level_detailed_every_call_is_a_span(server, telemetry):
    settings.use(settings.Settings(level="detailed", strict=True))
    with telemetry.patched(*DB):
        made = sa.create_engine(server.url("nova"))
        operation = tracing.root("test", "GET /servers", SpanKind.SERVER, {})
        with made.connect() as connection:
            connection.execute(sa.select(Instance.id))
            connection.execute(sa.select(Tag.id))
        operation.finish()
        made.dispose()
    names = [span.name for span in telemetry.spans() if span.kind == "CLIENT"]
    assert [name for name in names if name in ("SELECT instances", "SELECT tags")] == [
        "SELECT instances",
        "SELECT tags",
    ]
    (root,) = [span for span in telemetry.spans() if span.kind == "SERVER"]
    assert {s.parent for s in telemetry.spans() if s.name == "SELECT tags"} == {root.span_id}


def test_an_engine_without_events_keeps_none(engine):
    plain = sa.create_engine("sqlite://")
    assert engine._has_events is False
    assert plain._has_events is False


def test_engines_of_cells_keep_their_own_names(server, engine, telemetry):
    cell = sa.create_engine(server.url("nova_cell0"))
    for made in (cell, engine):
        with made.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    cell.dispose()
    assert {p.attributes["db.namespace"] for p in telemetry.points(DURATION)} == {"nova", "nova_cell0"}


def test_threads_lose_nothing(engine, telemetry):
    before = counts(telemetry)

    def work():
        for _ in range(50):
            with engine.connect() as connection:
                connection.execute(sa.select(Tag.id))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert difference(before, counts(telemetry))[("SELECT", "tags")] == 200


def test_undo_leaves_the_dialect_as_it_was(server, telemetry):
    with telemetry.patched(*DB):
        made = sa.create_engine(server.url("nova"))
        assert "do_execute" in vars(made.dialect)
    assert not {"do_execute", "do_executemany", "do_execute_no_params"} & set(vars(made.dialect))
    assert not hasattr(sa.engine.Dialect.engine_created, "__wrapped__")
    made.dispose()


def test_sqlite_and_the_current_span_of_others(telemetry):
    with telemetry.patched(*DB):
        made = sa.create_engine("sqlite://")
        tracer = trace.get_tracer("theirs")
        with tracer.start_as_current_span("theirs"), made.connect() as connection:
            with pytest.raises(sa.exc.OperationalError):
                connection.exec_driver_sql("SELECT * FROM missing")
    failed, theirs = sorted(telemetry.spans(), key=lambda span: span.name == "theirs")
    assert failed.parent == theirs.span_id
    assert failed.attributes["error.type"] == "sqlite3.OperationalError"
