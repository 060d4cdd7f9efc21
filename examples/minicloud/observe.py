# SPDX-License-Identifier: Apache-2.0
"""`make demo OBSERVE=1`: the collector between the cloud and statsd, Prometheus, Jaeger and files, all of them real."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import answers
import apt
import processes
import servers
from layout import HOST, PROJECT
from progress import Failed, say, step

if TYPE_CHECKING:
    from layout import Cloud

COLLECTOR = PROJECT / "collector"
CACHE = PROJECT / ".cache" / "collector"
PEERS = COLLECTOR / "peers"
STATSD = CACHE / "peers" / "statsd" / "node_modules" / "statsd" / "stats.js"
NEEDED = (
    ("go", "the collector and Jaeger are built with Go 1.26 or later, https://go.dev/doc/install"),
    ("npm", "statsd comes from npm and runs on Node.js"),
)
NAMES = ("collector", "statsd", "prometheus", "jaeger")  # in the order in which they stop
FILES = ("standalone.yaml", "to-statsd.yaml", "to-prometheus.yaml", "to-files.yaml", "to-jaeger.yaml")
DECISION = 2  # seconds in which a trace is put together; all of them are kept


def ready(cloud: Cloud) -> None:
    """Install and build what has to run beside the cloud; Failed says what is missing."""
    for program, what in NEEDED:
        if not shutil.which(program):
            raise Failed(f"OBSERVE=1 needs `{program}`, which is not in PATH: {what}")
    apt.ensure([] if shutil.which("prometheus") else ["prometheus"], cloud.directory / "apt.log")
    with step("collector, Jaeger and statsd are there (minutes the first time)"):
        _run([sys.executable, str(COLLECTOR / "build.py")])
        _run([sys.executable, str(PEERS / "build.py"), "jaeger", "statsd"])


def telemetry(cloud: Cloud) -> dict[str, str]:
    """What every process of the cloud gets: OTLP to the collector instead of files."""
    return {
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": cloud.url("otlp_http"),
    }


def start(cloud: Cloud) -> None:
    """Start all four, the collector last; each answers on return."""
    with step("statsd, Prometheus, Jaeger and the collector answer"):
        _start_statsd(cloud)
        _start_prometheus(cloud)
        _start_jaeger(cloud)
        _start_collector(cloud)


def _start_statsd(cloud: Cloud) -> None:
    path = cloud.etc / "statsd.js"
    # By TCP, because a busy machine loses datagrams, and the numbers of all are compared.
    config = {
        "server": "./servers/tcp", "address": HOST, "port": cloud.ports["statsd"],
        "mgmt_address": HOST, "mgmt_port": cloud.ports["statsd_admin"],
        "flushInterval": 1000, "backends": [str(PEERS / "statsd" / "backend.js")], "file": str(answers.flushes(cloud)),
    }  # fmt: skip
    answers.flushes(cloud).unlink(missing_ok=True)
    path.write_text(json.dumps(config))
    processes.start(cloud, "statsd", ["node", str(STATSD), str(path)], cloud.environment())
    processes.wait_ready(cloud, "statsd", lambda: servers.listens(cloud.ports["statsd_admin"]), 30)


def _start_prometheus(cloud: Cloud) -> None:
    data, path = cloud.state / "prometheus", cloud.etc / "prometheus.yml"
    shutil.rmtree(data, ignore_errors=True)
    shipped = (PROJECT / "deploy" / "prometheus" / "prometheus.yaml").read_text()
    for there, here in (
        (f"{HOST}:9464", f"{HOST}:{cloud.ports['prometheus_exporter']}"),
        (f"{HOST}:8888", f"{HOST}:{cloud.ports['collector_metrics']}"),
        ("/etc/prometheus/otel", str(PROJECT / "deploy" / "prometheus" / "otel")),
        ("_interval: 15s", "_interval: 2s"),
    ):
        shipped = shipped.replace(there, here)
    path.write_text(shipped)
    command = [
        "prometheus", f"--config.file={path}", f"--storage.tsdb.path={data}", "--log.level=warn",
        f"--web.listen-address={HOST}:{cloud.ports['prometheus']}",
    ]  # fmt: skip
    processes.start(cloud, "prometheus", command, cloud.environment())
    processes.wait_ready(cloud, "prometheus", lambda: servers.listens(cloud.ports["prometheus"]), 30)


def _start_jaeger(cloud: Cloud) -> None:
    environment = cloud.environment() | {
        "JAEGER_PORT": str(cloud.ports["jaeger"]), "JAEGER_OTLP_PORT": str(cloud.ports["jaeger_otlp"]),
        "JAEGER_GRPC_PORT": str(cloud.ports["jaeger_grpc"]),
    }  # fmt: skip
    command = [str(CACHE / "peers" / "jaeger"), "--config", str(PEERS / "jaeger" / "jaeger.yaml")]
    processes.start(cloud, "jaeger", command, environment)
    processes.wait_ready(cloud, "jaeger", lambda: servers.listens(cloud.ports["jaeger"]), 60)


def _start_collector(cloud: Cloud) -> None:
    ports = cloud.ports
    environment = cloud.environment() | {
        "OTEL_OPENSTACK_OTLP_HTTP": f"{HOST}:{ports['otlp_http']}",
        "OTEL_OPENSTACK_OTLP_GRPC": f"{HOST}:{ports['otlp_grpc']}",
        "OTEL_OPENSTACK_OTLP_SOCKET": "state/otlp.sock",  # from the cloud's directory: a path has to be short
        "OTEL_OPENSTACK_HEALTH": f"{HOST}:{ports['collector_health']}",
        "OTEL_OPENSTACK_COLLECTOR_METRICS_PORT": str(ports["collector_metrics"]),
        "OTEL_OPENSTACK_STATSD": f"{HOST}:{ports['statsd']}",
        "OTEL_OPENSTACK_STATSD_TRANSPORT": "tcp",
        "OTEL_OPENSTACK_STATSD_INTERVAL": "1s",
        "OTEL_OPENSTACK_PROMETHEUS": f"{HOST}:{ports['prometheus_exporter']}",
        "OTEL_OPENSTACK_JAEGER": f"http://{HOST}:{ports['jaeger_otlp']}",
        "OTEL_OPENSTACK_FILES": str(cloud.otlp),
        "OTEL_OPENSTACK_TRACES_PERCENT": "100",
        "OTEL_OPENSTACK_DECISION_WAIT": f"{DECISION}s",
    }
    (cloud.state / "otlp.sock").unlink(missing_ok=True)
    command = [str(CACHE / "otel-openstack-collector")]
    command += [word for name in FILES for word in ("--config", str(COLLECTOR / "config" / name))]
    processes.start(cloud, "collector", command, environment)
    processes.wait_ready(cloud, "collector", lambda: servers.listens(ports["collector_health"]), 30)


def stop(cloud: Cloud) -> None:
    processes.stop(cloud, NAMES)


def stay() -> None:
    """Wait for Enter; Ctrl-C ends it as well. Without anybody at the other end it does not wait."""
    if not sys.stdin or sys.stdin.closed or not sys.stdin.isatty():
        say("no terminal to wait at: statsd, Prometheus, Jaeger and the collector are stopped")
        return
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        input("They stay up until Enter or Ctrl-C. ")


def _run(command: list[str]) -> None:
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if run.returncode:
        raise Failed(f"`{' '.join(command)}` failed:\n{(run.stderr or run.stdout)[-3000:]}")
