# SPDX-License-Identifier: Apache-2.0
"""Runs one cell of the matrix: a small real service, a collector in one state, from start to end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.sink import Sink

HERE = Path(__file__).parent
SERVICES = HERE / "services"
BIN = Path(sys.executable).parent
STATES = ("up", "refusing", "503", "hanging", "blackhole", "slow")
REQUESTS = 24
PATIENCE = 30.0  # seconds until a service that does not end is killed
# A worker of uWSGI is busy for a moment after its answer has arrived, and ends without any hook if told to stop then.
SETTLE = 0.3
UWSGI_LOOK = 1.0  # seconds between looks of the master of uWSGI at its workers
DROPPED = re.compile(
    r"^(\d+) WARNING .*?otel-openstack: (?:(\d+) spans)?(?:, )?(?:(\d+) points)?"
    r" dropped of (?:(\d+) spans)?(?:, )?(?:(\d+) points)?",
    re.MULTILINE,
)


@dataclass
class Kind:
    """A way to run a service. `port` stands for the port in the arguments of one that serves HTTP."""

    command: list[str]
    serves: bool = False
    workers: int = 0  # that say "ready" before the service is told to stop; 0: it ends by itself
    site: bool = False


def _python(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", *words]


UWSGI = [
    str(BIN / "uwsgi"), "--http-socket", "127.0.0.1:{port}", "--wsgi-file", str(SERVICES / "wsgi.py"),
    "--pythonpath", str(SERVICES), "--master", "--enable-threads", "--thunder-lock", "--processes", "2",
    "--die-on-term", "--worker-reload-mercy", "5",
]  # fmt: skip
GUNICORN = [
    str(BIN / "gunicorn"), "--bind", "127.0.0.1:{port}", "--workers", "2", "--pythonpath", str(SERVICES),
    "-c", str(SERVICES / "gunicorn_conf.py"), "--no-control-socket",
]  # fmt: skip
KINDS: dict[str, Kind] = {
    "uwsgi-lazy": Kind([*UWSGI, "--lazy-apps"], serves=True, site=True),
    "uwsgi-prefork": Kind(UWSGI, serves=True, site=True),
    "gunicorn": Kind([*GUNICORN, "wsgi:application"], serves=True),
    "gunicorn-gthread": Kind([*GUNICORN, "--preload", "--threads", "2", "wsgi:application"], serves=True),
    "oslo-eventlet": Kind(_python(str(SERVICES / "oslo.py"), "eventlet", "2"), workers=2),
    "oslo-threading": Kind(_python(str(SERVICES / "oslo.py"), "threading", "2"), workers=2),
    "oslo-no-fork": Kind(_python(str(SERVICES / "oslo.py"), "threading", "1", "no_fork"), workers=1),
    "oslo-eventlet-one": Kind(_python(str(SERVICES / "oslo.py"), "eventlet", "1"), workers=1),
    "fork": Kind(_python(str(SERVICES / "plain.py"), "fork")),
    "native": Kind(_python(str(SERVICES / "plain.py"), "native")),
    "eventlet-before": Kind(_python(str(SERVICES / "plain.py"), "before")),
    "eventlet-after": Kind(_python(str(SERVICES / "plain.py"), "after")),
}
# With every state of the collector; the others are variants, for which a receiving one is enough.
MATRIX = (
    "uwsgi-lazy",
    "uwsgi-prefork",
    "gunicorn",
    "oslo-eventlet",
    "oslo-threading",
    "fork",
    "native",
    "eventlet-after",
)


class Books(NamedTuple):
    """What a process says of itself at its end."""

    spans: int
    all_spans: int
    points: int
    all_points: int


@dataclass
class Result:
    """What was seen of a run."""

    returncode: int | None
    exit_time: float  # seconds from the signal, or from the end of the service's work, to the end of the process
    worked: Counter[int]  # by pid, from the witness
    gap: float  # the longest hold-up of a green loop, seconds
    log: str
    spans: Counter[int] = field(default_factory=Counter)  # acknowledged by the collector, by pid
    points: Counter[int] = field(default_factory=Counter)
    counted: Counter[int] = field(default_factory=Counter)  # the last value of the SDK's counter, by pid
    instances: dict[int, set[str]] = field(default_factory=dict)
    dropped: dict[int, Books] = field(default_factory=dict)  # by pid, from the line in the log


def run(kind: str, state: str, *, off: bool = False, end: signal.Signals = signal.SIGTERM, **extra: str) -> Result:
    """Run the service of `kind` with a collector in `state`; state "file" has none, but the file exporter."""
    with tempfile.TemporaryDirectory() as directory, Sink("up" if off or state == "file" else state) as sink:
        if state == "file":
            extra |= dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"), "otlp_file")
            extra["OTEL_OPENSTACK_FILE_DIRECTORY"] = f"{directory}/otlp"
        result = _run(KINDS[kind], Path(directory), _environment(KINDS[kind], directory, sink, off, extra), end)
        for path in Path(directory, "otlp").glob("*.jsonl"):
            sink.read(path)
        _count(result, sink)
    for pid, spans, points, all_spans, all_points in DROPPED.findall(result.log):
        result.dropped[int(pid)] = Books(*(int(count or 0) for count in (spans, all_spans, points, all_points)))
    return result


@contextlib.contextmanager
def serving(kind: str, sink: Sink, *options: str, front: tuple[str, ...] = (), **extra: str) -> Iterator[Server]:
    """Run a service that serves HTTP, with more options and variables; by force it ends with the context.

    `front` is a command that starts it, such as the launcher.
    """
    with tempfile.TemporaryDirectory() as directory:
        port = _free_port()
        witness, log = Path(directory, "witness"), Path(directory, "log")
        witness.touch()
        command = [*front, *(word.format(port=port) for word in KINDS[kind].command), *options]
        environment = _environment(KINDS[kind], directory, sink, off=False, extra=extra)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=directory
            )
        server = Server(process, port, witness, log)
        try:
            assert sink.wait(lambda: server.answers() or process.poll() is not None, PATIENCE)
            yield server
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass
class Server:
    """A service under way."""

    process: subprocess.Popen[bytes]
    port: int
    witness: Path
    log: Path

    def get(self, path: str = "/", timeout: float = 10.0) -> int:
        """Return the pid of the worker that answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
            return int(answer.read())

    def answers(self) -> bool:
        try:
            return self.get() > 0
        except OSError:
            return False

    def worked(self) -> Counter[int]:
        """Return how much each process has worked, by its own witness."""
        return self.witnessed("work")

    def witnessed(self, wanted: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for pid, word, number in (line.split() for line in self.witness.read_text().splitlines()):
            found[int(pid)] += int(number) if word == wanted else 0
        return +found

    def end(self, by: signal.Signals = signal.SIGTERM) -> float:
        """Tell the service to stop; return how long it takes, in seconds."""
        begin = time.monotonic()
        self.process.send_signal(by)
        self.process.wait(PATIENCE)
        return time.monotonic() - begin


def _count(result: Result, sink: Sink) -> None:
    for resource, scope, _ in sink.spans():
        if scope != "test":
            continue  # the distribution's own
        result.spans[resource["process.pid"]] += 1
        result.instances.setdefault(resource["process.pid"], set()).add(resource["service.instance.id"])
    for resource, name, point in sink.points():
        pid = resource["process.pid"]
        result.points[pid] += 1
        if name == "test.work":
            result.counted[pid] = max(result.counted[pid], point.as_int)


def _environment(kind: Kind, directory: str, sink: Sink, off: bool, extra: dict[str, str]) -> dict[str, str]:
    path = [str(SERVICES), str(HERE.parent.parent), *([str(HERE / "site")] if kind.site else [])]
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_"))}
    return {
        **clean,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONWARNINGS": "ignore",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_SERVICE_NAME": "test",
        "OTEL_OPENSTACK_DISABLED_PATCHES": "oslo_service.start*,wsgi.*",  # they add spans of their own
        "TEST_WITNESS": f"{directory}/witness",
        **({"TEST_OFF": "1"} if off else {}),
        **extra,
    }


def _run(kind: Kind, directory: Path, environment: dict[str, str], end: signal.Signals) -> Result:
    port = _free_port() if kind.serves else 0
    command = [word.format(port=port) for word in kind.command]
    witness = directory / "witness"
    witness.touch()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=directory
        )
        try:
            told = _use(kind, process, port, witness)
            if told:
                process.send_signal(end)
                begin = time.monotonic()
            process.wait(PATIENCE)
            exit_time = time.monotonic() - (begin if told else _end_of_work(witness))
        except subprocess.TimeoutExpired:
            exit_time = PATIENCE
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    worked: Counter[int] = Counter()
    gap = 0.0
    for pid, word, number in (line.split() for line in witness.read_text().splitlines()):
        if word == "work":
            worked[int(pid)] += int(number)
        if word == "gap":
            gap = max(gap, int(number) / 1000)
    text = (directory / "log").read_text(errors="replace")
    return Result(process.returncode, exit_time, worked, gap, text)


def _use(kind: Kind, process: subprocess.Popen[bytes], port: int, witness: Path) -> bool:
    """Bring the service to the point where it is told to stop; False if it ends by itself."""
    if kind.serves:
        _requests(process, port)
        return True
    if kind.workers:
        end = time.monotonic() + PATIENCE
        while witness.read_text().count(" ready ") < kind.workers and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return True
    return False


def _requests(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                return
            time.sleep(0.05)

    def one(_: int) -> bytes:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(REQUESTS // 2)))
        time.sleep(1.2)  # over an export
        list(pool.map(one, range(REQUESTS // 2)))
    time.sleep(SETTLE)


def _end_of_work(witness: Path) -> float:
    # The witness file is last written when the work ends; its time is the wall clock's.
    return time.monotonic() - max(0.0, time.time() - witness.stat().st_mtime)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
