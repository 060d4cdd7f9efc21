# SPDX-License-Identifier: Apache-2.0
"""Whole requests: a process for each variant, which take turns; CPU time of all their threads, export included."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import callgrind
from request_variants import BY_NAME, VARIANTS, Variant
from sinks import Sink

HERE = Path(__file__).resolve().parent
COUNTED = (
    "nothing",
    "ours, metrics only",
    "ours, 1 % traced",
    "ours, basic",
    "ours, detailed",
    "contrib + peer, 100 %",
)
COUNT_OF = 40  # requests under callgrind
# Under callgrind a second is a fiftieth of its length: one export, the one that is asked for, is counted.
SELDOM = {"OTEL_OPENSTACK_FLUSH_INTERVAL": "3600", "OTEL_BSP_SCHEDULE_DELAY": "3600000",
          "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}  # fmt: skip
LEAST = 0.5  # of the spans that are expected have to come, else the variant did nothing


class Child:
    """The process of one variant."""

    def __init__(self, app: str, variant: Variant, sink: Sink, python: str, prefix: tuple[str, ...] = ()) -> None:
        self.variant = variant
        self.blocks: list[dict[str, float]] = []
        self.told: dict[str, Any] = {}
        self.process = subprocess.Popen(
            [*prefix, python, str(HERE / "request_child.py"), app, variant.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if prefix else subprocess.DEVNULL,
            text=True,
            env=environment(variant, sink),
        )

    def ask(self, line: str) -> dict[str, Any] | None:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            return None
        if not answer:
            return None
        self.told = json.loads(answer)
        return self.told

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


def environment(variant: Variant, sink: Sink) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "DD_", "SENTRY_"))}
    url = sink.url(variant.name)
    given = {key: value.replace("{sink}", url) for key, value in variant.environment.items()}
    return (
        inherited
        | given
        | {
            "BENCH_SINK": url,
            "BENCH_HTTP": f"http://{sink.address}/port",
            "BENCH_SOCKET": sink.socket,
            "BENCH_STATSD": "{}:{}".format(*sink.udp),
            "PYTHONHASHSEED": "0",
        }
    )


def measure(app: str, names: list[str], rounds: int, block: int, python: str = sys.executable) -> dict[str, Any]:
    """Return variant -> CPU seconds of one request in each round, and what of it arrived."""
    with Sink() as sink:
        children = [Child(app, BY_NAME[name], sink, python) for name in names]
        alive = [child for child in children if child.ask(f"run {block}")]  # warms up
        for _ in range(rounds):
            random.shuffle(alive)
            for child in tuple(alive):
                told = child.ask(f"run {block}")
                if told is None:
                    alive.remove(child)
                else:
                    child.blocks.append(told)
        for child in children:
            child.end()
        return {child.variant.name: _row(child, sink, app, failed=child not in alive) for child in children}


def _row(child: Child, sink: Sink, app: str, *, failed: bool) -> dict[str, Any]:
    variant, served = child.variant, child.told.get("served", 0)
    found = sink.found(variant.name)
    if child.told.get("counted") is not None:
        found["spans"] = child.told["counted"]
    if variant.name == "oslo.metrics":
        found["spans"] = sink.datagrams["oslo.metrics"] // 3  # each call is started, received and ended
    wanted = variant.spans.get(app, 0.0) * served
    return {
        "cpu": [block["cpu"] for block in child.blocks],
        "served": served,
        "found": found,
        "expected_spans": wanted,
        "did_nothing": found.get("spans", 0) < LEAST * wanted or (variant.points and not found.get("points")),
        "failed": failed,
        "group": variant.group,
        "note": variant.note,
    }


def count(app: str, names: list[str], python: str = sys.executable, *, misses: bool = False) -> dict[str, Any]:
    """Return variant -> instructions of one request where it is served, and of its share in one export.

    With `misses`: what was not in a cache of 1 MiB instead.
    """
    found: dict[str, dict[str, float]] = {}
    if callgrind.missing():
        return found
    with Sink() as sink:
        for name in names:
            arguments = [app, name]
            counted = callgrind.counts(
                HERE / "request_child.py",
                arguments,
                python,
                environment(BY_NAME[name], sink) | SELDOM,
                f"run {COUNT_OF}\ncount {COUNT_OF}\n",
                misses=misses,
            )
            found[name] = {part: total / COUNT_OF for part, total in counted.items()}
    return found


def main() -> None:
    app, rounds, block, *names = sys.argv[1:]
    json.dump(measure(app, names or [v.name for v in VARIANTS], int(rounds), int(block)), sys.stdout)


if __name__ == "__main__":
    main()
