# SPDX-License-Identifier: Apache-2.0
"""Instructions per span under callgrind, ours beside the SDK's: `python benchmarks/tracing_instructions.py [NAME...]`.

Each figure is the difference between a run of 2n and one of n spans, divided by n: what one more span costs, start-up
left out. It hardly varies, so it may be compared over commits on one version of Python.
"""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

N = 400
ATTRIBUTES = {
    "http.request.method": "GET",
    "http.route": "/servers/{id}",
    "http.response.status_code": 200,
    "url.scheme": "http",
    "ratio": 0.5,
}
# scenario -> the largest share of the SDK's instructions that ours may take
TARGETS = {"child": 1 / 10, "root": 1 / 8, "set": 1 / 8, "dropped": 1 / 4}
ALONE = ("operation_root", "operation_child", "leaf")


def tracer(kind: str, *, sampled: bool) -> Any:
    from opentelemetry.sdk.trace import sampling

    sampler = sampling.ParentBased(sampling.TraceIdRatioBased(1.0 if sampled else 0.0))
    if kind == "sdk":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Nowhere(SpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        provider: Any = TracerProvider(sampler)
        provider.add_span_processor(
            BatchSpanProcessor(
                Nowhere(), max_queue_size=100000, max_export_batch_size=50000, schedule_delay_millis=600000
            )
        )
        return provider.get_tracer("bench")
    from opentelemetry import trace

    from otel_openstack.tracing import TracerProvider as Ours

    provider = Ours(sampler)
    provider.queue.most_bytes = 2**40
    provider.queue.clear()
    trace.set_tracer_provider(provider)
    return provider.get_tracer("bench")


def child(tracer: Any, n: int) -> None:
    start = tracer.start_as_current_span
    with start("outer"):
        for _ in range(n):
            with start("inner", attributes=ATTRIBUTES):
                pass


def root(tracer: Any, n: int) -> None:
    start = tracer.start_as_current_span
    for _ in range(n):
        with start("outer", attributes=ATTRIBUTES):
            pass


def set_(tracer: Any, n: int) -> None:
    start = tracer.start_as_current_span
    with start("outer"):
        for _ in range(n):
            with start("inner") as span:
                span.set_attribute("http.request.method", "GET")
                span.set_attribute("http.route", "/servers/{id}")
                span.set_attribute("http.response.status_code", 200)
                span.set_attribute("url.scheme", "http")
                span.set_attribute("ratio", 0.5)


def operation_root(tracer: Any, n: int) -> None:
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing

    for _ in range(n):
        tracing.root("bench", "outer", SpanKind.SERVER, ATTRIBUTES).finish()


def operation_child(tracer: Any, n: int) -> None:
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing

    outer = tracing.root("bench", "outer", SpanKind.SERVER, ATTRIBUTES)
    for _ in range(n):
        tracing.child("bench", "inner", SpanKind.CLIENT, ATTRIBUTES).finish()
    outer.finish()


def leaf(tracer: Any, n: int) -> None:
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing

    outer = tracing.root("bench", "outer", SpanKind.SERVER, ATTRIBUTES)
    for _ in range(n):
        tracing.leaf("bench", "inner", SpanKind.CLIENT, ATTRIBUTES, 1, 2)
    outer.finish()


def work(kind: str, scenario: str, n: int) -> None:
    """Run n spans; the process that callgrind counts."""
    functions = {"child": child, "root": root, "set": set_, "dropped": root}
    functions.update({"operation_root": operation_root, "operation_child": operation_child, "leaf": leaf})
    made = tracer(kind, sampled=scenario != "dropped")
    gc.collect()
    gc.freeze()  # else one collection of everything imported falls into one run and not into the other
    functions[scenario](made, n)
    sys.stdout.flush()
    os._exit(0)  # nothing of the end of the process is counted


def count(kind: str, scenario: str, n: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", sys.executable, __file__]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [*command, "--work", kind, scenario, str(n)], capture_output=True, text=True, env=environment, check=True
        )
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])  # type: ignore[index]


def marginal(pair: tuple[str, str]) -> int:
    kind, scenario = pair
    return (count(kind, scenario, 2 * N) - count(kind, scenario, N)) // N


def main(chosen: list[str]) -> int:
    scenarios = [name for name in (*TARGETS, *ALONE) if not chosen or name in chosen]
    pairs = [(kind, name) for name in scenarios for kind in ("ours", "sdk") if kind == "ours" or name in TARGETS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        figures = dict(zip(pairs, pool.map(marginal, pairs), strict=True))
    missed = 0
    for name in scenarios:
        ours, sdk = figures["ours", name], figures.get(("sdk", name))
        if sdk is None:
            print(f"{name:16} {ours:8,}")
            continue
        met = ours <= sdk * TARGETS[name]
        missed += not met
        verdict = f"{'met' if met else 'missed'} 1/{1 / TARGETS[name]:.0f}"
        print(f"{name:16} {ours:8,} of {sdk:8,}  1/{sdk / ours:.1f}  {verdict}")
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    sys.exit(main(sys.argv[1:]))
