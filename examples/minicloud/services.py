# SPDX-License-Identifier: Apache-2.0
"""The OpenStack services as one table, and how one of them is started: unchanged, behind the launcher."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, NamedTuple

import processes
import servers
from layout import HOST, INSIDE

if TYPE_CHECKING:
    from layout import Cloud

READY_WITHIN = 90.0  # seconds
WATCH = "queue-watch"
SAMPLER = INSIDE / "sampler"

# What the deployment tools give uWSGI; nothing is added for the sake of telemetry.
UWSGI = (
    "--master", "--processes", "1", "--threads", "4", "--enable-threads", "--lazy-apps", "--die-on-term", "--need-app",
    "--buffer-size", "65535", "--add-header", "Connection: close", "--thunder-lock",
    "--worker-reload-mercy", "5", "--reload-mercy", "5",
)  # fmt: skip


class Service(NamedTuple):
    """One process of the cloud: `module` for a WSGI application under uWSGI, else `command`."""

    name: str
    wave: int  # services of one wave start together; they stop in the reverse order
    module: str = ""
    port: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    queue: str = ""  # a daemon serves when its queue has a consumer; WSGI applications are asked over HTTP


# {etc} and {inside} stand for directories.
NEUTRON_FILES = ("--config-file", "{etc}/neutron.conf", "--config-file", "{etc}/plugins/ml2/ml2_conf.ini")
NOVA_FILES = ("--config-file", "{etc}/nova.conf")

SERVICES: tuple[Service, ...] = (
    Service("keystone", 1, module="keystone.wsgi.api:application", port="keystone",
            environment=(("OS_KEYSTONE_CONFIG_DIR", "{etc}"),)),
    Service("placement", 1, module="placement.wsgi.api:application", port="placement",
            environment=(("OS_PLACEMENT_CONFIG_DIR", "{etc}"),)),
    Service("glance-api", 1, module="glance.wsgi.api:application", port="glance",
            environment=(("OS_GLANCE_CONFIG_DIR", "{etc}"),)),
    # nova's and neutron's processes look others up in the catalog when they start, so it must exist by then.
    Service("nova-conductor", 2, command=("nova-conductor", *NOVA_FILES), queue="conductor"),
    Service("nova-api", 2, module="nova.wsgi.osapi_compute:application", port="nova",
            environment=(("OS_NOVA_CONFIG_DIR", "{etc}"),)),
    Service("neutron-api", 2, module="neutron.wsgi.api:application", port="neutron",
            environment=(("OS_NEUTRON_CONFIG_DIR", "{etc}"),
                         ("OS_NEUTRON_CONFIG_FILES", "neutron.conf;plugins/ml2/ml2_conf.ini"))),
    Service("neutron-rpc-server", 2, command=("neutron-rpc-server", *NEUTRON_FILES), queue="q-plugin"),
    Service("nova-scheduler", 2, command=("nova-scheduler", *NOVA_FILES), queue="scheduler"),
    Service("nova-compute", 3, command=("nova-compute", *NOVA_FILES), queue="compute"),
    Service("neutron-agent", 3, command=("python", "{inside}/agent.py", *NEUTRON_FILES),
            queue="q-agent-notifier-port-update"),
)  # fmt: skip
BY_NAME = {service.name: service for service in SERVICES}
WAVES = tuple(sorted({service.wave for service in SERVICES}))


def start(cloud: Cloud, service: Service) -> float:
    """Start it; returns the time (monotonic) of the start."""
    launcher = ["opentelemetry-instrument"] if cloud.options.instrumented else []
    environment = cloud.environment() | {name: _fill(cloud, value) for name, value in service.environment}
    if cloud.options.instrumented:
        environment |= cloud.telemetry(service.name)
    began = time.monotonic()
    processes.start(cloud, service.name, [*launcher, *command(cloud, service)], environment)
    return began


def command(cloud: Cloud, service: Service) -> list[str]:
    if not service.module:
        sampled = ["python", str(SAMPLER / "sampled.py")] if cloud.options.samples else []
        return [*sampled, *(_fill(cloud, word) for word in service.command)]
    sampled = ["--pythonpath", str(SAMPLER), "--import", "minicloud_sampler"] if cloud.options.samples else []
    address = f"{HOST}:{cloud.ports[service.port]}"
    return ["uwsgi", "--http-socket", address, "--module", service.module, *UWSGI, *sampled,
            "--procname-prefix-spaced", service.name]  # fmt: skip


def wait(cloud: Cloud, service: Service) -> float:
    """Return the time (monotonic) at which it served; Failed names it and shows its log."""
    if service.module:
        processes.wait_ready(cloud, service.name, lambda: _answers(cloud.ports[service.port]), READY_WITHIN)
        return time.monotonic()
    processes.wait_ready(cloud, service.name, lambda: service.queue in _served(cloud), READY_WITHIN)
    return _served(cloud)[service.queue]


def watch_queues(cloud: Cloud) -> None:
    """Start noting when the daemons' queues get their consumers; needs RabbitMQ, and no daemon running yet."""
    queues = [service.queue for service in SERVICES if service.queue]
    address = f"{HOST}:{cloud.ports['amqp']}"
    processes.start(
        cloud, WATCH, ["python", str(INSIDE / "consumers.py"), address, *queues], servers.rabbit_environment(cloud)
    )


def _served(cloud: Cloud) -> dict[str, float]:
    lines = (cloud.log / f"{WATCH}.log").read_text().split("\n")[:-1]
    return {queue: float(seconds) for queue, seconds in (line.split(" ", 1) for line in lines)}


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def _fill(cloud: Cloud, word: str) -> str:
    return word.replace("{etc}", str(cloud.etc)).replace("{inside}", str(INSIDE))
