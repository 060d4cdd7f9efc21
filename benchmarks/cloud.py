# SPDX-License-Identifier: Apache-2.0
"""The minimal cloud without the distribution, with it, and with the peers: CPU seconds of all services per server.

    python benchmarks/cloud.py DIRECTORY VENV CREATES [peers]      prints a JSON object

The clouds run side by side and take turns: one creates, uses and deletes a server while the others idle, so a busy
machine makes both alike. CPU is that of every process of every OpenStack service (their ended children included), from
before the client starts until it has ended; servers (RabbitMQ, MariaDB) and the client are not in it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

MINICLOUD = Path(__file__).resolve().parent.parent / "examples" / "minicloud"
sys.path.insert(0, str(MINICLOUD))

import driver  # noqa: E402
import lifecycle  # noqa: E402
import processes  # noqa: E402
import services  # noqa: E402
from layout import Cloud, Options  # noqa: E402
from progress import Failed, say  # noqa: E402

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


def measure(directory: Path, venv: Path, creates: int) -> dict[str, Any]:
    """Run the clouds; returns variant -> a row for each create."""
    clouds = {
        "nothing": Cloud(directory / "bare", venv, Options(instrumented=False)),
        "ours, basic, all traced": Cloud(directory / "ours", venv, Options(instrumented=True)),
    }
    rows: dict[str, Any] = {name: [] for name in clouds}
    started: list[Cloud] = []
    with contextlib.redirect_stdout(sys.stderr):
        try:
            for cloud in clouds.values():
                cloud.prepare()
                lifecycle.up(cloud)
                started.append(cloud)
                once(cloud)
            time.sleep(SETTLE)
            order = list(clouds)
            for number in range(creates):
                random.shuffle(order)
                for name in order:
                    rows[name].append(once(clouds[name]))
                say(f"{number + 1} of {creates}")
        except Failed as error:
            rows["failed"] = str(error)[:500]
        finally:
            for cloud in started:
                lifecycle.stop_all(cloud)
        rows["spans"] = sum(
            path.read_text().count('"spanId"') for path in clouds["ours, basic, all traced"].otlp.glob("*")
        )
    return rows


if __name__ == "__main__":
    json.dump(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])), sys.stdout)
