# SPDX-License-Identifier: Apache-2.0
"""Records -> OTLP protobuf, by byte templates: about a tenth of what building and serialising messages costs.

The content is that of the SDK's own encoder, field by field; the tests decode both and compare. An encoder belongs to
the export thread. It works in slices and calls `pause` between them, so that threads which wait for the interpreter,
the hub of a green process above all, never wait long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status

from otel_openstack.tracing.events import SCOPE as EVENT_SCOPE
from otel_openstack.tracing.events import LogEvent
from otel_openstack.tracing.span import EventRecord, Extra, LinkRecord, Span
from otel_openstack.tracing.wire import Attributes, as_it_is, field, text, varint

if TYPE_CHECKING:
    from otel_openstack.tracing.tracer import Tracer

SLICE = 32
MOST_NAMES = 1024

HAS_REMOTE, IS_REMOTE = 0x100, 0x200
# flags = 16, fixed32
LOCAL_FLAGS = b"\x85\x01" + struct.pack("<I", HAS_REMOTE)
REMOTE_FLAGS = b"\x85\x01" + struct.pack("<I", HAS_REMOTE | IS_REMOTE)
LINK_LOCAL_FLAGS = b"\x35" + struct.pack("<I", HAS_REMOTE)  # flags = 6
LINK_REMOTE_FLAGS = b"\x35" + struct.pack("<I", HAS_REMOTE | IS_REMOTE)
UNSET_STATUS = b"\x7a\x00"  # status = 15, empty

_times = struct.Struct("<BQBQ").pack  # start_time_unix_nano = 7, end_time_unix_nano = 8, both fixed64
_fixed64 = struct.Struct("<Q").pack
_fixed32 = struct.Struct("<I").pack


class Encoded(NamedTuple):
    """A request: its bytes, how many items are in it, and how many could not be encoded."""

    payload: bytes
    items: int
    failed: int


class _Envelope:
    """The messages round the items: resource and scope, encoded once for as long as they stay the same."""

    def __init__(self) -> None:
        self._attributes = Attributes(b"\x0a")  # Resource.attributes = 1
        self._scope_attributes = Attributes(b"\x1a")  # InstrumentationScope.attributes = 3
        self._resource: tuple[Resource | None, bytes, bytes] = (None, b"", b"")
        self._scopes: dict[InstrumentationScope, bytes] = {}

    def request(self, groups: Iterable[tuple[Resource, InstrumentationScope, list[bytes]]]) -> bytes:
        """Return the request: for every resource the scopes, for every scope the items (already tagged)."""
        by_resource: dict[int, tuple[Resource, list[bytes]]] = {}
        for resource, scope, items in groups:
            body = b"".join((self._scope(scope), *items, _schema(scope.schema_url)))
            by_resource.setdefault(id(resource), (resource, []))[1].append(field(b"\x12", body))  # scope_* = 2
        return b"".join(field(b"\x0a", self._wrapped(resource, scopes)) for resource, scopes in by_resource.values())

    def _wrapped(self, resource: Resource, scopes: list[bytes]) -> bytes:
        if self._resource[0] is not resource:
            encoded = field(b"\x0a", self._attributes.encode(resource.attributes))  # resource = 1
            self._resource = (resource, encoded, _schema(resource.schema_url))
        _, head, tail = self._resource
        return b"".join((head, *scopes, tail))

    def _scope(self, scope: InstrumentationScope) -> bytes:
        known = self._scopes.get(scope)
        if known is None:
            body = field(b"\x0a", text(scope.name))  # name = 1, version = 2
            body += field(b"\x12", text(scope.version)) if scope.version else b""
            body += self._scope_attributes.encode(scope.attributes or {})
            known = self._scopes[scope] = field(b"\x0a", body)  # scope = 1
        return known


class SpanEncoder:
    """Encodes spans as ExportTraceServiceRequest."""

    def __init__(self) -> None:
        self._attributes = Attributes(b"\x4a")  # Span.attributes = 9
        self._event_attributes = Attributes(b"\x1a", as_it_is)  # Event.attributes = 3, scrubbed when recorded
        self._link_attributes = Attributes(b"\x22", as_it_is)  # Link.attributes = 4
        self._names: dict[tuple[str, Any], bytes] = {}
        self._envelope = _Envelope()

    def encode(self, spans: Sequence[Span], pause: Callable[[], object]) -> Encoded:
        """Return the request for `spans`, calling `pause` after every slice."""
        groups: dict[Tracer, list[bytes]] = {}
        failed = 0
        for piece in _slices(spans):
            for span in piece:
                try:
                    encoded = self._span(span)
                except (ValueError, TypeError, OverflowError, AttributeError, struct.error):
                    failed += 1
                    continue
                groups.setdefault(span._tracer, []).append(encoded)
            pause()
        scoped = [(tracer.resource, tracer.scope, items) for tracer, items in groups.items()]
        return Encoded(self._envelope.request(scoped), len(spans) - failed, failed)

    def _span(self, span: Span) -> bytes:
        parent = span._parent
        flags = LOCAL_FLAGS
        if parent is None:
            above = b""
        elif type(parent) is int:
            above = b'"\x08' + parent.to_bytes(8, "big")  # parent_span_id = 4
        else:
            above = b'"\x08' + parent.span_id.to_bytes(8, "big")  # type: ignore[union-attr]
            if parent.is_remote:  # type: ignore[union-attr]
                flags = REMOTE_FLAGS
        name = self._names.get((span._name, span._kind))
        if name is None:
            name = self._name(span)
        attributes = span._attributes
        trace_id, _, state = span._trace
        extra = span._extra
        status = None if extra is None else extra.status
        body = b"".join(
            (
                b"\x0a\x10",  # trace_id = 1
                trace_id.to_bytes(16, "big"),
                b"\x12\x08",  # span_id = 2
                span._span_id.to_bytes(8, "big"),
                above,
                name,
                _times(0x39, span._start_time, 0x41, span._end_time),
                self._attributes.encode(attributes) if attributes else b"",
                flags,
                UNSET_STATUS if status is None else _status(status),
                field(b"\x1a", text(",".join(f"{k}={v}" for k, v in state.items())))
                if state
                else b"",  # trace_state = 3
                b"" if extra is None else self._extra(extra),
            )
        )
        return b"\x12" + varint(len(body)) + body  # ScopeSpans.spans = 2

    def _name(self, span: Span) -> bytes:
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        made = field(b"\x2a", text(span.name)) + b"\x30" + varint(span._kind.value + 1)  # name = 5, kind = 6
        if len(made) <= 2 * MOST_NAMES:
            self._names[span._name, span._kind] = made
        return made

    def _extra(self, extra: Extra) -> bytes:
        parts = [field(b"\x5a", self._event(record)) for record in tuple(extra.events)]  # events = 11
        parts += [field(b"\x6a", self._link(record)) for record in tuple(extra.links)]  # links = 13
        parts += (
            _count(b"\x50", extra.dropped_attributes),  # dropped_attributes_count = 10
            _count(b"\x60", extra.dropped_events),  # dropped_events_count = 12
            _count(b"\x70", extra.dropped_links),  # dropped_links_count = 14
        )
        return b"".join(parts)

    def _event(self, record: EventRecord) -> bytes:
        return b"".join(
            (
                b"\x09" + _fixed64(record.timestamp),  # time_unix_nano = 1
                field(b"\x12", text(record.name)),  # name = 2
                self._event_attributes.encode(record.attributes),
                _count(b"\x20", record.dropped),  # dropped_attributes_count = 4
            )
        )

    def _link(self, record: LinkRecord) -> bytes:
        context = record.context
        return b"".join(
            (
                b"\x0a\x10" + context.trace_id.to_bytes(16, "big"),
                b"\x12\x08" + context.span_id.to_bytes(8, "big"),
                self._link_attributes.encode(record.attributes),
                _count(b"\x28", record.dropped),  # dropped_attributes_count = 5
                LINK_REMOTE_FLAGS if context.is_remote else LINK_LOCAL_FLAGS,
            )
        )


class LogEncoder:
    """Encodes events as ExportLogsServiceRequest.

    Args:
        resource: returns the resource of this process.
    """

    def __init__(self, resource: Callable[[], Resource]) -> None:
        self._resource = resource
        self._attributes = Attributes(b"\x32")  # LogRecord.attributes = 6
        self._envelope = _Envelope()
        self._scope = InstrumentationScope(EVENT_SCOPE)

    def encode(self, events: Sequence[LogEvent], pause: Callable[[], object]) -> Encoded:
        """Return the request for `events`, calling `pause` after every slice."""
        items: list[bytes] = []
        for piece in _slices(events):
            items += [field(b"\x12", self._event(event)) for event in piece]  # ScopeLogs.log_records = 2
            pause()
        return Encoded(self._envelope.request([(self._resource(), self._scope, items)]), len(items), 0)

    def _event(self, event: LogEvent) -> bytes:
        return b"".join(
            (
                b"\x09" + _fixed64(event.time),  # time_unix_nano = 1
                b"\x59" + _fixed64(event.time),  # observed_time_unix_nano = 11
                b"\x10\x09",  # severity_number = 2: INFO
                self._attributes.encode(event.attributes),
                b"\x45" + _fixed32(event.flags),  # flags = 8
                b"\x4a\x10" + event.trace_id.to_bytes(16, "big") if event.trace_id else b"",  # trace_id = 9
                b"\x52\x08" + event.span_id.to_bytes(8, "big") if event.span_id else b"",  # span_id = 10
                field(b"\x62", text(event.name)),  # event_name = 12
            )
        )


def _slices(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))


def _schema(url: str | None) -> bytes:
    return field(b"\x1a", text(url)) if url else b""  # schema_url = 3


def _status(status: Status) -> bytes:
    message = field(b"\x12", text(status.description)) if status.description else b""  # message = 2, code = 3
    return field(b"\x7a", message + b"\x18" + varint(status.status_code.value))


def _count(tag: bytes, number: int) -> bytes:
    return tag + varint(number) if number else b""
