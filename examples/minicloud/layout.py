# SPDX-License-Identifier: Apache-2.0
"""One cloud: its directory, its free ports, its password and its options. Several clouds live side by side."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cases import PLAIN, Case
from progress import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
INSIDE = HERE / "inside"  # scripts that run in the cloud's own venv

HOST = "127.0.0.1"
# Below the kernel's ephemeral range, so that no outgoing connection takes a port between two starts.
PORT_RANGE = (20000, 32000)
PORTS = ("keystone", "placement", "glance", "neutron", "nova", "amqp", "rabbit_dist", "epmd", "mysql", "memcached",
         "others", "oslo_metrics", "otlp_http", "otlp_grpc", "collector_health", "collector_metrics",
         "prometheus_exporter", "statsd", "statsd_admin", "prometheus", "jaeger", "jaeger_otlp",
         "jaeger_grpc")  # fmt: skip
DIRECTORIES = ("etc/plugins/ml2", "log", "pid", "otlp", "state/images", "state/glance-staging",
               "state/nova/instances", "state/nova/lock", "state/neutron/lock")  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How a cloud is started; none of it is stored between starts."""

    concurrency: str = "threading"  # of nova's daemons: threading | eventlet
    instrumented: bool = True  # services under `opentelemetry-instrument`, or bare
    environment: dict[str, str] = field(default_factory=dict)  # more for every service, as OTEL_*
    case: Case = PLAIN  # which other tools measure beside ours
    samples: Path | None = None  # where inside/sampler/ writes what each process holds; None: no sampler


class Cloud:
    """Paths and addresses of the cloud that lives in `directory`."""

    def __init__(self, directory: Path, venv: Path | None = None, options: Options | None = None) -> None:
        self.directory = directory.resolve()
        self.options = options or Options()
        self.venv = (venv or self.directory / "venv").absolute()
        self.etc = self.directory / "etc"
        self.log = self.directory / "log"
        self.pid = self.directory / "pid"
        self.state = self.directory / "state"
        self.otlp = self.directory / "otlp"
        self.page = self.directory / "index.html"
        self.ports: dict[str, int] = {}
        self.password = ""
        self._lock: IO[str] | None = None

    def prepare(self) -> None:
        """Make the directories, lock the cloud against a second caller, read or choose ports and password."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = self._lock or _locked(self.directory / "lock")
        for name in DIRECTORIES:
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.password = _kept(self.state / "password", lambda: secrets.token_hex(12))

    def choose_ports(self) -> None:
        """Keep the ports of the last start as long as they are free: call it when nothing of ours runs."""
        path = self.state / "ports.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        chosen: dict[str, int] = {}
        for name in PORTS:
            port = kept.get(name)
            chosen[name] = port if port and _is_free(port) else _free_port(set(chosen.values()))
        path.write_text(json.dumps(chosen))
        self.ports = chosen

    def known_ports(self) -> None:
        """Take the ports of the running cloud."""
        path = self.state / "ports.json"
        if not path.exists():
            raise Failed(f"no cloud in {self.directory}: start one with `python examples/minicloud up`")
        self.ports = json.loads(path.read_text())

    def bin(self, name: str) -> str:
        return str(self.venv / "bin" / name)

    def url(self, name: str, path: str = "") -> str:
        return f"http://{HOST}:{self.ports[name]}{path}"

    def database(self, name: str) -> str:
        return f"mysql+pymysql://root:{self.password}@{HOST}:{self.ports['mysql']}/{name}?charset=utf8"

    @property
    def transport(self) -> str:
        return f"rabbit://guest:{self.password}@{HOST}:{self.ports['amqp']}/"

    def environment(self) -> dict[str, str]:
        """What every process of the cloud gets; nothing of OTEL_* leaks in from the caller's shell."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OS_", "PYTHONPATH"))}
        samples = {"MINICLOUD_SAMPLES": str(self.options.samples)} if self.options.samples else {}
        return (
            inherited
            | samples
            | {
                "PATH": f"{self.venv / 'bin'}:{os.environ['PATH']}",
                "VIRTUAL_ENV": str(self.venv),
                "MINICLOUD": str(self.directory),
            }
        )

    def credentials(self) -> dict[str, str]:
        """The administrator's, for openstacksdk."""
        return {
            "OS_AUTH_URL": self.url("keystone", "/v3"),
            "OS_USERNAME": "admin",
            "OS_PASSWORD": self.password,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": "RegionOne",
        }

    def telemetry(self, service: str) -> dict[str, str]:
        """Switch the distribution on in one process, exporting to files."""
        return {
            "OTEL_SERVICE_NAME": service,
            "OTEL_TRACES_EXPORTER": "otlp_file",
            "OTEL_METRICS_EXPORTER": "otlp_file",
            "OTEL_OPENSTACK_FILE_DIRECTORY": str(self.otlp),
            # All of this cloud is on one machine; of several, the network is named through which they call each other.
            "OTEL_OPENSTACK_TRUSTED_CALLERS": "loopback",
            "OTEL_OPENSTACK_TRUSTED_ENDPOINTS": "loopback",
            **({} if self.options.case is PLAIN else {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url("others", "/default")}),
            **self.options.environment,
        }


def _locked(path: Path) -> IO[str]:
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed(
            f"another command is using the cloud in {path.parent}: wait for it, or give another --dir"
        ) from None
    return handle


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(make())
    return path.read_text()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    for _ in range(1000):
        port = random.randrange(*PORT_RANGE)  # a port is no secret
        if port not in taken and _is_free(port):
            return port
    raise Failed(f"no free TCP port between {PORT_RANGE[0]} and {PORT_RANGE[1]} on {HOST}")
