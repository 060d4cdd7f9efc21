# SPDX-License-Identifier: Apache-2.0
"""Run the client against a cloud that is up: under the distribution too, like any other process of the cloud."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import cases
from layout import INSIDE
from progress import Failed

if TYPE_CHECKING:
    from layout import Cloud

CLIENT = "openstack-client"  # its service name


def drive(cloud: Cloud, servers: int) -> list[dict[str, Any]]:
    """Create, use and delete `servers` servers; returns the steps as inside/drive.py describes them."""
    report = cloud.state / "drive.json"
    report.unlink(missing_ok=True)
    environment = cloud.environment() | cloud.credentials() | cases.client(cloud)
    launcher = [cloud.bin("opentelemetry-instrument")] if cloud.options.instrumented else []
    if cloud.options.instrumented:
        environment |= cloud.telemetry(CLIENT)
    command = [*launcher, cloud.bin("python"), str(INSIDE / "drive.py"), str(servers), str(report)]
    log = cloud.log / f"{CLIENT}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            output.write(line)
            output.flush()
            if b" s  " in line[:12]:
                print("          " + line.decode().rstrip(), flush=True)
    if process.returncode:
        raise Failed(f"the client failed with status {process.returncode}", log)
    steps: list[dict[str, Any]] = json.loads(report.read_text())
    return steps
