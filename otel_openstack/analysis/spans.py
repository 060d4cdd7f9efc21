# SPDX-License-Identifier: Apache-2.0
"""Spans, and an index of the traces in a recording that is small however large the recording is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from otel_openstack.analysis import otlp
from otel_openstack.analysis.otlp import Place, Recording, Request, Value

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS = ("UNSET", "OK", "ERROR")
REQUEST_IDS = frozenset({"openstack.request_id", "openstack.global_request_id", "openstack.request.id"})
BACKGROUND_NAMES = ("periodic ", "startup ", "background ", "loop ", "task ", "heartbeat ")
"""How root spans of work begin that nobody asked for."""


class Event(NamedTuple):
    time: int
    name: str
    attributes: dict[str, Value]


class Span:
    """One span. Times are Unix nanoseconds; `end` is never before `start`."""

    __slots__ = (
        "_attributes", "_raw", "end", "error", "instance", "kind", "name", "parent_id", "scope", "service", "span_id",
        "start", "trace_id",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any], service: str, instance: str, scope: str) -> None:
        self._raw = raw
        self._attributes: dict[str, Value] | None = None
        self.trace_id = otlp.identity(otlp.field(raw, "traceId", "trace_id"), 16)
        self.span_id = otlp.identity(otlp.field(raw, "spanId", "span_id"), 8)
        self.parent_id = otlp.identity(otlp.field(raw, "parentSpanId", "parent_span_id"), 8)
        self.name = otlp.text(raw.get("name"))
        self.kind = otlp.enum(raw.get("kind"), KINDS, "SPAN_KIND_")
        self.start = otlp.integer(otlp.field(raw, "startTimeUnixNano", "start_time_unix_nano"))
        self.end = max(self.start, otlp.integer(otlp.field(raw, "endTimeUnixNano", "end_time_unix_nano")))
        self.error = otlp.enum(otlp.field(raw.get("status"), "code"), STATUS, "STATUS_CODE_") == "ERROR"
        self.service = service
        self.instance = instance
        self.scope = scope

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start

    @property
    def attributes(self) -> dict[str, Value]:
        if self._attributes is None:
            self._attributes = otlp.attributes(self._raw.get("attributes"))
        return self._attributes

    @property
    def status_message(self) -> str:
        return otlp.text(otlp.field(self._raw.get("status"), "message"))

    @property
    def error_type(self) -> str:
        """What kind of error, "" without one."""
        value = self.attributes.get("error.type")
        return str(value) if value else (self.status_message or "error") if self.error else ""

    @property
    def events(self) -> list[Event]:
        return [
            Event(
                otlp.integer(otlp.field(raw, "timeUnixNano", "time_unix_nano")),
                otlp.text(raw.get("name")),
                otlp.attributes(raw.get("attributes")),
            )
            for raw in otlp.items(self._raw, "events")
        ]

    @property
    def links(self) -> list[tuple[str, str]]:
        """(trace id, span id) of each."""
        return [
            (
                otlp.identity(otlp.field(raw, "traceId", "trace_id"), 16),
                otlp.identity(otlp.field(raw, "spanId", "span_id"), 8),
            )
            for raw in otlp.items(self._raw, "links")
        ]

    def request_ids(self) -> set[str]:
        raw = self._raw.get("attributes")
        found = set()
        for pair in raw if isinstance(raw, list) else ():
            if isinstance(pair, dict) and pair.get("key") in REQUEST_IDS:
                found.add(str(otlp.any_value(pair.get("value"))))
        return found


def spans_of(request: Request) -> Iterator[Span]:
    """Yield the spans of a request; those without valid ids are left out."""
    for group in otlp.items(request.body, "resourceSpans", "resource_spans"):
        service, instance = service_of(group)
        for scoped in otlp.items(group, "scopeSpans", "scope_spans"):
            scope = otlp.text(otlp.field(scoped.get("scope"), "name"))
            for raw in otlp.items(scoped, "spans"):
                span = Span(raw, service, instance, scope)
                if span.trace_id and span.span_id:
                    yield span


def service_of(group: Mapping[str, Any]) -> tuple[str, str]:
    """Return (service name, process: host, pid or instance id) of a resource's spans or metrics."""
    resource = otlp.attributes(otlp.field(group.get("resource"), "attributes"))
    parts = (resource.get(name) for name in ("host.name", "process.pid", "service.instance.id"))
    return str(resource.get("service.name") or "unknown_service"), " ".join(
        str(part) for part in parts if part is not None
    )


