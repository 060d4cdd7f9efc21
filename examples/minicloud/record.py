# SPDX-License-Identifier: Apache-2.0
"""One run with witnesses, for the tests: what the cloud and RabbitMQ say beside what the distribution recorded.

Leaves in the cloud's directory: otlp/, log/ and state/record.json:
    {"concurrency": "threading" or "eventlet",
     "bare": [{"messages": {kind: count}}, ...],
     "ours": [{"steps": [...], "messages": {...}, "firehose": FILE}, ...],
     "stopped": [{"name", "seconds", "killed"}, ...],
     "no_mercy": [names of services whose workers uWSGI had to kill when there was no distribution],
     "case": name of the case in cases.py, if it is one; without a bare run then,
     "password": of everything, to search for}
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cases
import driver
import lifecycle
import services
import witness
from progress import say

if TYPE_CHECKING:
    from layout import Cloud

DRIVES = (1, 1, 8)  # servers at once; only the first two are compared with a bare cloud
BARE_DRIVES = (1, 1)
CASE_DRIVES = (1, 4)
NO_MERCY = "NO MERCY"  # uWSGI's words


def run(cloud: Cloud) -> None:
    if cloud.options.case is not cases.PLAIN:
        _run_case(cloud)
        return
    say("without the distribution")
    cloud.options = replace(cloud.options, instrumented=False)
    bare, _ = _run(cloud, BARE_DRIVES)
    no_mercy = [s.name for s in services.SERVICES if NO_MERCY in (cloud.log / f"{s.name}.log").read_text()]
    say("with the distribution")
    cloud.options = replace(cloud.options, instrumented=True)
    ours, stopped = _run(cloud, DRIVES)
    _write(cloud, bare=bare, ours=ours, stopped=stopped, no_mercy=no_mercy)


def _run_case(cloud: Cloud) -> None:
    say(f"with the distribution beside others: {cloud.options.case.name}")
    ours, stopped = _run(cloud, CASE_DRIVES)
    _write(cloud, bare=[], ours=ours, stopped=stopped, no_mercy=[], case=cloud.options.case.name)


def _write(cloud: Cloud, **result: Any) -> None:
    result |= {"concurrency": cloud.options.concurrency, "password": cloud.password}
    (cloud.state / "record.json").write_text(json.dumps(result, indent=1))


def _run(cloud: Cloud, drives: tuple[int, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    lifecycle.up(cloud)
    done: list[dict[str, Any]] = []
    try:
        for number, servers in enumerate(drives):
            with witness.firehose(cloud, f"firehose-{number}.jsonl") as seen:
                steps = driver.drive(cloud, servers)
            counted = witness.counts(witness.messages(seen))
            done.append({"servers": servers, "steps": steps, "messages": counted, "firehose": str(seen)})
        cases.read(cloud)
    finally:
        stopped = lifecycle.stop_all(cloud)
    return done, [one._asdict() for one in stopped]
