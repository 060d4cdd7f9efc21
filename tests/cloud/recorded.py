# SPDX-License-Identifier: Apache-2.0
"""What one run of the cloud left: spans and metrics from the exported files, and what the witnesses saw.

Reads OTLP JSON by itself: the product's own reader is not asked to witness for the product.
"""

from __future__ import annotations

import functools
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
REQUEST_LINE = re.compile(
    r"^\[pid: (?P<pid>\d+)\|.*?\] \S+ \(.*?\) \{.*?\} \[.*?\] (?P<method>[A-Z]+) (?P<uri>\S+) => "
    r".*\(HTTP/1\.[01] (?P<status>\d+)\)"
)


class Process(NamedTuple):
    service: str
    pid: int
    instance: str


class Span(NamedTuple):
    process: Process
    scope: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int  # ns since the epoch
    end: int
    attributes: dict[str, Any]
    failed: bool
    links: list[str]  # span ids

    @property
    def service(self) -> str:
        return self.process.service

    @property
    def is_http(self) -> bool:
        return "http.request.method" in self.attributes

    @property
    def is_database(self) -> bool:
        return "db.system.name" in self.attributes

    def __str__(self) -> str:
        return f"{self.service} {self.kind} {self.name}"


class Request(NamedTuple):
    """A line of uWSGI's own request log."""

    pid: int
    method: str
    path: str
    status: int


class Drive(NamedTuple):
    """One run of the client, with RabbitMQ's firehose beside it."""

    servers: int
    steps: list[dict[str, Any]]
    messages: list[dict[str, Any]]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [step for step in self.steps if step["name"] == name]

    @property
    def began(self) -> int:
        return int(min(step["began"] for step in self.steps) * 1e9)

    @property
    def ended(self) -> int:
        return int(max(step["began"] + step["seconds"] for step in self.steps) * 1e9)


class Run:
    """Everything of one concurrency mode."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.otlp = directory / "otlp"
        record = json.loads((directory / "state" / "record.json").read_text())
        self.stopped: list[dict[str, Any]] = record["stopped"]
        self.concurrency: str = record["concurrency"]
        self.case: str = record.get("case", "plain")
        self._no_mercy: list[str] = record["no_mercy"]
        self.message_counts: dict[str, list[dict[str, int]]] = {
            "bare": [drive["messages"] for drive in record["bare"]],
            "ours": [drive["messages"] for drive in record["ours"][: len(record["bare"])]],
        }
        self.drives = [_drive(directory, entry) for entry in record["ours"]]

    @functools.cached_property
    def _exported(self) -> list[dict[str, Any]]:
        return [json.loads(line) for path in sorted(self.otlp.iterdir()) for line in path.read_text().splitlines()]

    @functools.cached_property
    def spans(self) -> list[Span]:
        return [
            _span(process, scope.get("scope", {}).get("name", ""), span)
            for request in self._exported
            for resource in request.get("resourceSpans", ())
            for process in [_process(resource["resource"])]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    @functools.cached_property
    def by_trace(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            found[span.trace_id].append(span)
        return found

    @functools.cached_property
    def by_id(self) -> dict[str, Span]:
        return {span.span_id: span for span in self.spans}

    @functools.cached_property
    def children(self) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            found[span.parent_id].append(span)
        return found

    @functools.cached_property
    def metrics(self) -> dict[Process, dict[str, list[dict[str, Any]]]]:
        """Process -> metric -> its last points (cumulative, so the last say all)."""
        found: dict[Process, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
        for request in self._exported:
            for resource in request.get("resourceMetrics", ()):
                process = _process(resource["resource"])
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        data = next(metric[kind] for kind in ("sum", "gauge", "histogram") if kind in metric)
                        found[process].setdefault(metric["name"], []).extend(data.get("dataPoints", ()))
        return found

    @functools.cached_property
    def others(self) -> list[dict[str, Any]]:
        """What other tools exported (examples/minicloud/inside/others.py)."""
        text = (self.directory / "state" / "others.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def log(self, name: str) -> str:
        return (self.directory / "log" / f"{name}.log").read_text(errors="replace")

    def requests(self, service: str) -> list[Request]:
        """What uWSGI's own log says that its workers served."""
        lines = map(REQUEST_LINE.match, self.log(service).splitlines())
        return [
            Request(int(line["pid"]), line["method"], unquote(line["uri"].partition("?")[0]), int(line["status"]))
            for line in lines
            if line
        ]

    def killed_without_us(self, service: str) -> bool:
        """Whether uWSGI had to kill this service's worker on the same machine without the distribution."""
        return service in self._no_mercy

    def trace(self, step: dict[str, Any]) -> list[Span]:
        return self.by_trace[step["trace_id"]]


def _drive(directory: Path, entry: dict[str, Any]) -> Drive:
    lines = (directory / "state" / Path(entry["firehose"]).name).read_text().splitlines()
    return Drive(entry["servers"], entry["steps"], [json.loads(line) for line in lines])


def _process(resource: dict[str, Any]) -> Process:
    values = _attributes(resource["attributes"])
    return Process(values["service.name"], values["process.pid"], values["service.instance.id"])


def _span(process: Process, scope: str, span: dict[str, Any]) -> Span:
    return Span(
        process,
        scope,
        span["name"],
        KINDS[span["kind"]],
        span["traceId"],
        span["spanId"],
        span.get("parentSpanId", ""),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        _attributes(span.get("attributes", [])),
        span.get("status", {}).get("code") == 2,
        [link["spanId"] for link in span.get("links", [])],
    )


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair["value"]) for pair in pairs}


def _value(value: dict[str, Any]) -> Any:
    kind, content = next(iter(value.items()))
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", [])]
    return content
