# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack demo`: the example service under the distribution, used once, and what it told of itself."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from otel_openstack.analysis import otlp
from otel_openstack.cli import main as commands
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.reading import open_recording, requests
from otel_openstack.cli.terminal import clean, terminal

PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (PACKAGE / "examples" / "service", PACKAGE.parent / "examples" / "service")
"""In an installed package, and in a checkout."""
NEEDED = ("cotyledon", "flask", "futurist", "oslo_db", "oslo_log", "oslo_messaging", "oslo_service", "sqlalchemy")
MARK = ".otel-openstack-demo"
START = 40.0
"""Seconds that the service may take to start, and a backup to be made."""
STOP = 15.0
LAUNCH = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
PROJECTS = ("blue", "green", "red")

ENVIRONMENT = {
    "OTEL_TRACES_EXPORTER": "otlp_file",
    "OTEL_METRICS_EXPORTER": "otlp_file",
    "OTEL_LOGS_EXPORTER": "otlp_file",
    "OTEL_OPENSTACK_LEVEL": "detailed",
    "OTEL_OPENSTACK_METRIC_DIMENSIONS": "project=top:20",
    "OTEL_SERVICE_NAME": "backups",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "ignore",
}


class Answer(NamedTuple):
    """Of the service's API."""

    status: int
    request_id: str
    body: Any


