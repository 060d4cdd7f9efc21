# SPDX-License-Identifier: Apache-2.0
"""The whole story once: start the cloud, use it, stop it, show what was recorded."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import driver
import install
import lifecycle
from progress import Failed, say

if TYPE_CHECKING:
    from layout import Cloud

SHOWN = "server create"  # the step whose trace the terminal shows


def run(cloud: Cloud, servers: int) -> None:
    install.everything(cloud)
    lifecycle.up(cloud)
    try:
        say(f"the client makes {servers} server{'s' * (servers > 1)}")
        steps = driver.drive(cloud, servers)
    finally:
        lifecycle.stop_all(cloud)
    trace_id = next(step["trace_id"] for step in steps if step["name"] == SHOWN)
    if not int(trace_id, 16):
        raise Failed("the distribution is not active in the client", cloud.log / f"{driver.CLIENT}.log")
    show(cloud, trace_id)


def show(cloud: Cloud, trace_id: str) -> None:
    """The trace and the metrics in the terminal, everything in the page."""
    product = cloud.bin("otel-openstack")
    for words in (
        ("trace", "--trace-id", trace_id, str(cloud.otlp)),
        ("metrics", str(cloud.otlp)),
        ("page", str(cloud.otlp), "-o", str(cloud.page)),
    ):
        print(flush=True)
        if subprocess.run([product, *words], check=False).returncode:
            raise Failed(f"`otel-openstack {' '.join(words)}` failed")
    say(f"recorded: {cloud.otlp} (OTLP JSON lines); page: {cloud.page}")
