# SPDX-License-Identifier: Apache-2.0
"""The commands on good, bad and hostile recordings: what they print, their exit status, and what they leave alone."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from otel_openstack.cli.main import main
from tests.analysis import recorded
from tests.analysis.test_html_page import hostile_recording

COMMAND = [sys.executable, "-c", "import sys; from otel_openstack.cli.main import main; sys.exit(main())"]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def cloud(tmp_path):
    """A directory with a server create, a periodic task after it, and metrics."""
    recorded.record_cloud(tmp_path / "otlp")
    return tmp_path / "otlp"


def run(capsys, *words):
    """Return (status, stdout, stderr) of a command line."""
    try:
        status = main([str(word) for word in words])
    except SystemExit as end:  # argparse
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_tree_of_a_server_create(cloud, capsys):
    status, out, err = run(capsys, "trace", cloud)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert len(lines) <= 100
    assert all(len(line) <= 120 for line in lines)
    assert lines[0] == "driver  server create"
    assert re.fullmatch(r"2\.16 s · 228 spans · 11 services · 2 errors · started 2025-11-23 04:26:40 UTC", lines[2])
    polls = next(line for line in lines if "GET /v2.1/servers/{id} \u00d711" in line)
    assert polls.startswith("└ nova-api  ")
    assert "db 44 in 48.4 ms" in polls
    failed = next(line for line in lines if "/v2.0/extensions/{id}" in line)
    assert "✗ 404" in failed
    root = next(line for line in lines if line.startswith("driver  server create  "))
    assert "━" * 15 in root
    for service in recorded.SERVICES:
        assert sum(line.startswith(service) for line in lines) == 1  # where the time went
    assert "slowest statement: 4.00 ms  SELECT instances" in out


def test_every_way_to_choose_a_trace(cloud, capsys):
    _, listed, _ = run(capsys, "trace", "--list", cloud)
    periodic, create = [line.split()[2] for line in listed.splitlines()[1:]]
    assert f"trace {create}" in run(capsys, "trace", cloud)[1]
    assert f"trace {create}" in run(capsys, "trace", "--latest", cloud)[1]
    assert f"trace {create}" in run(capsys, "trace", "--trace-id", create[:6], cloud)[1]
    assert f"trace {create}" in run(capsys, "trace", "--request-id", recorded.REQUEST_ID, cloud)[1]
    assert "periodic update_available_resource" in run(capsys, "trace", "--trace-id", periodic, cloud)[1]


def test_all_traces_of_a_request_are_named(tmp_path, capsys):
    first, second = recorded.record_cloud(tmp_path, creates=2)
    out = run(capsys, "trace", "--request-id", recorded.REQUEST_ID, tmp_path)[1]
    shown, also = sorted([first, second], key=lambda each: f"trace {each}" not in out)
    assert f"trace {shown}" in out
    assert out.splitlines()[-1] == f"also: --trace-id {also}  228 spans  driver  server create"


def test_unfolded_and_shortened(cloud, capsys):
    unfolded = run(capsys, "trace", "--unfold", cloud)[1]
    assert unfolded.count("GET /v2.1/servers/{id} ") == 11
    assert "\u00d7" not in unfolded
    shortened = run(capsys, "trace", "--lines", "10", cloud)[1]
    assert "shorter spans" in shortened
    assert "✗ 404" in shortened  # an error is never left out
    assert len(shortened.splitlines()) < 35


def test_the_table_of_metrics(cloud, capsys):
    status, out, err = run(capsys, "metrics", cloud)
    assert (status, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines() if re.match(r"\S", line)] == sorted(recorded.SERVICES)
    assert "nova-api  2 processes" in out
    table = out.partition("nova-api  2 processes")[2]
    row = next(line for line in table.splitlines() if "http.server.request.duration" in line)
    assert re.search(r"\[s\] \(2 sets\) +\d+ +[\d.]+ ms +[\d.]+ ms +[\d.]+ (ms|s)$", row)
    assert "db.client.connection.state=used" in table
    assert "http.route=/v2.1/servers/{id}" in run(capsys, "metrics", "--by-attributes", cloud)[1]
    only = run(capsys, "metrics", "--service", "keystone", "--metric", "memory", cloud)[1]
    assert len(only.strip().splitlines()) == 3
    assert "86.4 MiB" in only


@pytest.mark.parametrize("command", [["trace"], ["trace", "--list"], ["metrics"], ["metrics", "--by-attributes"]])
def test_hostile_text_does_not_reach_the_terminal(tmp_path, capsys, command):
    hostile_recording(tmp_path)
    status, out, err = run(capsys, *command, tmp_path)
    assert status == 0
    assert [char for char in out + err if char != "\n" and not char.isprintable()] == []
    if command != ["trace", "--list"]:
        assert "two\\nlines\\r\\x9b2J" in out
        assert "\\u202egnp.exe\\u2066" in out
    assert len(out.splitlines()) < 200


def test_colours_on_a_terminal_only_and_not_against_the_wish(cloud):
    def shown(**environment):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, "trace", str(cloud)], stdout=follower, env={**os.environ, "PYTHONUTF8": "1", **environment}
        )
        os.close(follower)
        out = b""
        while select.select([leader], [], [], 30)[0]:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            out += data
        os.close(leader)
        assert process.wait(30) == 0
        return out.decode()

    coloured = shown(TERM="xterm", NO_COLOR="")
    assert "\x1b[" in coloured
    assert "\x1b" not in COLOUR.sub("", coloured)
    assert "\x1b" not in shown(TERM="xterm", NO_COLOR="1")
    piped = subprocess.run([*COMMAND, "trace", str(cloud)], capture_output=True, check=True)
    assert b"\x1b" not in piped.stdout


def test_a_terminal_without_unicode(cloud):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([*COMMAND, "trace", str(cloud)], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"x11" in done.stdout
    assert b"====" in done.stdout


def test_a_reader_that_stops_reading(cloud):
    process = subprocess.Popen(
        [*COMMAND, "trace", "--unfold", str(cloud)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def one_line(status, out, err, *words):
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_nothing_to_read_is_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.jsonl").write_text("hello\n")
    (tmp_path / "half.jsonl").write_text('{"resourceSpans": [')
    (tmp_path / "void.jsonl").write_text("")
    (tmp_path / "a\nb").mkdir()
    for command in (["trace"], ["metrics"], ["page", "-o", tmp_path / "page.html"]):
        one_line(*run(capsys, *command, tmp_path / "none"), "none: No such file", "give a file or directory")
        one_line(*run(capsys, *command, tmp_path / "empty"), "holds no *.jsonl")
        one_line(*run(capsys, *command, tmp_path / "foreign.jsonl"), "foreign.jsonl:1: is not JSON")
        one_line(*run(capsys, *command, tmp_path / "half.jsonl"), "half.jsonl:1: is cut off")
        one_line(*run(capsys, *command, tmp_path / "void.jsonl"), "in ", "void.jsonl", "1 file read")
        one_line(*run(capsys, *command, tmp_path / "a\nb"), "a\\nb holds no")
    assert not (tmp_path / "page.html").exists()


def test_a_half_written_file_is_told_and_the_rest_read(cloud, capsys):
    with (cloud / "keystone-100-1.jsonl").open("a") as stream:
        stream.write('{"resourceSpans": [{"resour')
    (cloud / "nova.jsonl").write_text("\x1b[2J\n")
    status, out, err = run(capsys, "trace", cloud)
    assert status == 0
    assert "228 spans" in out
    assert [line.rpartition("/")[2] for line in err.splitlines()] == [
        "keystone-100-1.jsonl:9: is cut off (still being written?), skipped",
        "nova.jsonl:1: is not JSON, skipped",
    ]
    assert run(capsys, "metrics", cloud)[2] == err
    assert run(capsys, "page", cloud, "-o", cloud.parent / "page.html")[2] == err


def test_an_unreadable_file_is_told_and_the_rest_read(cloud, capsys):
    (cloud / "memory.jsonl").symlink_to("/proc/self/mem")  # may be opened, not read, by root either
    status, out, err = run(capsys, "trace", cloud)
    assert status == 0
    assert "228 spans" in out
    assert err == f"otel-openstack: {cloud}/memory.jsonl: cannot be read (Input/output error), skipped\n"
    one_line(*run(capsys, "metrics", cloud / "memory.jsonl"), "no metrics could be read", "Input/output error")


def test_unknown_ids_and_words(cloud, capsys):
    one_line(*run(capsys, "trace", "--trace-id", "feed", cloud), "no trace feed", "--list")
    one_line(*run(capsys, "trace", "--trace-id", "", cloud), "2 traces begin with nothing")
    one_line(*run(capsys, "trace", "--trace-id", "a\x1bb\n", cloud), "no trace a\\x1bb\\n")
    one_line(*run(capsys, "trace", "--request-id", "req-0", cloud), "no span with request id req-0")
    one_line(*run(capsys, "metrics", "--service", "nova", cloud), "no metric matches", "nova-api")
    one_line(*run(capsys, "trace", "--lates", cloud), "did you mean --latest?")
    one_line(*run(capsys, "trase", cloud), "did you mean trace?")
    one_line(*run(capsys, "page", cloud), "-o/--output")
    one_line(*run(capsys, "trace", "--lines", "many", cloud), "invalid int")
    one_line(*run(capsys), "COMMAND")


def test_help_says_what_is_chosen(capsys):
    status, out, _ = run(capsys, "trace", "--help")
    assert status == 0
    assert "more than one service" in " ".join(out.split())
    status, out, _ = run(capsys, "--help")
    assert {"trace", "metrics", "page"} <= set(out.split())


def test_a_page_is_written_whole_and_over_nothing_else(cloud, capsys, tmp_path):
    page = tmp_path / "page.html"
    assert run(capsys, "page", cloud, "-o", page) == (0, f"{page}: 2 traces, 50 metrics\n", "")
    assert page.stat().st_mode & 0o777 & ~0o640 == 0
    assert run(capsys, "page", cloud, "-o", page)[0] == 0  # a page of ours
    page.write_text("precious")
    one_line(*run(capsys, "page", cloud, "-o", page), "is not a page of otel-openstack", "--force")
    assert page.read_text() == "precious"
    assert run(capsys, "page", "--force", cloud, "-o", page)[0] == 0
    whole = page.read_text()
    one_line(*run(capsys, "page", tmp_path / "none", "-o", page), "No such file")
    assert page.read_text() == whole
    one_line(*run(capsys, "page", cloud, "-o", tmp_path), "no regular file")
    one_line(*run(capsys, "page", cloud, "-o", "/dev/null"), "no regular file")
    one_line(*run(capsys, "page", cloud, "-o", tmp_path / "none" / "page.html"), "is not a directory")
    one_line(*run(capsys, "page", cloud, "-o", f"/proc/{os.getpid()}/page.html"), "cannot write")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["otlp", "page.html"]


def test_a_full_disk_leaves_the_old_page(cloud, capsys, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    run(capsys, "page", cloud, "-o", page)
    whole = page.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    one_line(*run(capsys, "page", cloud, "-o", page), "No space left on device")
    assert page.read_text() == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["otlp", "page.html"]


def test_traces_beyond_the_limit_are_said(cloud, capsys, tmp_path):
    run(capsys, "page", cloud, "-o", tmp_path / "page.html", "--max-spans", "1")
    block = (tmp_path / "page.html").read_text().partition('id="data">')[2].partition("</script>")[0]
    data = json.loads(block)
    assert (len(data["traces"]), data["leftOut"]) == (1, 1)
    assert data["texts"][data["traces"][0]["name"]] == "server create"


def test_the_command_starts_without_the_sdk():
    code = (
        "import sys; from otel_openstack.cli import trace, metrics, page; import otel_openstack.analysis.page\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google', 'eventlet', 'requests'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_entry_point_is_installed(cloud):
    command = Path(sys.executable).with_name("otel-openstack")
    done = subprocess.run([command, "trace", cloud], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "server create" in done.stdout


def test_what_is_missing_is_said(tmp_path, capsys):
    cloud = recorded.Cloud()
    trace_id = cloud.new_trace()
    root = cloud.span("nova-api", "POST /servers", 2)
    lost = cloud.span("nova-compute", "build", 2, "00000000000000aa")
    cloud.span("nova-compute", "notify", 4, lost["spanId"])
    spans = [span for each in cloud.spans.values() for span in each]
    recorded.write(tmp_path / "a.jsonl", [recorded.trace_request("nova-api", [*spans, root])])
    out = run(capsys, "trace", tmp_path)[1]
    assert "1 span recorded twice" in out
    assert "1 missing parent" in out
    after = out.partition("Parent span 00000000000000aa was not recorded:\n")[2].splitlines()
    assert after[0].startswith("nova-api  build ")
    assert after[1].startswith("\u2514 nova-api  notify ")
    recorded.write(tmp_path / "a.jsonl", [recorded.trace_request("nova-compute", [lost])])
    assert "missing parent" in run(capsys, "trace", tmp_path)[1]
    assert "(root not recorded)" in run(capsys, "trace", "--list", tmp_path)[1]
    assert run(capsys, "page", tmp_path, "-o", tmp_path / "page.html")[0] == 0
    data = json.loads((tmp_path / "page.html").read_text().partition('id="data">')[2].partition("</script>")[0])
    assert (data["traces"][0]["id"], data["traces"][0]["missing"]) == (trace_id, {"0": "00000000000000aa"})
