# SPDX-License-Identifier: Apache-2.0
"""A root that joins a trace after it has begun: a caller is believed only once it is known who that is."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter, time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind

from otel_openstack.tracing import operations
from otel_openstack.tracing.api_seam import SPAN_KEY, get_context
from otel_openstack.tracing.operations import TOTALS_KEY, Operation
from otel_openstack.tracing.span import Dropped, Span, set_item
from otel_openstack.tracing.tracer import Tracer


def join(
    root: Operation, scope: str, name: str, kind: SpanKind, attributes: Mapping[str, Any] | None, above: Context
) -> bool:
    """Make `root` what it would be if it had begun under `above`; it is sampled as such, and loses its links.

    The span begins a second time, and the sampler decides once more: one that was recorded may be dropped, and the
    other way round. The object of a span that stays recorded stays the same, and so do the totals and the start.

    Args:
        root: an operation of `root`, still open and current.
        scope: the arguments that it was begun with, and so on.
        name: see scope.
        kind: see scope.
        attributes: what samplers may look at.
        above: the extracted context: the remote span, baggage, and what else propagators know.

    Returns:
        False, with nothing done, where somebody has seen the span as it was: something was started under it, its
        context was asked for (by a log line, a header), it has events, span processors or counters were told, another
        context was derived from it. False too for a sampler or id generator that has to be called.

    """
    tracer = operations.tracer(scope)
    if not isinstance(tracer, Tracer) or not tracer.silent or get_context() is not root._context:
        return False
    span = root.span
    if not _unseen(span):
        return False
    start = time_ns() - int((perf_counter() - root.start) * 1e9)
    fresh = tracer.start_span(name, above, kind, attributes, None, start)
    if isinstance(span, Span) and isinstance(fresh, Span):
        span._trace, span._parent, span._extra = fresh._trace, fresh._parent, None
    else:
        root.span = fresh
        root.described = root.described or (tracer.kept and isinstance(fresh, Span))
    # In place: the caller of the operation holds a token for this context, and what was copied from it follows.
    for key, value in above.items():
        if key not in (SPAN_KEY, TOTALS_KEY):
            set_item(root._context, key, value)
    set_item(root._context, SPAN_KEY, root.span)
    return True


def _unseen(span: Any) -> bool:
    if type(span) in (NonRecordingSpan, Dropped):
        return True  # what was started under it is dropped as well, as long as a rule decides that needs no call
    if type(span) is not Span or span.used or hasattr(span, "_context") or span._end_time is not None:
        return False
    extra = span._extra
    return extra is None or not (extra.events or extra.status)
