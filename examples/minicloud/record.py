# SPDX-License-Identifier: Apache-2.0
"""One run with witnesses, for the tests: what the cloud and RabbitMQ say beside what the distribution recorded.

Leaves in the cloud's directory otlp/, log/, the same of a short run at level deep as otlp-deep/ and log-deep/, and
state/record.json:
    {"concurrency": "threading" or "eventlet",
     "bare": [{"messages": {kind: count}}, ...],
     "ours": [{"steps": [...], "messages": {...}, "firehose": FILE}, ...],
     "stopped": [{"name", "seconds", "killed"}, ...],
     "no_mercy": [names of services whose workers uWSGI had to kill when there was no distribution],
     "case": name of the case in cases.py, if it is one; without a bare run then,
     "deep": {"steps": [...], ...} of the run at level deep,
     "secrets": {name: value} in the files of the configuration}
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cases
import driver
import lifecycle
import secrets_of
import services
import witness
from layout import PROJECT
from progress import say

if TYPE_CHECKING:
    from layout import Cloud

DRIVES = (1, 1, 8)  # servers at once; only the first two are compared with a bare cloud
BARE_DRIVES = (1, 1)
CASE_DRIVES = (1, 4)
DEEP = {
    "OTEL_OPENSTACK_LEVEL": "deep",
    "OTEL_OPENSTACK_REQUEST_EVENTS": "true",
    "OTEL_LOGS_EXPORTER": "otlp_file",
    "OTEL_OPENSTACK_PATCH_PRESETS": "glance,keystone,neutron,nova,placement",
    "OTEL_OPENSTACK_NOTIFICATION_RULES": "nova",
}
TACH = PROJECT / "examples" / "tach"
PATCH_FILES = ("nova-compute.conf", "tach-api.conf", "tach-compute.conf")
NO_MERCY = "NO MERCY"  # uWSGI's words


def run(cloud: Cloud) -> None:
    if cloud.options.case is not cases.PLAIN:
        _run_case(cloud)
        return
    say("without the distribution")
    cloud.options = replace(cloud.options, instrumented=False)
    bare, _ = _run(cloud, BARE_DRIVES)
    no_mercy = [s.name for s in services.SERVICES if NO_MERCY in (cloud.log / f"{s.name}.log").read_text()]
    say("with the distribution")
    cloud.options = replace(cloud.options, instrumented=True)
    ours, stopped = _run(cloud, DRIVES)
    _write(cloud, bare=bare, ours=ours, stopped=stopped, no_mercy=no_mercy, deep=_deep(cloud))


def _run_case(cloud: Cloud) -> None:
    say(f"with the distribution beside others: {cloud.options.case.name}")
    ours, stopped = _run(cloud, CASE_DRIVES)
    _write(cloud, bare=[], ours=ours, stopped=stopped, no_mercy=[], case=cloud.options.case.name)


def _write(cloud: Cloud, **result: Any) -> None:
    result |= {"concurrency": cloud.options.concurrency, "secrets": secrets_of.configuration(cloud)}
    (cloud.state / "record.json").write_text(json.dumps(result, indent=1))


def _deep(cloud: Cloud) -> dict[str, Any]:
    """One drive at level deep with log records too, kept apart: what is exported then is searched for secrets."""
    say("with the distribution at level deep")
    usual = cloud.options, cloud.otlp, cloud.log
    cloud.otlp, cloud.log = cloud.directory / "otlp-deep", cloud.directory / "log-deep"
    cloud.log.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as trusted:
        files = {"OTEL_OPENSTACK_PATCH_FILES": ",".join(_patch_files(Path(trusted)))}
        cloud.options = replace(cloud.options, environment=DEEP | files)
        done, _ = _run(cloud, (1,), "firehose-deep")
    cloud.options, cloud.otlp, cloud.log = usual
    return done[0]


def _patch_files(directory: Path) -> list[str]:
    """Copy Tach's files to where nobody else can write: a checkout may be anywhere, and then they are refused."""
    for path in TACH.glob("*.*"):
        shutil.copyfile(path, directory / path.name)
        (directory / path.name).chmod(0o600)
    return [str(directory / name) for name in PATCH_FILES]


def _run(
    cloud: Cloud, drives: tuple[int, ...], seen_as: str = "firehose"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    lifecycle.up(cloud)
    done: list[dict[str, Any]] = []
    try:
        for number, servers in enumerate(drives):
            with witness.firehose(cloud, f"{seen_as}-{number}.jsonl") as seen:
                steps = driver.drive(cloud, servers)
            counted = witness.counts(witness.messages(seen))
            done.append({"servers": servers, "steps": steps, "messages": counted, "firehose": str(seen)})
        cases.read(cloud)
    finally:
        stopped = lifecycle.stop_all(cloud)
    return done, [one._asdict() for one in stopped]
