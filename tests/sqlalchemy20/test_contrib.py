# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy 2.0 with opentelemetry-instrumentation-sqlalchemy switched on: one span a statement, metrics stay ours.

Runs in an environment of its own (`make test`), since the contrib instrumentor refuses SQLAlchemy 2.1.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy

BIN = Path(sys.executable).parent
OURS, CONTRIB = "otel_openstack.db", "opentelemetry.instrumentation.sqlalchemy"
STATEMENTS = 7
WORK = f"""
import sqlalchemy as sa
from opentelemetry import trace
engine = sa.create_engine("sqlite://")
table = sa.Table("instances", sa.MetaData(), sa.Column("id", sa.Integer))
with trace.get_tracer("theirs").start_as_current_span("request"), engine.connect() as connection:
    connection.execute(sa.schema.CreateTable(table))
    for number in range({STATEMENTS}):
        connection.execute(sa.select(table))
    try:
        connection.exec_driver_sql("SELECT * FROM missing")
    except sa.exc.OperationalError:
        pass
print(engine._has_events)
"""


def run(tmp_path, **environment):
    script = tmp_path / "nova-thing"
    script.write_text(f"#!{sys.executable}\n{WORK}")
    script.chmod(0o755)
    done = subprocess.run(
        [str(BIN / "opentelemetry-instrument"), str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
        env={
            "PATH": f"{BIN}:/usr/bin:/bin",
            "OTEL_TRACES_EXPORTER": "otlp_file",
            "OTEL_METRICS_EXPORTER": "otlp_file",
            **environment,
        },
    )
    spans, points = Counter(), Counter()
    for path in (tmp_path / "otlp").glob("*.jsonl"):
        for data in map(json.loads, path.read_text().splitlines()):
            for part in data.get("resourceSpans", ()):
                for scope in part["scopeSpans"]:
                    spans.update((scope["scope"]["name"], span["name"]) for span in scope["spans"])
            for part in data.get("resourceMetrics", ()):
                for scope in part["scopeMetrics"]:
                    points.update(counts(scope))
    return done, spans, points


def counts(scope):
    """Return the operations by kind, as the last export of the process has them."""
    found = {}
    for metric in scope["metrics"]:
        if metric["name"] == "db.client.operation.duration":
            for point in metric["histogram"]["dataPoints"]:
                labels = {pair["key"]: pair["value"]["stringValue"] for pair in point["attributes"]}
                found[labels.get("db.operation.name", ""), labels.get("error.type", "")] = int(point["count"])
    return found


def statements(spans, scope):
    return sum(number for (name, _), number in spans.items() if name == scope)


def test_this_is_the_environment_with_sqlalchemy_2_0():
    assert sqlalchemy.__version__.startswith("2.0.")


@pytest.mark.parametrize("level", ["basic", "detailed"])
def test_contribs_spans_replace_ours_where_the_operator_switches_it_on(tmp_path, level):
    done, spans, points = run(tmp_path, OTEL_OPENSTACK_INSTRUMENTORS="sqlalchemy", OTEL_OPENSTACK_LEVEL=level)
    assert spans[CONTRIB, "SELECT"] == STATEMENTS + 1
    assert spans[CONTRIB, "CREATE"] == 1
    assert statements(spans, OURS) == 0
    assert points["SELECT", ""] == STATEMENTS
    assert points["", "sqlite3.OperationalError"] == 1
    assert done.stderr == ""


def test_by_default_only_ours_are_there_and_the_engine_has_no_events(tmp_path):
    done, spans, points = run(tmp_path)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert statements(spans, CONTRIB) == 0
    assert spans == {("theirs", "request"): 1, (OURS, "SELECT"): 1}
    assert points["SELECT", ""] == STATEMENTS


def test_at_level_detailed_every_statement_is_one_span_of_ours(tmp_path):
    _, spans, _ = run(tmp_path, OTEL_OPENSTACK_LEVEL="detailed")
    assert spans[OURS, "SELECT instances"] == STATEMENTS
    assert statements(spans, CONTRIB) == 0


SECRETS = """
import sqlalchemy as sa
engine = sa.create_engine("sqlite://")
for statement in ("SELECT 'geheim' FROM missing", 'SELECT "geheim", x\\'aa\\', \\'it\\'\\'s geheim\\''):
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
            connection.execute(sa.text("SELECT :v FROM missing"), {"v": "geheim"})
    except sa.exc.OperationalError:
        pass
"""


def test_the_spans_of_contrib_pass_our_scrubber_too(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "WORK", SECRETS)
    done, spans, _ = run(tmp_path, OTEL_OPENSTACK_INSTRUMENTORS="sqlalchemy")
    assert spans[CONTRIB, "SELECT"] == 3
    written = "".join(path.read_text() for path in (tmp_path / "otlp").glob("*.jsonl"))
    assert "db.statement" in written or "db.query.text" in written
    assert "geheim" not in written + done.stderr
