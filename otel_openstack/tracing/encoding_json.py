# SPDX-License-Identifier: Apache-2.0
"""Records -> OTLP JSON on one line: ids in hex, 64-bit integers as strings, enumerations as numbers, camelCase.

Built from pieces of text like the protobuf form, with the same bounded cache per attribute key.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from json.encoder import encode_basestring_ascii  # the C function behind json.dumps
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_openstack import scrub
from otel_openstack.tracing.encoding import HAS_REMOTE, IS_REMOTE, SLICE, Encoded
from otel_openstack.tracing.events import SCOPE as EVENT_SCOPE
from otel_openstack.tracing.events import LogEvent
from otel_openstack.tracing.limits import MOST_NAME
from otel_openstack.tracing.span import EventRecord, Extra, LinkRecord, Span
from otel_openstack.tracing.wire import INT64_HIGH, INT64_LOW, MOST_KEYS, MOST_TEXT, MOST_VALUES, Rule, as_it_is

if TYPE_CHECKING:
    from otel_openstack.tracing.tracer import Tracer

REMOTE = {False: HAS_REMOTE, True: HAS_REMOTE | IS_REMOTE}


def string(value: str) -> str:
    """Return a JSON string in ASCII; what has no UTF-8 (a lone surrogate) becomes a question mark."""
    clean = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return str(encode_basestring_ascii(clean))


def number(value: float) -> str:
    """Return a double in JSON; what JSON has no number for becomes the text that protobuf's mapping names."""
    if math.isnan(value):
        return '"NaN"'
    if math.isinf(value):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return repr(float(value))


def any_value(value: Any) -> str:  # noqa: PLR0911 (one return a type)
    """Return the AnyValue of a cleaned attribute value.

    Raises:
        ValueError: an integer beyond 64 bits.
        TypeError: no attribute value.
    """
    if value is None:
        return "{}"
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, str):
        return f'{{"stringValue":{string(value)}}}'
    if isinstance(value, int):
        if not INT64_LOW <= value <= INT64_HIGH:
            raise ValueError("integer beyond 64 bits")
        return f'{{"intValue":"{int(value)}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{number(value)}}}'
    if isinstance(value, bytes):
        return f'{{"bytesValue":"{base64.b64encode(value).decode()}"}}'
    if isinstance(value, Mapping):
        return f'{{"kvlistValue":{{"values":[{",".join(key_value(str(k), v) for k, v in value.items())}]}}}}'
    if isinstance(value, tuple | list):
        return f'{{"arrayValue":{{"values":[{",".join(map(any_value, value))}]}}}}'
    raise TypeError(f"no attribute value: {type(value)}")


def key_value(key: str, value: Any) -> str:
    """Return the KeyValue; raises as `any_value`."""
    return f'{{"key":{string(str(key))},"value":{any_value(value)}}}'


class Attributes:
    """Encodes attributes as a JSON array, with a bounded cache of texts and integers per key. For one thread."""

    def __init__(self, rule: Rule = scrub.rule) -> None:
        self._rule = rule
        self._keys: dict[str, tuple[dict[str, str], dict[int, str], Callable[[Any], Any]]] = {}

    def encode(self, attributes: Mapping[str, Any]) -> str:
        """Return the array; an attribute that cannot be encoded is left out, as the SDK does."""
        parts: list[str] = []
        for key, value in tuple(attributes.items()):
            known = self._keys.get(key) or self._learn(key)
            kind = type(value)
            if kind is str or kind is int:
                cache: Any = known[kind is int]
                found = cache.get(value)
                if found is None:
                    found = self._encode(key, value, known[2], cache)
            else:
                found = self._encode(key, value, known[2])
            if found:
                parts.append(found)
        return f"[{','.join(parts)}]"

    def _learn(self, key: str) -> tuple[dict[str, str], dict[int, str], Callable[[Any], Any]]:
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        known = self._keys[key] = ({}, {}, self._rule(str(key)[:MOST_NAME]))
        return known

    def _encode(self, key: str, value: Any, rule: Callable[[Any], Any], cache: dict[Any, str] | None = None) -> str:
        try:
            clean = rule(value)
            made = key_value(str(key)[:MOST_NAME], clean)
        except (TypeError, ValueError, RecursionError):
            return ""
        # A secret is not kept as the key of what it became.
        if cache is not None and clean is value and len(cache) < MOST_VALUES and len(made) <= MOST_TEXT:
            cache[value] = made
        return made


class _Envelope:
    """What stands round the items; `items` and `scoped` are the names of the two lists of the signal."""

    def __init__(self, outer: str, scoped: str, items: str) -> None:
        self._outer, self._scoped, self._items = outer, scoped, items
        self._attributes = Attributes()

    def request(self, groups: Iterable[tuple[Resource, InstrumentationScope, list[str]]]) -> bytes:
        by_resource: dict[int, tuple[Resource, list[str]]] = {}
        for resource, scope, items in groups:
            body = f'{{"scope":{self._scope(scope)},"{self._items}":[{",".join(items)}]{_schema(scope.schema_url)}}}'
            by_resource.setdefault(id(resource), (resource, []))[1].append(body)
        wrapped = (self._resource(resource, scopes) for resource, scopes in by_resource.values())
        return f'{{"{self._outer}":[{",".join(wrapped)}]}}'.encode()

    def _resource(self, resource: Resource, scopes: list[str]) -> str:
        attributes = self._attributes.encode(resource.attributes)
        schema = _schema(resource.schema_url)
        return f'{{"resource":{{"attributes":{attributes}}},"{self._scoped}":[{",".join(scopes)}]{schema}}}'

    def _scope(self, scope: InstrumentationScope) -> str:
        version = f',"version":{string(scope.version)}' if scope.version else ""
        attributes = f',"attributes":{self._attributes.encode(scope.attributes)}' if scope.attributes else ""
        return f'{{"name":{string(scope.name)}{version}{attributes}}}'