@dataclass(slots=True)
class Trace:
    """What the index knows of a trace. Times are Unix nanoseconds."""

    trace_id: str
    start: int
    end: int
    name: str = ""
    service: str = ""
    kind: str = ""
    spans: int = 0
    errors: int = 0
    services: set[str] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    has_root: bool = False

    @property
    def background(self) -> bool:
        return self.name.startswith(BACKGROUND_NAMES)

    def add(self, span: Span, place: Place) -> None:
        root = not span.parent_id
        if (root and not self.has_root) or (root == self.has_root and (not self.spans or span.start < self.start)):
            self.name, self.service, self.kind, self.has_root = span.name, span.service, span.kind, root
        self.start = min(self.start, span.start)
        self.end = max(self.end, span.end)
        self.spans += 1
        self.errors += span.error
        self.services.add(span.service)
        if not self.places or self.places[-1] != place:
            self.places.append(place)


class Index:
    """All traces of a recording, found in one pass over its requests that keeps no span."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.traces: dict[str, Trace] = {}
        self.by_request: dict[str, set[str]] = {}

    def add(self, request: Request) -> None:
        for span in spans_of(request):
            self._add(span, request.place)

    def _add(self, span: Span, place: Place) -> None:
        trace = self.traces.get(span.trace_id)
        if trace is None:
            trace = self.traces[span.trace_id] = Trace(span.trace_id, span.start, span.end)
        trace.add(span, place)
        for request_id in span.request_ids():
            self.by_request.setdefault(request_id, set()).add(span.trace_id)

    def read(self) -> Index:
        """Add every request of the recording."""
        for request in self.recording.requests():
            self.add(request)
        return self

    def newest_first(self) -> list[Trace]:
        return sorted(self.traces.values(), key=lambda trace: (trace.start, trace.trace_id), reverse=True)

    def latest(self) -> Trace | None:
        """Return the newest trace of a request over several services; failing that, over one; failing that, any."""
        newest = self.newest_first()
        asked_for = [trace for trace in newest if not trace.background]
        several = [trace for trace in asked_for if len(trace.services) > 1]
        return next(iter(several or asked_for or newest), None)

    def with_prefix(self, prefix: str) -> list[Trace]:
        """Return the traces whose id begins so; the id itself wins over longer ones."""
        prefix = prefix.lower()
        exact = self.traces.get(prefix)
        return [exact] if exact else [trace for trace in self.newest_first() if trace.trace_id.startswith(prefix)]

    def with_request(self, request_id: str) -> list[Trace]:
        """Return the traces that serve a request id, the one with the most spans first."""
        ids = self.by_request.get(request_id, set()) | self.by_request.get(f"req-{request_id}", set())
        return sorted((self.traces[trace_id] for trace_id in ids), key=lambda trace: -trace.spans)

    def load(self, traces: list[Trace]) -> dict[str, list[Span]]:
        """Return the spans of these traces by trace id, read again from their places."""
        wanted: dict[str, list[Span]] = {trace.trace_id: [] for trace in traces}
        places = {place for trace in traces for place in trace.places}
        for request in self.recording.requests(places):
            for span in spans_of(request):
                if span.trace_id in wanted:
                    wanted[span.trace_id].append(span)
        return wanted
