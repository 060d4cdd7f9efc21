# SPDX-License-Identifier: Apache-2.0
"""The propagators in force: what the usual two do, W3C trace context and baggage, is done directly here.

Called through OpenTelemetry's own, an outgoing call spends a quarter of what it costs on them. Any other set of
propagators, and any other kind of span, is left to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otel_openstack.tracing.api_seam import SPAN_KEY, make_context
from otel_openstack.tracing.span import FLAGS, NO_STATE, CurrentSpan, Dropped, Span, add_item

USUAL = {TraceContextTextMapPropagator, W3CBaggagePropagator}
KNOWN = frozenset({Span, CurrentSpan, Dropped, NonRecordingSpan})

_PARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_GIVEN = {f"{flags:02x}": flags for flags in FLAGS}

PARENT_LENGTH = len("00-") + 32 + len("-") + 16 + len("-00")
"""Characters of a `traceparent` of the version that there is."""

_FLAGS = tuple(f"{flags:02x}" for flags in range(256))

_seen: Any = None
_usual = False
_baggage = W3CBaggagePropagator()


def usual() -> bool:
    """Return whether trace context and baggage of W3C, and nothing else, are in force."""
    global _seen, _usual
    found = propagate.get_global_textmap()
    if found is not _seen:
        parts = getattr(found, "_propagators", ()) if type(found) is CompositePropagator else ()
        _usual = len(parts) == len(USUAL) and {type(part) for part in parts} == USUAL
        _seen = found
    return _usual


def inject(carrier: MutableMapping[str, Any], context: Context, ours: frozenset[str]) -> None:
    """Write `context` into the headers of an outgoing call.

    Args:
        carrier: takes the headers.
        context: with a span in it.
        ours: keys of a context that are no baggage.
    """
    span: Any = context.get(SPAN_KEY)
    kind = type(span)
    if kind not in KNOWN or not usual():
        propagate.inject(carrier, context=context)
        return
    ids = span.get_span_context()  # which says that they are known outside from now on
    if kind is not NonRecordingSpan:
        trace_id, flags, state = span._trace
        span_id = span._span_id
    elif ids.is_valid:
        trace_id, span_id, flags, state = ids.trace_id, ids.span_id, ids.trace_flags, ids.trace_state
    else:
        return
    digits = (trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big")).hex()  # a third of what formatting takes
    carrier["traceparent"] = f"00-{digits[:32]}-{digits[32:]}-{_FLAGS[flags]}"
    if state is not NO_STATE and state:
        carrier["tracestate"] = state.to_header()
    if not ours.issuperset(context):
        _baggage.inject(carrier, context)


def alone(carrier: Any) -> Context | None:
    """Return what incoming headers say that hold a `traceparent` and nothing else; None where propagators are to tell.

    Args:
        carrier: the headers by their lower-case names, texts that are bounded.
    """
    if type(carrier) is not dict or len(carrier) != 1 or not usual():
        return None
    return parent(carrier.get("traceparent"))


def parent(header: str | None) -> Context | None:
    """Return the context of a `traceparent` that stands alone, if it is of the usual form; None for any other."""
    if not header or _PARENT(header) is None:
        return None
    raw = bytes.fromhex(header[3:35] + header[36:52])  # int(..., 16) takes twice as long
    trace_id, span_id = int.from_bytes(raw[:16], "big"), int.from_bytes(raw[16:], "big")
    if not trace_id or not span_id:
        return None
    given = _GIVEN.get(header[53:]) or TraceFlags(int(header[53:], 16))
    made = Context()
    ids = make_context(SpanContext, (trace_id, span_id, True, given, NO_STATE, True))
    add_item(made, SPAN_KEY, NonRecordingSpan(ids))
    return made


def nothing_in(environ: Mapping[str, Any]) -> bool:
    """Return whether the environ of a request surely has no context in it."""
    return "HTTP_TRACEPARENT" not in environ and "HTTP_BAGGAGE" not in environ and usual()
