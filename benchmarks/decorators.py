# SPDX-License-Identifier: Apache-2.0
"""What a call of a decorated function costs beyond the plain call, ours beside others: instructions and nanoseconds.

    python benchmarks/decorators.py [case ...]

Instructions are marginal, under callgrind: what 2n calls take less what n take; the plain call is taken off. Every case
checks first that its calls are recorded, or that there is nothing to record. wrapt and osprofiler come with the tests'
requirements.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

N = 3000
SLOW = ("sdk_histogram", "sdk_span", "traced", "all_in_one", "traced_sampled_out")

REGISTRY = """
groups:
  - id: metric.bench.duration
    type: metric
    metric_name: bench.duration
    instrument: histogram
    unit: s
    brief: Duration.
    stability: development
    attributes: [{ref: bench.flavor}, {ref: error.type}]
    annotations: {level: basic, boundaries: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]}
  - id: metric.bench.deep
    type: metric
    metric_name: bench.deep
    instrument: histogram
    unit: s
    brief: Duration.
    stability: development
    annotations: {level: deep, boundaries: [1]}
  - id: metric.bench.calls
    type: metric
    metric_name: bench.calls
    instrument: counter
    unit: "{call}"
    brief: Calls.
    stability: development
    annotations: {level: basic}
  - id: span.bench.work
    type: span
    span_kind: internal
    brief: Work.
    stability: development
    attributes: [{ref: bench.flavor}]
  - id: event.bench.work
    type: event
    name: bench.work
    brief: Work.
    stability: development
  - id: registry.bench
    type: attribute_group
    brief: Of the benchmark.
    attributes: [{id: bench.flavor, type: string, brief: Flavor., stability: development}]
"""


class Thing:
    def __init__(self) -> None:
        self.name = "m1.tiny"


THING = Thing()


def work(thing: Any, number: int) -> Any:
    return thing


def plain() -> Any:
    return work


def off() -> Any:
    from otel_openstack import timed

    made = timed("bench.deep")(work)
    assert made is work
    return made


def moved_to_off() -> Any:
    from otel_openstack import levels

    made = timed()
    levels.move("off")
    return made


def timed() -> Any:
    from otel_openstack import metrics, timed

    made = timed("bench.duration")(work)
    made(THING, 1)
    assert metrics.testing_points("bench.duration")[0].count == 1
    return made


def timed_with_attribute() -> Any:
    from otel_openstack import metrics, timed

    made = timed("bench.duration", {"bench.flavor": "thing.name"})(work)
    made(THING, 1)
    assert metrics.testing_points("bench.duration")[0].attributes == {"bench.flavor": "m1.tiny"}
    return made


def timed_behind_a_wrapper() -> Any:
    """`*args, **kwargs` all the way: what is timed is some other decorator's wrapper."""
    import functools

    from otel_openstack import timed

    @functools.wraps(work)
    def between(*args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)

    return timed("bench.duration")(between)


def plain_wrapper() -> Any:
    def between(*args: Any, **kwargs: Any) -> Any:
        return work(*args, **kwargs)

    return between


def counted() -> Any:
    from otel_openstack import counted

    return counted("bench.calls")(work)


def traced() -> Any:
    _provider(1.0)
    from otel_openstack import traced

    return _in_request(traced("bench.work")(work))


def traced_sampled_out() -> Any:
    _provider(0.0)
    from otel_openstack import traced

    return _in_request(traced("bench.work")(work))


def all_in_one() -> Any:
    _provider(1.0)
    from otel_openstack import counted, event, timed, traced

    made = timed("bench.duration", {"bench.flavor": "thing.name"})(
        counted("bench.calls")(event("bench.work")(traced("bench.work", {"bench.flavor": "thing.name"})(work)))
    )
    return _in_request(made)


def wrapt_empty() -> Any:
    import wrapt

    @wrapt.decorator
    def empty(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return empty(work)


def sdk_histogram() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    record = MeterProvider([reader], shutdown_on_exit=False).get_meter("bench").create_histogram("bench").record

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            record(time.perf_counter() - start, {"bench.flavor": args[0].name})

    wrapper(THING, 1)
    assert reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].count == 1
    return wrapper


def sdk_span() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=2**20, schedule_delay_millis=600000))
    return provider.get_tracer("bench").start_as_current_span("work")(work)


def osprofiler_inactive() -> Any:
    from osprofiler import profiler

    return profiler.trace("work")(work)


# What each is compared with.
CASES = {
    "plain": "",
    "wrapt_empty": "",
    "plain_wrapper": "",
    "sdk_histogram": "",
    "sdk_span": "",
    "osprofiler_inactive": "",
    "off": "osprofiler_inactive",
    "moved_to_off": "osprofiler_inactive",
    "timed": "wrapt_empty",
    "timed_with_attribute": "sdk_histogram",
    "timed_behind_a_wrapper": "wrapt_empty",
    "counted": "wrapt_empty",
    "traced": "sdk_span",
    "traced_sampled_out": "sdk_span",
    "all_in_one": "sdk_span",
}


def _provider(ratio: float) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from otel_openstack.tracing import TracerProvider, events

    provider = TracerProvider(ParentBased(TraceIdRatioBased(ratio)))
    for queue in (provider.queue, events.queue):
        queue.most_bytes = 2**40
        queue.clear()
    trace.set_tracer_provider(provider)


def _in_request(made: Callable[..., Any]) -> Callable[..., Any]:
    from opentelemetry.trace import SpanKind

    from otel_openstack import tracing

    globals()["_request"] = tracing.root("bench", "request", SpanKind.SERVER)
    return made


def child(case: str, times: int) -> None:
    import gc

    from otel_openstack import use_registry

    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(REGISTRY)
        file.flush()
        use_registry(file.name)
        function = globals()[case]()
    names: dict[str, object] = {"f": function, "thing": THING}
    exec("def loop(times, f=f, thing=thing):\n for _ in range(times): f(thing, 1)", names)
    loop: Any = names["loop"]
    loop(300)
    gc.collect()
    gc.freeze()
    gc.disable()
    start = time.perf_counter()
    loop(times)
    print((time.perf_counter() - start) / times)
    sys.stdout.flush()
    os._exit(0)


def instructions(case: str, times: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", sys.executable]
        command += [str(Path(__file__)), "--child", case, str(times)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found or done.returncode:
        raise SystemExit(f"{case}: {done.stderr[-2000:]}")
    return int(found.group(1))


def nanoseconds(case: str, times: int) -> float:
    command = [sys.executable, str(Path(__file__)), "--child", case, str(times)]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5))
    return min(float(run.stdout) for run in runs) * 1e9


def measure(case: str) -> tuple[float, float]:
    n = N // 10 if case in SLOW else N
    return (instructions(case, 2 * n) - instructions(case, n)) / n, nanoseconds(case, 20 * n)


def main() -> None:
    chosen = sys.argv[1:] or list(CASES)[1:]
    cases = list(dict.fromkeys([*(CASES[case] for case in chosen if CASES[case]), *chosen]))
    bare = measure("plain")
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(cases, pool.map(measure, cases), strict=True))
    print(f"| {'case':24} | instructions |       ns | against                     |")
    print(f"|{'-' * 26}|-------------:|---------:|-----------------------------|")
    for case in cases:
        count, took = results[case][0] - bare[0], results[case][1] - bare[1]
        base = results.get(CASES[case])
        ratio = f"{count / (base[0] - bare[0]):.2f} of {CASES[case]}" if base else ""
        print(f"| {case:24} | {count:12,.0f} | {took:8,.0f} | {ratio:27} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
