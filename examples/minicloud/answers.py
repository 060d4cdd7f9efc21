# SPDX-License-Identifier: Apache-2.0
"""What statsd, Prometheus, Jaeger and the files say of the client's requests, beside what it counted itself."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import driver
from progress import step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layout import Cloud

SECONDS = 60.0  # in which everything has arrived everywhere
NUMBER = "http.client.request.duration"
SERIES = f'sum(http_client_request_duration_seconds_count{{job="openstack/{driver.CLIENT}"}})'
CLIENT_SPAN = {"key": "span.kind", "type": "string", "value": "client"}
Steps = list[dict[str, Any]]  # as inside/drive.py describes them


class Seen(NamedTuple):
    """What one of them shows: its name, the number, where a person looks, and what was asked."""

    name: str
    number: float
    where: str
    asked: str


def compare(cloud: Cloud, steps: Steps) -> list[Seen]:
    """Ask all of them until they agree with the client, or time is up; the client is first."""
    sent = sum(len(one["requests"]) for one in steps)
    deadline = time.monotonic() + SECONDS
    with step("everything has arrived"):
        while True:
            seen = [ask(cloud, steps) for ask in ASKED]
            if all(one.number == sent for one in seen) or time.monotonic() > deadline:
                report = cloud.state / "drive.json"
                return [Seen("the client itself", sent, str(report), "requests written to a connection"), *seen]
            time.sleep(1)


def _ask_statsd(cloud: Cloud, _steps: Steps) -> Seen:
    """Sum over all flushes, hosts and attributes."""
    path = flushes(cloud)
    total = sum(
        value
        for line in (path.read_text().splitlines() if path.exists() else ())
        for name, value in json.loads(line)["counters"].items()
        if f".{driver.CLIENT}.{NUMBER}." in name and name.endswith(".count")
    )
    return Seen("statsd", total, f"{path} (a line a flush)", f"sum of openstack.*.{driver.CLIENT}.{NUMBER}.*.count")


def _ask_prometheus(cloud: Cloud, _steps: Steps) -> Seen:
    answer = _json(f"{cloud.url('prometheus')}/api/v1/query?{urllib.parse.urlencode({'query': SERIES})}")
    found = answer["data"]["result"] if answer else []
    number = float(found[0]["value"][1]) if found else 0
    page = f"{cloud.url('prometheus')}/graph?{urllib.parse.urlencode({'g0.expr': SERIES, 'g0.tab': 1})}"
    return Seen("Prometheus", number, page, SERIES)


def _ask_jaeger(cloud: Cloud, steps: Steps) -> Seen:
    """Client spans of HTTP requests in the traces of the client's steps."""
    number = sum(map(_is_request, (span for one in steps for span in jaeger_spans(cloud, one["trace_id"]))))
    url = f"{cloud.url('jaeger')}/api/traces?service={driver.CLIENT}&limit=100"
    return Seen("Jaeger", number, url, f"client spans of {driver.CLIENT} with http.request.method")


def _ask_files(cloud: Cloud, _steps: Steps) -> Seen:
    path = cloud.otlp / "metrics.jsonl"
    last: dict[tuple[str, str], int] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        for resource in json.loads(line)["resourceMetrics"]:
            who = {a["key"]: a["value"].get("stringValue") for a in resource["resource"]["attributes"]}
            if who.get("service.name") == driver.CLIENT:
                last |= _counts(who.get("service.instance.id") or "", resource)
    return Seen("files", sum(last.values()), str(path), f"last count of every stream of {NUMBER}")


def _counts(instance: str, resource: dict[str, Any]) -> dict[tuple[str, str], int]:
    metrics = (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"])
    points = (p for metric in metrics if metric["name"] == NUMBER for p in metric["histogram"]["dataPoints"])
    return {(instance, json.dumps(p.get("attributes"), sort_keys=True)): int(p["count"]) for p in points}


ASKED: tuple[Callable[[Cloud, Steps], Seen], ...] = (
    _ask_statsd, _ask_prometheus, _ask_jaeger, _ask_files,
)  # fmt: skip


def jaeger_spans(cloud: Cloud, trace_id: str) -> list[dict[str, Any]]:
    """Spans of a trace as Jaeger's API has them, each with its service."""
    answer = _json(f"{cloud.url('jaeger')}/api/traces/{trace_id}") or {"data": ()}
    return [
        span | {"service": trace["processes"][span["processID"]]["serviceName"]}
        for trace in answer["data"]
        for span in trace["spans"]
    ]


def file_spans(cloud: Cloud, trace_id: str) -> int:
    """Spans of a trace in the collector's file."""
    path = cloud.otlp / "traces.jsonl"
    return path.read_text().count(f'"traceId":"{trace_id}","spanId"') if path.exists() else 0


def _is_request(span: dict[str, Any]) -> bool:
    keys = {tag["key"] for tag in span["tags"]}
    return span["service"] == driver.CLIENT and CLIENT_SPAN in span["tags"] and "http.request.method" in keys


def flushes(cloud: Cloud) -> Path:
    """Where statsd writes a line a flush."""
    return cloud.state / "statsd.jsonl"


def _json(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None
