# SPDX-License-Identifier: Apache-2.0
"""The file exporter: whole lines, bounded, one file a process, the living left alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from otel_openstack.exporters import otlp_file
from otel_openstack.exporters.otlp_file import OtlpFile
from otel_openstack.exporters.sink import Outcome
from otel_openstack.runtime import process

DELIVERED, RETRY, REJECTED = (Outcome.DELIVERED, 0), (Outcome.RETRY, 0), (Outcome.REJECTED, 0)
LINE = json.dumps({"resourceSpans": [{"note": "x" * 960}]}).encode()  # 1000 bytes with its newline, roughly


@pytest.fixture
def make(tmp_path):
    sinks = []

    def make(directory="otlp", service="nova-compute", max_bytes=10_000, total_bytes=100_000):
        sinks.append(OtlpFile(str(tmp_path / directory), lambda: service, max_bytes, total_bytes))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def files(sink):
    return sorted(sink.directory.glob("*.jsonl"))


def total(sink):
    return sum(path.stat().st_size for path in files(sink))


def test_a_file_of_this_process_is_made_with_the_first_line(make):
    sink = make()
    assert not sink.directory.exists()
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert sink.send("metrics", b"{}", 1, 0.0) == DELIVERED
    (path,) = files(sink)
    assert path.name == f"nova-compute-{os.getpid()}-{process.start_time_unix_nano() // 1_000_000}.jsonl"
    assert path.read_bytes() == LINE + b"\n{}\n"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_modes_do_not_depend_on_the_umask_of_the_service(make, umask):
    before = os.umask(umask)
    try:
        sink = make()
        sink.send("traces", LINE, 1, 0.0)
    finally:
        os.umask(before)
    assert files(sink)[0].stat().st_mode & 0o777 == 0o640
    assert sink.directory.stat().st_mode & 0o777 & ~0o750 == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", "", "a/b", "nova compute\n"])
def test_a_service_cannot_name_a_file_elsewhere(make, name):
    sink = make(service=name)
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert len(files(sink)) == 1
    assert not files(sink)[0].name.startswith(".")


def test_no_symbolic_link_is_followed(make, tmp_path):
    sink = make()
    sink.directory.mkdir()
    victim = tmp_path / "victim"
    start = process.start_time_unix_nano() // 1_000_000
    (sink.directory / f"nova-compute-{os.getpid()}-{start}.jsonl").symlink_to(victim)
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert not victim.exists()


def test_rotation(make):
    sink = make(max_bytes=5000)
    for _ in range(12):
        assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert len(files(sink)) == 3
    assert all(path.stat().st_size <= 5000 for path in files(sink))
    assert sum(path.read_bytes().count(b"\n") for path in files(sink)) == 12


def test_the_directory_stays_within_its_bound(make):
    sink = make()
    for number in range(500):
        assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
        if number % 25 == 0:
            assert total(sink) <= 100_000
    assert 50_000 < total(sink) <= 100_000


def test_a_line_that_fits_into_no_file_is_dropped(make):
    sink = make()
    assert sink.send("traces", b"x" * 20_000, 1, 0.0) == REJECTED
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED


def old_file(directory, name, age):
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_bytes(LINE * 40)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_the_oldest_files_of_the_dead_go_first_and_foreign_files_stay(make):
    sink = make()
    oldest, older = old_file(sink.directory, "a-1-1.jsonl", 300), old_file(sink.directory, "b-2-2.jsonl", 200)
    young, foreign = old_file(sink.directory, "c-3-3.jsonl", 100), old_file(sink.directory, "notes.txt", 400)
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert [path.exists() for path in (oldest, older, young, foreign)] == [False, True, True, True]


OTHER = """
    import os, sys, time
    from otel_openstack.exporters.otlp_file import OtlpFile
    sink = OtlpFile(sys.argv[1], lambda: "other", 30_000, 10_000_000)
    for _ in range(25):
        sink.send("traces", b"x" * 1000, 1, 0.0)
    print("written", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)