class SpanEncoder:
    """Encodes spans as ExportTraceServiceRequest."""

    def __init__(self) -> None:
        self._attributes = Attributes()
        self._recorded = Attributes(as_it_is)  # of events and links, scrubbed when recorded
        self._envelope = _Envelope("resourceSpans", "scopeSpans", "spans")

    def encode(self, spans: Sequence[Span], pause: Callable[[], object]) -> Encoded:
        """Return the request for `spans`, calling `pause` after every slice."""
        groups: dict[Tracer, list[str]] = {}
        failed = 0
        for start in range(0, len(spans), SLICE):
            for span in spans[start : start + SLICE]:
                try:
                    encoded = self._span(span)
                except (ValueError, TypeError, OverflowError, AttributeError):
                    failed += 1
                    continue
                groups.setdefault(span._tracer, []).append(encoded)
            pause()
        scoped = [(tracer.resource, tracer.scope, items) for tracer, items in groups.items()]
        return Encoded(self._envelope.request(scoped), len(spans) - failed, failed)

    def _span(self, span: Span) -> str:
        parent = span._parent
        remote = False
        if parent is None:
            above = ""
        elif type(parent) is int:
            above = f',"parentSpanId":"{parent:016x}"'
        else:
            remote = parent.is_remote  # type: ignore[union-attr]
            above = f',"parentSpanId":"{parent.span_id:016x}"'  # type: ignore[union-attr]
        trace_id, _, state = span._trace
        extra = span._extra
        status = None if extra is None else extra.status
        return "".join(
            (
                f'{{"traceId":"{trace_id:032x}","spanId":"{span._span_id:016x}"{above},"flags":{REMOTE[remote]}',
                f',"traceState":{string(",".join(f"{k}={v}" for k, v in state.items()))}' if state else "",
                f',"name":{string(span.name)},"kind":{span._kind.value + 1}',
                f',"startTimeUnixNano":"{span._start_time:d}","endTimeUnixNano":"{span._end_time:d}"',
                f',"attributes":{self._attributes.encode(span._attributes)}',
                "" if extra is None else self._extra(extra),
                ',"status":{}' if status is None else _status(status.status_code.value, status.description),
                "}",
            )
        )

    def _extra(self, extra: Extra) -> str:
        events = ",".join(self._event(record) for record in tuple(extra.events))
        links = ",".join(self._link(record) for record in tuple(extra.links))
        return "".join(
            (
                f',"events":[{events}]' if events else "",
                f',"links":[{links}]' if links else "",
                _count("droppedAttributesCount", extra.dropped_attributes),
                _count("droppedEventsCount", extra.dropped_events),
                _count("droppedLinksCount", extra.dropped_links),
            )
        )

    def _event(self, record: EventRecord) -> str:
        attributes = self._recorded.encode(record.attributes)
        dropped = _count("droppedAttributesCount", record.dropped)
        return (
            f'{{"timeUnixNano":"{record.timestamp:d}","name":{string(record.name)},"attributes":{attributes}{dropped}}}'
        )

    def _link(self, record: LinkRecord) -> str:
        context = record.context
        attributes = self._recorded.encode(record.attributes)
        dropped = _count("droppedAttributesCount", record.dropped)
        ids = f'"traceId":"{context.trace_id:032x}","spanId":"{context.span_id:016x}"'
        return f'{{{ids},"attributes":{attributes},"flags":{REMOTE[context.is_remote]}{dropped}}}'


class LogEncoder:
    """Encodes events as ExportLogsServiceRequest.

    Args:
        resource: returns the resource of this process.
    """

    def __init__(self, resource: Callable[[], Resource]) -> None:
        self._resource = resource
        self._attributes = Attributes()
        self._envelope = _Envelope("resourceLogs", "scopeLogs", "logRecords")
        self._scope = InstrumentationScope(EVENT_SCOPE)

    def encode(self, events: Sequence[LogEvent], pause: Callable[[], object]) -> Encoded:
        """Return the request for `events`, calling `pause` after every slice."""
        items: list[str] = []
        for start in range(0, len(events), SLICE):
            items += map(self._event, events[start : start + SLICE])
            pause()
        return Encoded(self._envelope.request([(self._resource(), self._scope, items)]), len(items), 0)

    def _event(self, event: LogEvent) -> str:
        return "".join(
            (
                f'{{"timeUnixNano":"{event.time}","observedTimeUnixNano":"{event.time}","severityNumber":9',
                f',"eventName":{string(event.name)},"attributes":{self._attributes.encode(event.attributes)}',
                f',"flags":{event.flags}',
                f',"traceId":"{event.trace_id:032x}"' if event.trace_id else "",
                f',"spanId":"{event.span_id:016x}"' if event.span_id else "",
                "}",
            )
        )


def _schema(url: str | None) -> str:
    return f',"schemaUrl":{string(url)}' if url else ""


def _status(code: int, description: str | None) -> str:
    message = f'"message":{string(description)},' if description else ""
    return f',"status":{{{message}"code":{code}}}'


def _count(name: str, dropped: int) -> str:
    return f',"{name}":{dropped}' if dropped else ""
