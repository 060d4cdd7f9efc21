# SPDX-License-Identifier: Apache-2.0
"""What was recorded, as text for whoever has to find out why a test failed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otel_openstack.testing.views import SpanView

if TYPE_CHECKING:
    from otel_openstack.metrics.memory import Point
    from otel_openstack.tracing.events import LogEvent

MOST = 60
"""Lines of each kind; a test that records thousands of spans is not to fill the screen."""
LONGEST = 400
DEEPEST = 20


def whole(spans: Sequence[SpanView], points: Mapping[str, list[Point]], events: Sequence[LogEvent]) -> str:
    """Return all of it: spans as trees, points by instrument, events in order."""
    lines = ["spans:", *_bounded(_trees(spans)), "points:"]
    lines += _bounded(f"  {name}  {point(one)}" for name, found in points.items() for one in found)
    return "\n".join([*lines, "log events:", *_bounded(f"  {event(one)}" for one in events)])


def span(one: SpanView) -> str:
    """Return a span in a line."""
    status = "" if one.status == "UNSET" else f" {one.status}"
    return f"{one.kind} {one.name}{status} {_attributes(one.attributes)}"


def point(one: Point) -> str:
    """Return a point in a line."""
    what = f"= {one.value:g}" if one.value is not None else f"count {one.count}, sum {one.sum:g}"
    return f"{what} {_attributes(one.attributes)}"


def event(one: LogEvent) -> str:
    """Return a log event in a line."""
    return f"{one.name} {_attributes(one.attributes)}"


def instead(
    number: int,
    what: str,
    name: str,
    attributes: Mapping[str, Any] | None,
    found: Iterable[str],
    known: Iterable[str] = (),
) -> str:
    """Return what to say where there is not exactly one of it.

    Args:
        number: how many there are.
        what: span, point or log event.
        name: what was asked for.
        attributes: those that were asked for.
        found: lines of what there is of the kind.
        known: names that could have been meant.

    """
    wanted = f" with {_attributes(attributes)}" if attributes else ""
    begin = f"{number or 'no'} {what}{'s' * (number > 1)} {name!r}{wanted}"
    lines = _bounded(f"  {line}" for line in found)
    return f"{begin}{_nearest(name, known)}; recorded:\n" + "\n".join(lines)


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint where a name is misspelt."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near and near[0] != name else ""


def _attributes(given: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}={value!r}" for key, value in sorted(given.items())) + "}"


def _trees(spans: Sequence[SpanView]) -> Iterator[str]:
    """Yield spans under their parents, in the order of their beginnings."""
    ids = {one.span_id for one in spans}
    below: dict[int | None, list[SpanView]] = {}
    for one in sorted(spans, key=lambda one: one.start):
        below.setdefault(one.parent if one.parent in ids else None, []).append(one)
    stack = [(one, 1) for one in reversed(below.get(None, []))]
    while stack:
        one, depth = stack.pop()
        yield "  " * min(depth, DEEPEST) + span(one)
        stack += [(child, depth + 1) for child in reversed(below.get(one.span_id, []))]


def _bounded(lines: Iterable[str]) -> list[str]:
    every = [line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines]
    if len(every) > MOST:
        return [*every[:MOST], f"  … and {len(every) - MOST} more"]
    return every or ["  nothing"]
