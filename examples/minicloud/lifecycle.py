# SPDX-License-Identifier: Apache-2.0
"""A cloud from start to stop, as lists of named steps."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import bootstrap
import configs
import processes
import servers
import services
from progress import say, step

if TYPE_CHECKING:
    from layout import Cloud


def up(cloud: Cloud) -> None:
    """Everything that runs, ready to serve. On failure everything is stopped again."""
    cloud.prepare()
    try:
        base(cloud)
        for wave in services.WAVES:
            start_wave(cloud, wave)
            after_wave(cloud, wave)
        with step("nova-compute is up in nova's eyes"):
            bootstrap.inside(cloud, "wait_compute.py")
    except BaseException:
        stop_all(cloud)
        raise


def base(cloud: Cloud) -> None:
    """What the services stand on: servers (RabbitMQ still starting), schemas, addresses."""
    sweep(cloud)
    cloud.choose_ports()
    forget_telemetry(cloud)
    configs.write_all(cloud)
    servers.start(cloud)
    bootstrap.schemas(cloud)
    bootstrap.addresses(cloud)


def sweep(cloud: Cloud) -> None:
    """Stop what an earlier start left behind, also one that was killed."""
    left = [name for name in processes.names(cloud) if processes.session(cloud, name)]
    if left:
        say(f"an earlier start left {', '.join(left)} running")
        stop_all(cloud)
    for name in processes.names(cloud):
        processes.forget(cloud, name)


def start_wave(cloud: Cloud, wave: int) -> None:
    these = [service for service in services.SERVICES if service.wave == wave]
    with step(", ".join(service.name for service in these) + " serve"):
        for service in these:
            services.start(cloud, service)
        for service in these:
            services.wait(cloud, service)


def after_wave(cloud: Cloud, wave: int) -> None:
    if wave == 1:
        bootstrap.catalog(cloud)
        servers.wait_rabbit(cloud)
        services.watch_queues(cloud)
    elif wave == services.WAVES[-1]:
        bootstrap.discover(cloud)


def stop_all(cloud: Cloud) -> list[processes.Stopped]:
    """Services in the reverse order of their start, then the servers; whatever fails, the rest is stopped too."""
    with step("everything stopped"):
        stopped = stop_services(cloud)
        stopped += processes.stop(cloud, servers.NAMES)
        stopped += processes.stop(cloud, processes.names(cloud))  # an unknown one of an older version
    for one in stopped:
        if one.killed:
            say(f"{one.name} did not stop within {processes.GRACE:.0f} s and was killed")
    return stopped


def stop_services(cloud: Cloud) -> list[processes.Stopped]:
    stopped: list[processes.Stopped] = []
    # Daemons before the APIs that they call, so that nothing is cut off in the middle.
    stopped += processes.stop(cloud, [s.name for s in services.SERVICES if not s.module])
    stopped += processes.stop(cloud, [s.name for s in services.SERVICES if s.module and s.wave > 1])
    stopped += processes.stop(cloud, [s.name for s in services.SERVICES if s.module])
    return stopped


def forget_telemetry(cloud: Cloud) -> None:
    """Each start records anew."""
    shutil.rmtree(cloud.otlp, ignore_errors=True)
    cloud.otlp.mkdir(parents=True)
    cloud.page.unlink(missing_ok=True)
