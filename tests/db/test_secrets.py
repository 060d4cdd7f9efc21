# SPDX-License-Identifier: Apache-2.0
"""What MariaDB and oslo.db say about a failed statement leaves without the values that they put into it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from otel_openstack.testing import recording
from otel_openstack.tracing import encoding, encoding_json

SECRET = "geheim"
VALUES = (
    SECRET,
    f"it's {SECRET}",
    f"\"{SECRET}\" for key 'x' {SECRET}",
    f"{SECRET}\\'; DROP",
    f"(Background on this error at: x) {SECRET}",
)


def statements(value):
    """Yield what a database refuses, with what it says of the value."""
    yield "INSERT INTO canaries (name, age) VALUES (:v, 1), (:v, 2)", {"v": value}
    yield "INSERT INTO canaries (name, age) VALUES ('a', :v)", {"v": value}
    yield "INSERT INTO canaries (name, age) VALUES (:v, 1)", {"v": value * 20}
    yield "SELECT CAST(:v AS DATE) + missing FROM canaries", {"v": value}
    yield "UPDATE canaries SET age = 1 WHERE name = :v LIMIT x", {"v": value}


def engine_of(server, kind):
    if kind == "oslo.db":
        engines = pytest.importorskip("oslo_db.sqlalchemy.engines")
        return engines.create_engine(server.url("nova"), thread_checkin=False)
    return sa.create_engine(server.url("nova") if kind == "mariadb" else "sqlite://")


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "oslo.db"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_value_of_a_failed_statement_leaves(server, kind):
    engine = engine_of(server, kind)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS canaries"))
        connection.execute(sa.text("CREATE TABLE canaries (name VARCHAR(80) PRIMARY KEY, age INTEGER NOT NULL)"))
    failed = 0
    with recording() as telemetry, telemetry.patched("db_engines", "db_statements", "db_pool"):
        tracer = telemetry.provider.get_tracer("service")
        for value in VALUES:
            for statement, parameters in statements(value):
                failed += fails(tracer, engine, statement, parameters)
        taken = telemetry.provider.queue.take(2**31)
        written = [form.SpanEncoder().encode(taken, lambda: None).payload for form in (encoding, encoding_json)]
        shown = repr([span._readable_span().to_json() for span in taken])
    engine.dispose()
    assert failed >= 3 * len(VALUES)
    for exported in (*written, shown.encode()):
        assert exported.count(SECRET.encode()) == 0, exported[max(0, exported.find(SECRET.encode()) - 400) :][:800]
        assert b"exception.stacktrace" in exported
    if kind != "sqlite":
        assert b"for key 'PRIMARY'" in written[0]


def fails(tracer, engine, statement, parameters):
    """Run it as a service does, which wraps what the library raises and lets it out of its own span."""
    try:
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
            try:
                with engine.begin() as connection:
                    connection.execute(sa.text(statement), parameters)
            except Exception as error:
                raise RuntimeError(f"cannot save: {error}, {error!r}") from error
    except RuntimeError:
        return 1
    return 0
