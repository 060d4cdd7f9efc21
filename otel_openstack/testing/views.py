# SPDX-License-Identifier: Apache-2.0
"""What was recorded, by value and at rest: what tests compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_openstack.tracing.span import Span


@dataclass(frozen=True)
class EventView:
    """An event of a span; time in ns since the epoch."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class LinkView:
    """A link of a span."""

    trace_id: int
    span_id: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class SpanView:
    """A finished span. Ids are integers, times ns since the epoch, kind and status names such as `SERVER`, `ERROR`.

    parent: the parent's span id, None for a root.
    """

    name: str
    kind: str
    attributes: Mapping[str, Any]
    parent: int | None
    trace_id: int
    span_id: int
    status: str
    description: str | None
    events: tuple[EventView, ...]
    links: tuple[LinkView, ...]
    start: int
    end: int
    scope: str
    parent_is_remote: bool = False


def view(span: Span) -> SpanView:
    """Return a finished span as tests look at it."""
    parent = span.parent
    return SpanView(
        name=span.name,
        kind=span.kind.name,
        attributes=dict(span.attributes),
        parent=parent.span_id if parent else None,
        trace_id=span.get_span_context().trace_id,
        span_id=span.get_span_context().span_id,
        status=span.status.status_code.name,
        description=span.status.description,
        events=tuple(EventView(e.name, e.timestamp, dict(e.attributes or {})) for e in span.events),
        links=tuple(LinkView(k.context.trace_id, k.context.span_id, dict(k.attributes or {})) for k in span.links),
        start=span.start_time or 0,
        end=span.end_time or 0,
        scope=span.instrumentation_scope.name,
        parent_is_remote=bool(parent and parent.is_remote),
    )


def matching(found: list[Any], attributes: Mapping[str, Any] | None) -> list[Any]:
    """Return those that have all these attributes; with None all."""
    wanted = (attributes or {}).items()
    return [one for one in found if all(one.attributes.get(key) == value for key, value in wanted)]
