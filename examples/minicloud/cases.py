# SPDX-License-Identifier: Apache-2.0
"""Other tools that measure beside ours, as cases: the packages and the configuration with which each runs.

    python examples/minicloud record --case osprofiler --dir DIRECTORY

What they export goes to a witness (inside/others.py), each under a path of its own; it writes down what it gets.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layout import Cloud

Section = dict[str, str]
Config = dict[str, Section]  # section -> option -> value

WITNESS = "others"
DAEMON = "oslo-metrics"
SOCKET = "state/oslo-metrics.sock"  # from the cloud's directory, in which its processes run: a path has to be short
KEY = "minicloud"


@dataclass(frozen=True)
class Case:
    """One way in which somebody else's telemetry is there too."""

    name: str
    packages: tuple[str, ...] = ()  # installed after ours, into a venv of their own
    sections: Config = field(default_factory=dict)  # for the configuration of every service; {others} is the witness
    filtered: bool = False  # oslo.middleware's TracingMiddleware in the pipelines
    profiled: bool = False  # the client asks osprofiler for a trace of everything
    daemon: bool = False  # oslo.metrics' daemon runs


PEER = "0.13.1"
PEERS = tuple(
    f"opentelemetry-instrumentation-{name}=={PEER}"
    for name in ("keystoneauth1", "keystonemiddleware", "openstacksdk", "oslo-log", "oslo-messaging", "oslo-service",
                 "taskflow")
)  # fmt: skip

CONTRIB_VERSION = "0.66b1"
# What `opentelemetry-bootstrap -a requirements` asks for in the cloud's venv.
CONTRIB = tuple(
    f"opentelemetry-instrumentation-{name}=={CONTRIB_VERSION}"
    for name in ("asyncio", "click", "dbapi", "exceptions", "flask", "grpc", "jinja2", "logging", "pymemcache",
                 "pymysql", "redis", "requests", "sqlalchemy", "sqlite3", "system-metrics", "threading", "urllib",
                 "urllib3", "wsgi")
)  # fmt: skip
DISTRO = (f"opentelemetry-distro=={CONTRIB_VERSION}",)

MESSAGING: Config = {
    "oslo_messaging_tracing": {"tracing_enabled": "true", "otel_exporter_otlp_endpoint": "{others}/oslo.messaging"}
}
MIDDLEWARE: Config = {
    "oslo_middleware_tracing": {
        "enabled": "true", "service_name": "of-oslo-middleware", "otlp_endpoint": "{others}/oslo.middleware"
    }
}  # fmt: skip
PROFILER: Config = {
    "profiler": {
        "enabled": "true", "trace_sqlalchemy": "true", "trace_requests": "true", "hmac_keys": KEY,
        "connection_string": "otlp://{others-address}/osprofiler",
    }
}  # fmt: skip
METRICS: Config = {"oslo_messaging_metrics": {"metrics_enabled": "true", "metrics_socket_file": SOCKET}}

PLAIN = Case("plain")
ALONE = (
    Case("oslo-messaging", sections=MESSAGING),
    Case("oslo-middleware", sections=MIDDLEWARE, filtered=True),
    Case("osprofiler", sections=PROFILER, profiled=True),
    Case("oslo-metrics", sections=METRICS, daemon=True),
    Case("contrib", packages=CONTRIB),
    Case("peers", packages=PEERS),
    Case("distro", packages=DISTRO),
)
TOGETHER = Case(
    "together",
    packages=(*CONTRIB, *DISTRO, *PEERS),
    sections=MESSAGING | MIDDLEWARE | PROFILER | METRICS,
    filtered=True,
    profiled=True,
    daemon=True,
)
BY_NAME = {case.name: case for case in (PLAIN, *ALONE, TOGETHER)}

SERVICES = ("keystone.conf", "placement.conf", "glance-api.conf", "nova.conf", "neutron.conf")
FILTER = "\n[filter:others_tracing]\npaste.filter_factory = oslo_middleware:TracingMiddleware.factory\n"


def config(cloud: Cloud) -> dict[str, Config]:
    """What the case adds to the services' configuration files."""
    sections = {
        section: {option: _filled(cloud, value) for option, value in options.items()}
        for section, options in cloud.options.case.sections.items()
    }
    return dict.fromkeys(SERVICES, sections)


def pipelines(cloud: Cloud, paste: str) -> str:
    """Put oslo.middleware's filter behind the proxy's in every pipeline of a paste file, where the case has it."""
    if not cloud.options.case.filtered:
        return paste
    lines = [
        line if line.startswith("[") else line.replace(" http_proxy_to_wsgi ", " http_proxy_to_wsgi others_tracing ")
        for line in paste.splitlines()
    ]
    return "\n".join(lines) + FILTER


def client(cloud: Cloud) -> dict[str, str]:
    """What the client's environment needs."""
    return {"MINICLOUD_PROFILER_KEY": KEY} if cloud.options.case.profiled else {}


def start(cloud: Cloud) -> None:
    """Start the witness and the other tools' own daemons; nothing where there are no others."""
    import processes
    import servers
    from layout import INSIDE

    if cloud.options.case is PLAIN:
        return
    port = cloud.ports["others"]
    _seen(cloud).unlink(missing_ok=True)
    command = [cloud.bin("python"), str(INSIDE / "others.py"), str(port), str(_seen(cloud))]
    processes.start(cloud, WITNESS, command, cloud.environment())
    processes.wait_ready(cloud, WITNESS, lambda: servers.listens(port), 30)
    if cloud.options.case.daemon:
        conf, port = cloud.etc / "oslo-metrics.conf", cloud.ports["oslo_metrics"]
        conf.write_text(
            f"[oslo_metrics]\nmetrics_socket_file = {SOCKET}\nprometheus_host = 127.0.0.1\nprometheus_port = {port}\n"
        )
        processes.start(cloud, DAEMON, [cloud.bin(DAEMON), "--config-file", str(conf)], cloud.environment())
        processes.wait_ready(cloud, DAEMON, lambda: servers.listens(port), 30)


def read(cloud: Cloud) -> None:
    """Keep what the daemon of oslo.metrics has counted."""
    if cloud.options.case.daemon:
        with urllib.request.urlopen(cloud.url("oslo_metrics", "/metrics"), timeout=10) as answer:
            (cloud.state / "oslo-metrics.txt").write_bytes(answer.read())


def _seen(cloud: Cloud) -> Path:
    return cloud.state / "others.jsonl"


def _filled(cloud: Cloud, value: str) -> str:
    address = f"127.0.0.1:{cloud.ports['others']}"
    return value.replace("{others}", f"http://{address}").replace("{others-address}", address)