"""


def test_the_file_that_another_process_writes_is_left_alone_until_that_is_dead(make):
    sink = make()
    command = [sys.executable, "-c", textwrap.dedent(OTHER), str(sink.directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"written\n"
        (theirs,) = files(sink)
        os.utime(theirs, (1, 1))
        for _ in range(200):
            sink.send("traces", LINE, 1, 0.0)
        assert theirs.exists()
        assert total(sink) <= 100_000
        other.stdin.close()
        assert other.wait(10) == -signal.SIGKILL
    for _ in range(30):
        sink.send("traces", LINE, 1, 0.0)
    assert not theirs.exists()


def stopped(process):
    """Stop `process`; whether it is stopped now, and not at its end."""
    os.kill(process.pid, signal.SIGSTOP)
    return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT).si_code == os.CLD_STOPPED


def test_processes_together_stay_within_the_bound(make):
    sink = make()
    script = OTHER.replace("10_000_000", "100_000").replace("30_000", "10_000").replace("range(25)", "iter(int, 1)")
    others = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(sink.directory)], stdout=subprocess.DEVNULL
        )
        for _ in range(4)
    ]
    found = []
    try:
        while len(found) < 300:
            assert all(stopped(other) for other in others)  # none may write while they are counted
            found.append(total(sink) if sink.directory.exists() else 0)
            for other in others:
                os.kill(other.pid, signal.SIGCONT)
    finally:
        for other in others:
            other.kill()
            other.wait(10)
    assert 50_000 < max(found) <= 100_000


def test_a_file_that_another_takes_for_a_dead_ones_before_it_is_locked_is_left_to_it(make, monkeypatch):
    locked = []

    def flock(descriptor, operation):
        locked.append(descriptor)
        if len(locked) == 1:
            raise BlockingIOError

    sink = make()
    monkeypatch.setattr(otlp_file.fcntl, "flock", flock)
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    given_up, written = sorted(files(sink), key=lambda path: path.stat().st_size)
    assert (given_up.read_bytes(), written.read_bytes()) == (b"", LINE + b"\n")


def test_a_file_that_somebody_removed_is_begun_anew(make):
    sink = make()
    sink.send("traces", LINE, 1, 0.0)
    files(sink)[0].unlink()
    sink.directory.rmdir()
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    assert files(sink)[0].read_bytes() == LINE + b"\n"


def test_a_directory_that_cannot_be_written_is_told_once_and_then_again_when_it_works(
    make, tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO", "otel_openstack")
    (tmp_path / "otlp").write_text("a file where the directory should be")
    sink = make()
    monkeypatch.setattr(otlp_file, "PAUSE", 0.0)
    assert [sink.send("traces", LINE, 1, 0.0) for _ in range(3)] == [RETRY] * 3
    assert (tmp_path / "otlp").read_text() == "a file where the directory should be"
    (tmp_path / "otlp").unlink()
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert "cannot write telemetry" in told[0]
    assert "OTEL_OPENSTACK_FILE_DIRECTORY" in told[0]
    assert "works again" in told[1]


def test_a_failed_directory_is_left_in_peace_for_a_while(make, tmp_path):
    (tmp_path / "otlp").write_text("")
    sink = make()
    assert sink.send("traces", LINE, 1, 0.0) == RETRY
    (tmp_path / "otlp").unlink()
    assert sink.send("traces", LINE, 1, 0.0) == RETRY


def test_a_full_disk_leaves_no_half_line(make, tmp_path):
    sink = make(max_bytes=10_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, hard))
    try:
        outcomes = [sink.send("traces", LINE, 1, 0.0) for _ in range(3)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcomes == [DELIVERED, DELIVERED, RETRY]
    assert files(sink)[0].read_bytes() == (LINE + b"\n") * 2


def test_a_forked_child_writes_to_its_own_file_and_the_parents_stays_locked(make):
    sink = make()
    sink.send("traces", LINE, 1, 0.0)
    child = os.fork()
    if not child:
        sink.send("metrics", b"{}", 1, 0.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert sink.send("traces", LINE, 1, 0.0) == DELIVERED
    contents = {path.name.split("-")[2]: path.read_bytes() for path in files(sink)}
    assert contents == {str(os.getpid()): (LINE + b"\n") * 2, str(child): b"{}\n"}
    assert otlp_file.remove_oldest(sink.directory, 0) == 2 * len(LINE + b"\n")
