# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ, MariaDB, the collector and the disk fail in the middle: the cloud goes on, and what was lost is said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cloud import conftest as cloud

pytestmark = pytest.mark.cloud

NAMESPACE = ["unshare", "--mount", "--map-root-user", "true"]
DAYS = 6
SERVICES = ("keystone", "placement", "glance-api", "nova-api", "neutron-api", "neutron-rpc-server", "neutron-agent",
            "nova-conductor", "nova-scheduler", "nova-compute")  # fmt: skip
ID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
# The end of a process that lost spans: `12 spans, 0 points dropped of 345 spans, 6789 points recorded (reasons)`.
END = re.compile(
    r" (\d+) [A-Z]+ otel_openstack .*otel-openstack: (\d+) spans.* dropped of (\d+) spans.* recorded \((.*)\)"
)


class Days(NamedTuple):
    record: dict[str, Any]
    spans: list[dict[str, Any]]
    logs: dict[str, str]
    otlp: Path


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """Everything that the bad days left."""
    if existing := os.environ.get("MINICLOUD_RECORDED"):
        kept = Path(existing)
    elif not shutil.which("unshare") or subprocess.run(NAMESPACE, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    else:
        kept = cloud.record("threading", tmp_path_factory.mktemp("bad-days"), command="bad-days")
    state = kept / "state"
    return Days(
        json.loads((state / "bad-days.json").read_text()),
        [json.loads(line) for line in (state / "collector.jsonl").read_text().splitlines()],
        {service: (kept / "log" / f"{service}.log").read_text(errors="replace") for service in SERVICES},
        kept / "otlp",
    )


def ours(log: str) -> list[str]:
    return [line for line in log.splitlines() if "otel-openstack: " in line]


def test_every_create_succeeds(days: Days) -> None:
    created = [step for day in days.record["days"] for step in day["steps"] if step["name"] == "server create"]
    assert len(created) == DAYS


def test_creates_go_on_as_without_us(days: Days) -> None:
    """What is done with a server on a day on which its cloud fails takes the same steps and requests without us."""
    with_us = {day["name"]: day for day in days.record["days"]}
    assert {day["name"] for day in days.record["bare"]} == {"RabbitMQ restarts", "MariaDB restarts"}
    for bare in days.record["bare"]:
        assert requests(with_us[bare["name"]]) == requests(bare), bare["name"]


def requests(day: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The steps with servers in their order, each with its kinds of requests."""
    return [
        (step["name"], sorted({f"{method} {ID.sub('{id}', url)}" for method, _, url in step["requests"]}))
        for step in day["steps"]
        if step["name"].startswith("server ")
    ]


def test_every_service_stops(days: Days) -> None:
    assert {one["name"] for one in days.record["stopped"]} >= set(SERVICES)
    assert [one["name"] for one in days.record["stopped"] if one["killed"]] == []


@pytest.mark.parametrize("words", ["fails: ", "cannot write telemetry"])
def test_a_failure_is_said_once_and_its_end_too(days: Days, words: str) -> None:
    for service, log in days.logs.items():
        per_process = Counter(line.split()[2] for line in ours(log) if words in line)
        assert per_process, service
        assert max(per_process.values()) == 1, (service, per_process)
        assert any("works again" in line for line in ours(log)), service


def test_recorded_is_delivered_and_dropped(days: Days) -> None:
    """What a process says at its end that it recorded and dropped is what the collector got and did not get."""
    received: Counter[int] = Counter()
    for pid, _ in {(span["pid"], span["span_id"]) for span in days.spans}:
        received[pid] += 1
    told = {
        int(found[1]): (int(found[3]) - int(found[2]), service)
        for service, log in days.logs.items()
        for found in map(END.search, ours(log))
        if found
    }
    assert told  # the queue was made too small for the time without a collector
    assert {pid: delivered for pid, (delivered, _) in told.items()} == {pid: received[pid] for pid in told}


def test_what_was_dropped_was_dropped_for_want_of_room(days: Days) -> None:
    reasons = {found[4] for log in days.logs.values() for found in map(END.search, ours(log)) if found}
    assert reasons <= {"queue full"}


def test_no_hook_fails(days: Days) -> None:
    for service, log in days.logs.items():
        assert [line for line in ours(log) if "hook" in line and "failed" in line] == [], service


def test_no_line_in_a_file_is_half(days: Days) -> None:
    for path in days.otlp.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line)
