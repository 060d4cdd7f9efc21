# SPDX-License-Identifier: Apache-2.0
"""A cloud from start to stop, as lists of named steps."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import bootstrap
import cases
import configs
import processes
import servers
import services
from progress import say, step

if TYPE_CHECKING:
    from collections.abc import Collection

    from layout import Cloud

SLOW_STOP = 5.0  # seconds; worth a line


def up(cloud: Cloud) -> None:
    """Everything that runs, ready to serve. On failure everything is stopped again."""
    cloud.prepare()
    try:
        base(cloud)
        serve(cloud)
    except BaseException:
        stop_all(cloud)
        raise


def base(cloud: Cloud) -> None:
    """What the services stand on: servers (RabbitMQ still starting), schemas, addresses."""
    sweep(cloud)
    cloud.choose_ports()
    forget_telemetry(cloud)
    configs.write_all(cloud)
    cases.start(cloud)
    servers.start(cloud)
    bootstrap.schemas(cloud)
    bootstrap.addresses(cloud)


def serve(cloud: Cloud) -> None:
    """All services, on what `base` started."""
    for wave in services.WAVES:
        start_wave(cloud, wave)
        after_wave(cloud, wave)
    with step("nova-compute is up in nova's eyes"):
        bootstrap.inside(cloud, "wait_compute.py")


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


def stop_all(cloud: Cloud, keep: Collection[str] = ()) -> list[processes.Stopped]:
    """Services in the reverse order of their start, then the servers, then all but `keep`.

    Whatever fails, the rest is stopped too.
    """
    with step("everything stopped"):
        stopped = stop_services(cloud)
        stopped += processes.stop(cloud, servers.NAMES)
        stopped += processes.stop(
            cloud, [name for name in processes.names(cloud) if name not in keep]
        )  # of an older version too
    for one in stopped:
        if one.killed:
            say(f"{one.name} did not stop within {processes.GRACE:.0f} s and was killed")
        elif one.seconds > SLOW_STOP:
            say(f"{one.name} took {one.seconds:.1f} s to stop")
    return stopped


def stop_services(cloud: Cloud) -> list[processes.Stopped]:
    stopped: list[processes.Stopped] = []
    for together in _stop_waves():
        stopped += processes.stop(cloud, [service.name for service in together])
    return stopped


def stop_order() -> list[services.Service]:
    return [service for together in _stop_waves() for service in together]


def _stop_waves() -> list[list[services.Service]]:
    """Callers before those whom they call, so that nothing is cut off: nova-compute finishes its tasks."""
    daemons = [service for service in services.SERVICES if not service.module]
    apis = [service for service in services.SERVICES if service.module]
    last = services.WAVES[-1]
    return [
        [service for service in daemons if service.wave == last],
        [service for service in daemons if service.wave < last],
        [service for service in apis if service.wave > 1],
        [service for service in apis if service.wave == 1],
    ]


def forget_telemetry(cloud: Cloud) -> None:
    """Each start records anew."""
    shutil.rmtree(cloud.otlp, ignore_errors=True)
    cloud.otlp.mkdir(parents=True)
    cloud.page.unlink(missing_ok=True)
