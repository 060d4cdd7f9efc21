# SPDX-License-Identifier: Apache-2.0
"""The whole story once: start the cloud, use it, stop it, show what was recorded."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import answers
import driver
import install
import lifecycle
import observe
import observe_page
from progress import Failed, say

if TYPE_CHECKING:
    from layout import Cloud

SHOWN = "server create"  # the step whose trace the terminal shows


def run(cloud: Cloud, servers: int, *, observed: bool = False) -> None:
    install.everything(cloud)
    if observed:
        observe.ready(cloud)
    try:
        steps = _use(cloud, servers, observed)
        trace_id = next(step["trace_id"] for step in steps if step["name"] == SHOWN)
        if not int(trace_id, 16):
            raise Failed("the distribution is not active in the client", cloud.log / f"{driver.CLIENT}.log")
        seen = answers.compare(cloud, steps) if observed else []
        show(cloud, trace_id)
        if observed:
            _show_observed(cloud, seen, trace_id)
            observe.stay()
    finally:
        if observed:
            observe.stop(cloud)


def _use(cloud: Cloud, servers: int, observed: bool) -> list[dict[str, Any]]:
    """Start the cloud, use it, stop it; what observes it stays."""
    cloud.prepare()
    try:
        lifecycle.base(cloud)
        if observed:
            observe.start(cloud)
            cloud.options = replace(cloud.options, environment=observe.telemetry(cloud))
        lifecycle.serve(cloud)
        say(f"the client makes {servers} server{'s' * (servers > 1)}")
        return driver.drive(cloud, servers)
    finally:
        lifecycle.stop_all(cloud, keep=observe.NAMES if observed else ())


def _show_observed(cloud: Cloud, seen: list[answers.Seen], trace_id: str) -> None:
    trace = trace_id, len(answers.jaeger_spans(cloud, trace_id)), answers.file_spans(cloud, trace_id)
    observe_page.show(seen, trace, cloud)
    say(f"page: {observe_page.write(cloud, seen, trace)}")


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
