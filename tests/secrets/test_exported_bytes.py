# SPDX-License-Identifier: Apache-2.0
"""Secrets planted in failing requests are searched in every byte that leaves: files, protobuf, SDK exporters, log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sink import Sink

BIN = Path(sys.executable).parent
SERVICE = Path(__file__).parent / "service.py"
SECRET = "geheim"
# One payload goes to all destinations, as JSON if one of them is a file.
PROTOBUF = {f"OTEL_{signal}_EXPORTER": "otlp,console" for signal in ("TRACES", "METRICS")} | {
    "OTEL_LOGS_EXPORTER": "otlp"
}
SPANS = {"GET /db/{name}", "GET /nested", "GET /plain", "GET /calls", "remote"}


def run(tmp_path: Path, sink: Sink, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "opentelemetry-instrument", sys.executable, SERVICE, "--os-password", SECRET],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "ignore",
            "OTEL_TRACES_EXPORTER": "otlp,otlp_file,console",
            "OTEL_METRICS_EXPORTER": "otlp,otlp_file,console",
            "OTEL_LOGS_EXPORTER": "otlp,otlp_file",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.name=api,db.password={SECRET},database.url=mysql://u:{SECRET}@h/nova",
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,otel",
            "OTEL_OPENSTACK_REQUEST_EVENTS": "true",
            "OTEL_OPENSTACK_EXIT_TIMEOUT": "10",
            **environment,
        },
    )


@pytest.mark.parametrize(
    "environment",
    [PROTOBUF, {"OTEL_OPENSTACK_LEVEL": "deep"}, {"OTEL_OPENSTACK_INSTRUMENTORS": "requests"}],
    ids=["protobuf", "deep", "contrib"],
)
def test_no_byte_holds_a_secret(tmp_path, environment):
    with Sink("up") as sink:
        done = run(tmp_path, sink, **environment)
        sent = {
            signal: [str(r.message) for r in sink.requests if r.signal == signal]
            for signal in ("traces", "metrics", "logs")
        }
    files = {path.name: path.read_text() for path in tmp_path.glob("otlp/*.jsonl")}
    assert bool(files) == (environment is not PROTOBUF)
    everything = {"stdout": done.stdout, "stderr": done.stderr, **files, **{k: "".join(v) for k, v in sent.items()}}
    for name, text in everything.items():
        place = text.find(SECRET)
        assert place < 0, f"{name}: {text[max(0, place - 300) : place + 100]}"
    # ... and everything was there: spans, points, events, the log line, each with what remains of a text.
    written = "".join(files.values())
    for shown in (done.stdout, written or everything["traces"], everything["traces"]):
        assert all(name in shown for name in SPANS), shown[-3000:]
        assert "mysql+pymysql://***@127.0.0.1:3306/nova" in shown
        assert "temp_url_sig=***" in shown
        assert "Remote error: sqlalchemy.exc.ArgumentError" in shown
        assert "UNIQUE constraint failed: users.name" in shown
    assert all("own" in everything[name] for name in ("metrics", "stdout"))
    assert "openstack.request" in everything["logs"]
    assert "service.hook failed" in done.stderr
    if "OTEL_OPENSTACK_INSTRUMENTORS" in environment:
        assert "opentelemetry.instrumentation.requests" in written
