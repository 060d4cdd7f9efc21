# SPDX-License-Identifier: Apache-2.0
"""Whom a request is for: what its edge knows of it, seen by everything that works for it.

It hangs on the totals of the root, so it goes wherever they go: into threads, pools and green threads. Between
processes OpenStack's own request context carries it, and baggage what an operator asked for (`baggage_dimensions`). The
edge of an API leaves a function, since its middleware finds out who asks only when the request is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import baggage
from opentelemetry.context import Context

from otel_openstack.patching import guard
from otel_openstack.semconv import attributes as attr
from otel_openstack.tracing.api_seam import get_context
from otel_openstack.tracing.operations import TOTALS_KEY
from otel_openstack.tracing.totals import Totals

NAMES = {
    "project": attr.OPENSTACK_PROJECT_ID,
    "domain": attr.OPENSTACK_DOMAIN_ID,
    "user": attr.OPENSTACK_USER_ID,
    "instance": attr.OPENSTACK_INSTANCE_ID,
    "request": attr.OPENSTACK_REQUEST_ID,
    "global_request": attr.OPENSTACK_GLOBAL_REQUEST_ID,
}
"""What is known of a request, and the attribute that it is."""
LONGEST = 64
"""Characters of a value."""

_watch = guard("request.asked")

Known = Mapping[str, str]
Asked = Known | tuple[Callable[[Any], Known], Any]
"""What is known, or what reads it off something: cheaper to leave than to make."""


def current() -> dict[str, str]:
    """Return what is known of the request that runs here, by the names of attributes; empty outside every request."""
    context = get_context()
    found = _carried(context)
    totals: Any = context.get(TOTALS_KEY)
    found.update(known_by(totals))
    return found


def value(attribute: str) -> str | None:
    """Return what is known now of one attribute, None where it is not."""
    context = get_context()
    totals: Any = context.get(TOTALS_KEY)
    while totals is not None:
        asked = totals.asked
        if asked is not None:
            found: str | None = (asked if type(asked) is dict else _read(asked)).get(attribute)
            if found is not None:
                return found
        totals = totals.parent
    return _carried(context).get(attribute)


def values_for(totals: Totals, attributes: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return what a request of these totals knows of these attributes, also when it is not current any more."""
    known = known_by(totals)
    return tuple([known.get(name) for name in attributes])


def add(known: Known) -> bool:
    """Say more of the request that runs here; returns whether there is one."""
    totals: Any = get_context().get(TOTALS_KEY)
    if totals is None:
        return False
    before = totals.asked
    totals.asked = known if before is None else (_both, (before, known))
    return True


def _both(pair: tuple[Asked, Known]) -> Known:
    """Read what was known, with more on top."""
    return {**_read(pair[0]), **pair[1]}


def settle(totals: Totals, known: Known) -> Known:
    """Let the edge say for good what it knows, and return that with what others added."""
    found = totals.asked = _settled(totals.asked, known)
    return found


def _settled(asked: Any, known: Known) -> Known:
    if type(asked) is tuple and asked[0] is _both:
        before, more = asked[1]
        return {**_settled(before, known), **more}
    return known


def with_baggage(context: Context, names: tuple[str, ...]) -> Context:
    """Return `context` with these names of `NAMES` as baggage, as far as they are known here."""
    known = current()
    for name in names:
        value = known.get(NAMES[name])
        if value is not None:
            context = baggage.set_baggage(NAMES[name], value, context)
    return context


def known_by(totals: Totals | None) -> dict[str, str]:
    """Return what the totals and those above them know; what is nearer counts."""
    found: dict[str, str] = {}
    while totals is not None:
        if totals.asked is not None:
            found = {**_read(totals.asked), **found}
        totals = totals.parent
    return found


def _read(asked: Asked) -> Known:
    if not isinstance(asked, tuple):
        return asked
    if asked[0] is _both:
        return _both(asked[1])
    if _watch.on:
        with _watch:  # what is read was left there by middleware that nobody here has seen
            return asked[0](asked[1])
    return {}


def _carried(context: Context) -> dict[str, str]:
    sent = baggage.get_all(context)
    return {name: value for name in NAMES.values() if fits(value := sent.get(name))} if sent else {}  # type: ignore[misc]


def fits(value: Any) -> bool:
    """Return whether a value is one that may be sent on: short, of printable ASCII."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isascii() and value.isprintable()
