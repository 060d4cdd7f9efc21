# SPDX-License-Identifier: Apache-2.0
"""The minimal cloud without the distribution, with it, and with the peers: CPU seconds of all services per server.

    python benchmarks/cloud.py DIRECTORY VENV CREATES [MINUTES]      prints a JSON object

After MINUTES of creates no other round begins.

The clouds run side by side and take turns: one creates, uses and deletes a server while the others idle, so a busy
machine makes all alike. CPU is that of every process of every OpenStack service (their ended children included), from
before the client starts until it has ended; servers (RabbitMQ, MariaDB) and the client are not in it. Ours and the
peers' export everything by OTLP/HTTP to a sink in this process, where what came is counted.

The peers' setup is what somebody would install instead: the stock distribution, what its bootstrap asks for, and the
packages for oslo, without the one for oslo.service, with which nova refuses to start (others require it, so it is taken
out again), and the one for oslo.log, with which glance does not: it fails at every line of the log beside contrib's of
today.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sinks import Sink

MINICLOUD = Path(__file__).resolve().parent.parent / "examples" / "minicloud"
sys.path.insert(0, str(MINICLOUD))

import cases  # noqa: E402
import driver  # noqa: E402
import install  # noqa: E402
import lifecycle  # noqa: E402
import processes  # noqa: E402
import services  # noqa: E402
from layout import Cloud, Options  # noqa: E402
from progress import Failed, say  # noqa: E402

BARE, OURS, THEIRS = "nothing", "ours, basic, all traced", "contrib + peers, all traced"
REFUSED = ("oslo-service", "oslo-log")
PEERS = (
    *cases.DISTRO,
    *cases.CONTRIB,
    *(package for package in cases.PEERS if not any(name in package for name in REFUSED)),
    "opentelemetry-exporter-otlp-proto-http",
)
SETTLE = 20.0  # seconds after the start, in which services do what they do once
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(cloud: Cloud) -> float:
    """Return user and system time of all processes of all services, and of their children that have ended."""
    total = 0
    for service in services.SERVICES:
        for pid in processes.session(cloud, service.name):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return total / TICKS


def once(cloud: Cloud) -> dict[str, float]:
    """Create, use and delete one server."""
    before = cpu_seconds(cloud)
    with contextlib.redirect_stdout(io.StringIO()):
        steps = driver.drive(cloud, 1)
    create = next(step for step in steps if step["name"] == "server create")
    return {"cpu": cpu_seconds(cloud) - before, "create": create["seconds"]}


def peers_venv(directory: Path) -> Path:
    """Return an environment with the services and the peers, without ours; made if it is not there."""
    venv = directory / "venv-peers"
    if not (venv / "installed").exists():
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--quiet", "--no-input"]
        refused = [f"opentelemetry-instrumentation-{name}" for name in REFUSED]
        for command in (
            [sys.executable, "-m", "venv", str(venv)],
            [*pip, "install", "-r", str(install.LOCK)],
            [*pip, "install", "-c", str(install.LOCK), *PEERS],
            [*pip, "uninstall", "--yes", *refused],
        ):
            subprocess.run(command, check=True, stdout=sys.stderr)
        (venv / "installed").touch()
    return venv


def clouds(directory: Path, venv: Path, sink: Sink) -> dict[str, Cloud]:
    """Return variant -> its cloud, not yet started."""
    return {
        BARE: Cloud(directory / "bare", venv, Options(instrumented=False)),
        OURS: Cloud(directory / "ours", venv, Options(environment=_telemetry(sink, OURS))),
        THEIRS: Cloud(directory / "peers", peers_venv(directory), Options(environment=_telemetry(sink, THEIRS))),
    }


def _telemetry(sink: Sink, name: str) -> dict[str, str]:
    given = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "none",
             "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url(name)}  # fmt: skip
    return given | (
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(REFUSED).replace("-", "_")} if name == THEIRS else {}
    )


def measure(directory: Path, venv: Path, creates: int, minutes: float = 24 * 60) -> dict[str, Any]:
    """Run the clouds; returns variant -> a row for each create, and what came of each."""
    directory.mkdir(parents=True, exist_ok=True)
    started: dict[str, Cloud] = {}
    rows: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with contextlib.redirect_stdout(sys.stderr), Sink() as sink:
        try:
            for name, cloud in clouds(directory, venv, sink).items():
                started[name] = cloud
                try:
                    cloud.prepare()
                    lifecycle.up(cloud)
                    once(cloud)
                except Failed as error:  # the others are worth it without this one
                    failed[name] = str(error)[:500]
                else:
                    rows[name] = []
            time.sleep(SETTLE)
            end = time.monotonic() + minutes * 60
            for number in range(creates):
                if time.monotonic() > end:
                    break
                order = list(rows)
                random.shuffle(order)
                for name in order:
                    rows[name].append(once(started[name]))
                say(f"{number + 1} of {creates}")
        except Failed as error:
            failed["all"] = str(error)[:500]
        finally:
            for cloud in started.values():
                with contextlib.suppress(Failed):
                    lifecycle.stop_all(cloud)
        found = {name: sink.found(name) for name in (OURS, THEIRS)}
    return rows | {"found": found, "failed": failed}


if __name__ == "__main__":
    directory, venv, creates, *minutes = sys.argv[1:]
    json.dump(measure(Path(directory), Path(venv), int(creates), *map(float, minutes)), sys.stdout)
