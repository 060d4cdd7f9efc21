# SPDX-License-Identifier: Apache-2.0
"""Nova's notifications as events, beside RabbitMQ's own account of them: a create is a pair with its true duration."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tests.cloud.recorded import Run

pytestmark = pytest.mark.cloud

CREATE = "compute.instance.create"


@pytest.fixture(scope="module")
def events(run: Run) -> list[dict[str, Any]]:
    """The events of the run at level deep, whose services were given the rules that are shipped for nova."""
    return [
        {"name": record["eventName"], "trace": record.get("traceId"), **_attributes(record)}
        for path in sorted((run.directory / "otlp-deep").iterdir())
        for line in map(json.loads, path.read_text().splitlines())
        for resource in line.get("resourceLogs", ())
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]


@pytest.fixture(scope="module")
def messages(run: Run) -> list[dict[str, Any]]:
    """What RabbitMQ took of the same run."""
    lines = (run.directory / "state" / "firehose-deep-0.jsonl").read_text().splitlines()
    return [message for message in map(json.loads, lines) if message["kind"] == "publish" and message.get("event")]


def _attributes(record: dict[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in record.get("attributes", ())}


def _times(messages: list[dict[str, Any]], event: str) -> dict[str, datetime]:
    return {m["instance"]: datetime.fromisoformat(m["timestamp"]) for m in messages if m["event"] == event}


def test_a_create_is_a_pair_whose_duration_is_the_time_between_its_notifications(
    events: list[dict[str, Any]], messages: list[dict[str, Any]]
) -> None:
    begun, ended = _times(messages, f"{CREATE}.start"), _times(messages, f"{CREATE}.end")
    assert len(begun) == len(ended) == 1
    by_name = {name: [e for e in events if e["name"] == f"{CREATE}.{name}"] for name in ("start", "end")}
    (start,), (end,) = by_name["start"], by_name["end"]
    instance = start["openstack.instance.id"]
    assert {instance} == begun.keys() == ended.keys() == {end["openstack.instance.id"]}
    between = (ended[instance] - begun[instance]).total_seconds()
    # The notifier reads its clock a moment after us, once it has serialized the payload.
    assert end["openstack.notification.duration"] == pytest.approx(between, abs=0.1)
    assert between > 0.5
    assert "openstack.notification.duration" not in start
    assert start["trace"] == end["trace"]
    request = {m["request_id"] for m in messages if m["event"] == f"{CREATE}.end"}
    assert request == {start["openstack.request_id"]} == {end["openstack.request_id"]}
    assert end["openstack.instance.type"]


def test_every_notification_of_an_instance_on_the_bus_is_an_event_and_nothing_else_is(
    events: list[dict[str, Any]], messages: list[dict[str, Any]]
) -> None:
    known = sorted(e["openstack.notification.event_type"] for e in events if "openstack.notification.event_type" in e)
    assert known == sorted(m["event"] for m in messages if m["event"].startswith("compute.instance."))
