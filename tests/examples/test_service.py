# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack demo` and the service that it runs: what was recorded by value, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis.otlp import Recording
from otel_openstack.analysis.spans import spans_of
from otel_openstack.cli import demo

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = [
    sys.executable,
    "-W",
    "error",
    "-c",
    "import sys; from otel_openstack.cli.main import main; sys.exit(main())",
]
MIB = 2**20
PROJECT = "openstack.project_id"


def run(*words):
    return subprocess.run(
        [*COMMAND, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=150, env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip


def processes_of(place):
    """Command lines that name a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if str(place).encode() in line:
            found.append(line)
    return found


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    place = tmp_path_factory.mktemp("demo") / "made"
    done = run("demo", "--directory", place)
    assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert done.stderr == ""
    assert processes_of(place) == []
    return place, done.stdout


@pytest.fixture(scope="module")
def recorded(shown):
    recording = Recording(shown[0] / "otlp")
    requests = list(recording.requests())
    assert recording.problems == []
    return [span for request in requests for span in spans_of(request)], summaries.read(requests)


def totals(found, name, *keys):
    """What a metric counted, by the values of some attributes."""
    counted = Counter()
    (metric,) = (metric for metric in found.services()["backups"] if metric.name == name)
    for row in summaries.lines(metric, by_attributes=True):
        labels = dict(row.labels)
        counted[tuple(labels.get(key) for key in keys)] += row.spread.count if metric.kind == "histogram" else row.total
    return counted


def test_the_terminal_shows_the_trees_the_numbers_and_where_all_is(shown):
    place, out = shown
    for line in (
        "process backups/create ", "backups.upload \u00d74 ", "✗ backups.worker.StorageFull", "✗ 500", "UPDATE backups",
        "backups.create.duration [s]", "openstack.project_id=blue", "7  backups.create.end",
        f"the page: {place}/index.html",
    ):  # fmt: skip
        assert line in out, out
    assert (place / "index.html").stat().st_size > 100_000


def test_a_request_is_one_trace_through_message_worker_and_threads(recorded):
    spans, _ = recorded
    kinds = Counter((span.kind, span.name) for span in spans if span.scope != "otel_openstack.sqlalchemy")
    assert kinds["SERVER", "POST /v1/backups"] == kinds["CONSUMER", "process backups/create"] == 8
    assert kinds["SERVER", "POST /v1/backups/{backup_id}/restore"] == kinds["SERVER", "backups/restore"] == 2
    assert kinds["INTERNAL", "backups.upload"] == 6 * 4 + 1 + 4
    assert kinds["INTERNAL", "startup backups"] == 1
    assert kinds["INTERNAL", "periodic expire"] >= 1
    by_id = {span.span_id: span for span in spans}
    parents = Counter()
    for span in spans:
        if span.name == "backups.upload":
            while span.parent_id:
                span = by_id[span.parent_id]  # noqa: PLW2901 (upwards)
            parents[span.name, span.attributes[PROJECT]] += 1
    assert parents == {
        ("POST /v1/backups", "blue"): 9,
        ("POST /v1/backups", "green"): 8,
        ("POST /v1/backups", "red"): 8,
        ("POST /v1/backups/{backup_id}/restore", "blue"): 4,
    }
    errors = Counter((span.name, span.error_type) for span in spans if span.error)
    assert errors["process backups/create", "backups.worker.StorageFull"] == 1
    assert errors["POST /v1/backups/{backup_id}/restore", "500"] == 1


def test_metrics_are_true_and_by_project(recorded):
    _, found = recorded
    assert totals(found, "backups.stored", PROJECT) == {("blue",): 36 * MIB, ("green",): 32 * MIB, ("red",): 32 * MIB}
    assert totals(found, "backups.create.duration", PROJECT, "error.type") == {
        ("blue", None): 3,
        ("green", None): 2,
        ("red", None): 2,
        ("red", "backups.worker.StorageFull"): 1,
    }
    assert totals(found, "backups.expired") == {(): 1}
    http = totals(found, "http.server.request.duration", "http.request.method", "http.response.status_code", PROJECT)
    assert {key[2]: number for key, number in http.items() if key[:2] == ("POST", "202")} == {
        "blue": 3,
        "green": 2,
        "red": 3,
    }
    assert http["POST", "200", "blue"] == http["POST", "500", "red"] == http["GET", "404", "green"] == 1
    assert totals(found, "rpc.server.call.duration", "rpc.method", PROJECT, "error.type") == {
        ("backups/create", "blue", None): 3,
        ("backups/create", "green", None): 2,
        ("backups/create", "red", None): 2,
        ("backups/create", "red", "backups.worker.StorageFull"): 1,
        ("backups/restore", "blue", None): 1,
        ("backups/restore", "red", "backups.worker.NotAvailable"): 1,
    }


def test_events_are_told(shown):
    assert demo.events(shown[0] / "otlp") == {
        "backups.create.start": 8,
        "backups.create.end": 7,
        "backups.create.error": 1,
    }


def test_the_estimate_of_series_is_what_a_choice_makes(shown):
    """What was recorded with `project=top:20` has as many series as the replay of its requests says."""
    otlp = shown[0] / "otlp"
    done = run("series", "project=top:20", otlp)
    rows = {line.split()[1]: line.split()[2:] for line in done.stdout.splitlines() if line.startswith("backups ")}
    _, found = None, summaries.read(Recording(otlp).requests())
    for name in ("http.server.request.duration", "rpc.server.call.duration"):
        (metric,) = (metric for metric in found.services()["backups"] if metric.name == name)
        _, now, replayed, most, _ = (int(figure.replace(",", "")) for figure in rows[name])
        without = {tuple(pair for pair in labels if pair[0] != PROJECT) for _, labels in metric.series}
        assert (now, replayed) == (len(without), len(metric.series))
        assert len(metric.series) <= most
    assert run("series", "project=top:1", otlp).stdout != done.stdout
    assert run("series", "project=off", otlp).stdout.count("\n") == 4
    numbers = run("series", "project=top:20", "--series", 60, "--projects", 400, "--processes", 8).stdout
    assert "4,920 in a process are more than the limit of 2,000" in numbers  # 60 * (80 + the rest + those of none)
    for words, says in (
        (("project=top:20",), "give a recording, or both"),
        (("user=all", otlp), "user cannot go on metrics"),
    ):
        wrong = run("series", *words)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert says in wrong.stderr


def test_what_is_not_the_demos_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    done = run("demo", "--directory", tmp_path)
    assert done.returncode == 2
    assert "holds something else: give another --directory DIR" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_demo_that_is_ended_ends_its_service(tmp_path):
    place = tmp_path / "made"
    process = subprocess.Popen([*COMMAND, "demo", "--directory", str(place)], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (place / "address").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
        assert processes_of(place) == []
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_examples_own_tests_pass():
    """In a process of their own: the example chooses the backend of oslo.service."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests"],
        cwd=ROOT / "examples" / "service", capture_output=True, text=True, check=False, timeout=120,
        env={**environment, "OTEL_OPENSTACK_LEVEL": "deep", "PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "5 passed" in done.stdout
