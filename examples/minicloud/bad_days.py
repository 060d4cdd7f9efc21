# SPDX-License-Identifier: Apache-2.0
"""A server create on each of several bad days: what the cloud or its telemetry stands on fails and comes back.

Spans go to a collector, a process of its own, metrics to files on a small disk. Leaves in the cloud's directory: otlp/,
log/, state/collector.jsonl (a line a span that the collector took, see inside/others.py) and state/bad-days.json:
    {"concurrency", "bare": [{"name", "steps": [...]}, ...], "days": [...],
     "stopped": [{"name", "seconds", "killed"}, ...]}
`bare` is what the same cloud does without the distribution, on those of the days that are bad for a cloud without one.
With --bare all days are without it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import driver
import lifecycle
import processes
import servers
import services
from layout import INSIDE
from progress import Failed, say, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layout import Cloud

MOUNTED = "MINICLOUD_DISK"  # set where the small disk may be mounted: in a mount namespace of our own
DISK_MB = 32
QUEUE_BYTES = "64k"  # so small that what happens while the collector is away does not fit
COLLECTOR = "collector"


def run(cloud: Cloud) -> None:
    if not os.environ.get(MOUNTED):
        _again_in_a_namespace()
    cloud.prepare()
    disk = _mount(cloud)
    try:
        lifecycle.base(cloud)
        bare = _bare(cloud, disk) if cloud.options.instrumented else []
        cloud.options = replace(cloud.options, environment=_telemetry(cloud, disk))
        (cloud.state / "collector.jsonl").unlink(missing_ok=True)
        _start_collector(cloud)
        lifecycle.serve(cloud)
        done = [_day(cloud, disk, day) for day in DAYS]
    finally:
        stopped = lifecycle.stop_services(cloud)
        lifecycle.stop_all(cloud)
        shutil.copytree(disk, cloud.otlp, dirs_exist_ok=True)
    result = {"concurrency": cloud.options.concurrency, "bare": bare, "days": done}
    result["stopped"] = [one._asdict() for one in stopped]
    (cloud.state / "bad-days.json").write_text(json.dumps(result, indent=1))


def _bare(cloud: Cloud, disk: Path) -> list[dict[str, Any]]:
    """The days without the distribution; the servers below, and what the client made, stay for those with it."""
    ours = cloud.options
    cloud.options = replace(ours, instrumented=False)
    began = time.monotonic()
    say("without the distribution")
    lifecycle.serve(cloud)
    done = [_day(cloud, disk, day) for day in DAYS if day.bare]
    processes.stop(cloud, [services.WATCH, *services.BY_NAME])  # at once: nothing is lost that would be missed
    cloud.options = ours
    say(f"the days without the distribution took {time.monotonic() - began:.0f} s")
    return done


def _day(cloud: Cloud, disk: Path, day: Day) -> dict[str, Any]:
    say(day.name)
    day.happens(cloud, disk)
    return {"name": day.name, "steps": driver.drive(cloud, 1)}


def _again_in_a_namespace() -> None:
    """Run this command anew where a disk can be mounted that nobody else sees; does not return."""
    command = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        raise Failed(f"a small disk has to be mounted, and `{' '.join(command)}` is not allowed here")
    os.execvpe(command[0], [*command, sys.executable, *sys.argv], os.environ | {MOUNTED: "1"})


def _mount(cloud: Cloud) -> Path:
    disk = cloud.directory / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(disk)], check=True)
    return disk


def _telemetry(cloud: Cloud, disk: Path) -> dict[str, str]:
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": cloud.url("others"),
        "OTEL_OPENSTACK_FILE_DIRECTORY": str(disk),
        "OTEL_OPENSTACK_SPAN_QUEUE_BYTES": QUEUE_BYTES,
    }


def _start_collector(cloud: Cloud) -> None:
    port = cloud.ports["others"]
    command = [cloud.bin("python"), str(INSIDE / "others.py"), str(port), str(cloud.state / "collector.jsonl")]
    processes.start(cloud, COLLECTOR, command, cloud.environment())
    processes.wait_ready(cloud, COLLECTOR, lambda: servers.listens(port), 30)


def _nothing(_cloud: Cloud, _disk: Path) -> None:
    """All is well."""


def _kill_collector(cloud: Cloud, _disk: Path) -> None:
    os.kill(processes.leader(cloud, COLLECTOR), signal.SIGKILL)


def _restart_rabbit(cloud: Cloud, _disk: Path) -> None:
    with step("RabbitMQ stopped and started, and every daemon is back"):
        servers.restart_rabbit(cloud)
        processes.stop(cloud, [services.WATCH])
        services.watch_queues(cloud)
        for service in services.SERVICES:
            services.wait(cloud, service)


def _restart_mariadb(cloud: Cloud, _disk: Path) -> None:
    with step("MariaDB stopped and started"):
        servers.restart_mariadb(cloud)


def _fill_disk(_cloud: Cloud, disk: Path) -> None:
    piece = bytes(2**16)
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(piece):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _all_well(cloud: Cloud, disk: Path) -> None:
    (disk / "ballast").unlink()
    _start_collector(cloud)


class Day(NamedTuple):
    """What fails, and whether that is bad for a cloud without telemetry too."""

    name: str
    happens: Callable[[Cloud, Path], None]
    bare: bool = False


DAYS = (
    Day("all is well", _nothing),
    Day("the collector is killed", _kill_collector),
    Day("RabbitMQ restarts", _restart_rabbit, bare=True),
    Day("MariaDB restarts", _restart_mariadb, bare=True),
    Day("the disk is full", _fill_disk),
    Day("all is well again", _all_well),
)