class Api:
    """Asks the service, directly: proxies of the environment are for other things."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, project: str, body: Any = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Project-Id": project, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)  # noqa: S310 (our own URL)
        try:
            response = self._opener.open(request, timeout=START)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read()
        known = response.headers.get("X-OpenStack-Request-Id", "")
        return Answer(response.status, known, json.loads(text) if text.startswith(b"{") else None)


class Step(NamedTuple):
    """A request that is shown."""

    title: str
    request_id: str


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start a small service (API, RPC worker, database, periodic task) under the distribution, use it, stop it, and "
        "show what it told: traces, metrics, events, and a page. No cloud, broker or collector is needed; it takes "
        "about ten seconds and listens on 127.0.0.1 only."
    )
    parser.add_argument(
        "--directory", metavar="DIR", type=Path, default=Path("otel-openstack-demo"),
        help="where what it leaves is put; a former demo there is replaced (default: %(default)s)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    example = find()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the service ends too
    place = _prepare(options.directory)
    with _service(example, place) as url:
        steps = drive(Api(url))
    _show(place, steps)
    _say(f"the service's code: {example}")
    _say(f"recorded: {place / 'otlp'} (OTLP JSON lines); its log: {place / 'backups.log'}")
    _say(f"the page: {place / 'index.html'}")
    _say(f"go on: otel-openstack trace --list {place / 'otlp'}")
    return 0


def find() -> Path:
    """Return where the example is; raise CommandError where it cannot run."""
    missing = [name.replace("_", ".") for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(f"the demo needs {', '.join(missing)}: pip install 'otel-openstack[demo]'")
    found = next((place for place in PLACES if (place / "backups").is_dir()), None)
    if found is None:
        raise CommandError("the example is not in this installation: install the wheel, or run it from a checkout")
    return found


def _prepare(directory: Path) -> Path:
    """Make the directory, empty but for the configuration."""
    place = directory.absolute()
    try:
        if place.exists() and any(place.iterdir()) and not (place / MARK).exists():
            raise CommandError(f"{directory} holds something else: give another --directory DIR")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / MARK).touch()
    except OSError as error:
        raise CommandError(
            f"cannot use {directory} ({error.strerror or error}): give another --directory DIR"
        ) from error
    return place


@contextlib.contextmanager
def _service(example: Path, place: Path) -> Iterator[str]:
    """Run the service, and yield where its API is."""
    settings = (example / "backups.conf").read_text(encoding="utf-8")
    (place / "backups.conf").write_text(settings.replace("state_path = .", f"state_path = {place}"), encoding="utf-8")
    with (place / "backups.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (nothing of it comes from outside)
            [sys.executable, "-c", LAUNCH, sys.executable, "-m", "backups", "--config-file", place / "backups.conf"],
            env=_environment(example, place), cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield _address(process, place)
        finally:
            _stop(process)


def _environment(example: Path, place: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    path = os.pathsep.join(filter(None, (str(example), kept.get("PYTHONPATH"))))
    return {**kept, **ENVIRONMENT, "OTEL_OPENSTACK_FILE_DIRECTORY": str(place / "otlp"), "PYTHONPATH": path}


def _address(process: subprocess.Popen[bytes], place: Path) -> str:
    _say("the service starts")
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            return (place / "address").read_text(encoding="utf-8")
        time.sleep(0.05)
    lines = (place / "backups.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise CommandError(
        f"the service did not start: {lines[-1] if lines else 'no reason told'}; see {place}/backups.log"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it as an operator would; what it measured last leaves then."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session: nothing else is in it
        process.wait()


def drive(api: Api) -> list[Step]:
    """Use the service: backups for three projects, one of which fails, and a restore that is slow."""
    _say("backups for three projects, one that does not fit, a slow restore, and one of what is not there")
    brief = _create(api, "blue", "full", 4, keep=0)
    made = [_create(api, project, kind, 16) for project in PROJECTS for kind in ("full", "incremental")]
    broken = _create(api, "red", "full", 100)
    done = _wait(api, [*made, broken])
    first = made[0].body["id"]
    slow = api.ask("POST", f"/v1/backups/{first}/restore", "blue")
    failed = api.ask("POST", f"/v1/backups/{broken.body['id']}/restore", "red")
    missing = api.ask("GET", "/v1/backups/nothing", "green")
    told = [answer.status for answer in (slow, failed, missing)]
    if told != [200, 500, 404] or sorted(done) != ["available"] * len(made) + ["error"]:
        raise CommandError(f"the service does not work as it should: it answered {told}, and backups are {done}")
    _await(lambda: brief.body["id"] not in _states(api), "a backup that was to be kept for no time is still there")
    return [
        Step("a backup: API, message, worker, threads, database", made[0].request_id),
        Step("a backup that does not fit: the worker fails when the API has long answered", broken.request_id),
        Step("a slow restore: the API waits for the worker", slow.request_id),
        Step("a restore of what is not complete: the worker's error is the API's", failed.request_id),
    ]


def _create(api: Api, project: str, kind: str, size: int, keep: int = 3600) -> Answer:
    answer = api.ask("POST", "/v1/backups", project, {"kind": kind, "size": size, "keep": keep})
    if answer.status != 202:  # noqa: PLR2004 (accepted)
        raise CommandError(f"the service answered {answer.status} to a new backup")
    return answer


def _wait(api: Api, made: list[Answer]) -> list[str]:
    """Wait until these backups are made; returns their states."""
    wanted = [answer.body["id"] for answer in made]

    def done() -> bool:
        states = _states(api)
        return all(states.get(name, "creating") != "creating" for name in wanted)

    _await(done, "backups are still being made")
    states = _states(api)
    return [states[name] for name in wanted]


def _states(api: Api) -> dict[str, str]:
    listed = [backup for name in PROJECTS for backup in api.ask("GET", "/v1/backups", name).body["backups"]]
    return {backup["id"]: backup["status"] for backup in listed}


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + START
    while not condition():
        if time.monotonic() > end:
            raise CommandError(f"after {START:g} s {otherwise}")
        time.sleep(0.1)


def _show(place: Path, steps: list[Step]) -> None:
    screen, recorded = terminal(), str(place / "otlp")
    for step in steps:
        print(f"\n{screen.style(step.title, 'head')}\n")
        _command("trace", "--request-id", step.request_id, recorded)
    print(f"\n{screen.style('metrics of its own, by project, and those of every service', 'head')}\n")
    for name in ("backups.", "http.server.request.duration", "rpc.server.call.duration"):
        _command("metrics", "--by-attributes", "--metric", name, recorded)
    print(f"{screen.style('events', 'head')}\n")
    for name, number in sorted(events(place / "otlp").items()):
        print(f"  {number:3}  {clean(name)}")
    print()
    _command("page", recorded, "-o", str(place / "index.html"))


def events(path: Path) -> Counter[str]:
    """Return how many log events of each name a recording has."""
    found: Counter[str] = Counter()
    for request in requests(open_recording(path)):
        for group in otlp.items(request.body, "resourceLogs", "resource_logs"):
            for scoped in otlp.items(group, "scopeLogs", "scope_logs"):
                records = otlp.items(scoped, "logRecords", "log_records")
                found.update(otlp.text(otlp.field(record, "eventName", "event_name")) for record in records)
    return found


def _command(*words: str) -> None:
    if commands.main(words):
        raise CommandError(f"`otel-openstack {' '.join(words)}` failed")


def _say(text: str) -> None:
    print(terminal().style("demo: ", "dim") + text, flush=True)
