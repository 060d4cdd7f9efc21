# SPDX-License-Identifier: Apache-2.0
"""Spans: a child, a root, five set_attribute, sampled out; with their export; and operations, which hooks use."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from micro import Cases, Made, nothing

ATTRIBUTES = {
    "http.request.method": "GET",
    "http.route": "/servers/{id}",
    "http.response.status_code": 200,
    "url.scheme": "http",
    "ratio": 0.5,
}
FIVE = "; ".join(f"s.set_attribute({key!r}, {value!r})" for key, value in ATTRIBUTES.items())
BATCH = 64
"""Spans that are exported together."""
PLENTY = 2**40
STARTED = "s = t('inner', attributes=d)\n  with s: pass"
SET = f"s = t('inner')\n  with s as s: {FIVE}"


class Counted:
    """A sink of ours, or an exporter of the SDK, that encodes and counts instead of sending."""

    encoding = "protobuf"

    def __init__(self, *, encode: bool) -> None:
        self.encode = encode
        self.spans = 0
        self.bytes = 0

    def send(self, signal: Any, payload: bytes, items: int, deadline: float) -> Any:
        from otel_openstack.exporters.sink import Outcome

        self.spans += items
        self.bytes += len(payload)
        return Outcome.DELIVERED, 0

    def close(self) -> None:
        """Nothing is open."""

    def describe(self) -> str:
        return "nowhere"

    def export(self, spans: Any) -> Any:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.spans += len(spans)
        if self.encode:
            self.bytes += len(encode_spans(spans).SerializePartialToString())
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is open."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


class Traced:
    """A tracer of either kind; `flush` brings what is finished to `sink`."""

    def __init__(self, kind: str, *, sampled: bool = True, encode: bool = False) -> None:
        from opentelemetry.sdk.trace import sampling

        sampler = sampling.ParentBased(sampling.TraceIdRatioBased(1.0 if sampled else 0.0))
        self.sink = Counted(encode=encode)
        self.encoded = encode
        getattr(self, f"_{kind}")(sampler)
        self.start = self.tracer.start_as_current_span

    def _sdk(self, sampler: Any) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(sampler, shutdown_on_exit=False)
        sink: Any = self.sink
        processor = BatchSpanProcessor(sink, 100_000, 600_000, 50_000)
        provider.add_span_processor(processor)
        self.tracer = provider.get_tracer("bench")
        self.flush: Callable[[], object] = processor.force_flush

    def _ours(self, sampler: Any) -> None:
        from otel_openstack.runtime import originals
        from otel_openstack.tracing import TracerProvider, job

        provider = TracerProvider(sampler)
        queue = provider.queue
        queue.most_bytes = PLENTY
        queue.clear()
        self.tracer = provider.get_tracer("bench")
        if self.encoded:
            work = job.spans(queue, self.sink)
            self.flush = lambda: work.run(originals.monotonic() + 60, False)
            return

        def forget() -> None:
            self.sink.spans += len(queue.take(PLENTY))

        self.flush = forget

    def found(self) -> int:
        self.flush()
        return self.sink.spans


def child(kind: str, statement: str = STARTED) -> Made:
    traced = Traced(kind)
    traced.start("outer").__enter__()  # current from now on
    return Made(statement, {"t": traced.start, "d": ATTRIBUTES}, traced.found, collect=traced.flush)


def _outside() -> None:
    """Leave whatever span an earlier case has made current."""
    from opentelemetry import context

    context.attach(context.Context())


def root(kind: str, *, sampled: bool = True) -> Made:
    _outside()
    traced = Traced(kind, sampled=sampled)
    found = traced.found if sampled else None
    return Made(STARTED, {"t": traced.start, "d": ATTRIBUTES}, found, collect=traced.flush)


def exported(kind: str) -> Made:
    traced = Traced(kind, encode=True)
    traced.start("outer").__enter__()
    statement = f"for _ in range({BATCH}):\n   with t('inner', attributes=d): pass\n  flush()"
    uses = {"t": traced.start, "d": ATTRIBUTES, "flush": traced.flush}
    return Made(statement, uses, traced.found, share=BATCH)


def operation(kind: str) -> Made:
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing
    from otel_openstack.tracing import TracerProvider

    _outside()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        provider.queue.most_bytes = PLENTY
        provider.queue.clear()
        trace.set_tracer_provider(provider)
    counted = collections.Counter[str]()

    def flush() -> None:
        counted["spans"] += len(provider.queue.take(PLENTY))

    def found() -> int:
        flush()
        return counted["spans"]

    uses = {"root": tracing.root, "child": tracing.child, "leaf": tracing.leaf, "d": ATTRIBUTES, "kinds": SpanKind}
    statement = OPERATIONS[kind]
    if kind != "root":
        tracing.root("bench", "outer", SpanKind.SERVER, ATTRIBUTES)
    return Made(statement, uses, found, collect=flush)


OPERATIONS = {
    "root": "root('bench', 'outer', kinds.SERVER, d).finish()",
    "child": "child('bench', 'inner', kinds.CLIENT, d).finish()",
    "leaf": "leaf('bench', 'inner', kinds.CLIENT, d, 1, 2)",
}


def _both(make: Callable[..., Made], *args: Any, **options: Any) -> dict[str, Any]:
    return {
        "nothing": nothing,
        "ours": lambda: make("ours", *args, **options),
        "otel sdk": lambda: make("sdk", *args, **options),
    }


CASES: Cases = {
    "span, child": _both(child),
    "span, root": _both(root),
    "span, five set_attribute": _both(child, SET),
    "span, sampled out": _both(root, sampled=False),
    "span, made and exported": _both(exported),
    "operation, root": {"nothing": nothing, "ours": lambda: operation("root")},
    "operation, child": {"nothing": nothing, "ours": lambda: operation("child")},
    "operation, leaf": {"nothing": nothing, "ours": lambda: operation("leaf")},
}
