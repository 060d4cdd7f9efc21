# SPDX-License-Identifier: Apache-2.0
"""Instructions per record, ours beside the SDK's and prometheus_client's, under callgrind.

    python benchmarks/metrics_callgrind.py [case ...]

The figure is marginal: what 2n records take less what n take, so start-up and warm-up cancel out. The turn of the loop
itself (`nothing`) is taken off.
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

N = 3000
LABELS = ("GET", "/v2.1/servers/{id}", 200)
KEYS = ("http.request.method", "http.route", "http.response.status_code")
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

Run = tuple[str, Callable[..., object]]
"""A statement to repeat, and what it calls `f`."""


def _instrument(kind: str, level: str = "basic"):
    from otel_openstack.metrics import instruments
    from otel_openstack.semconv.model import Instrument

    bounds = BOUNDARIES if kind == "histogram" else None
    model = Instrument("bench", kind, "s", "", KEYS, level, bounds, False, 2000, "development")
    return instruments.CLASSES[kind](model)


def _sdk():
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    return MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False).get_meter("bench")


def ours_histogram_bound() -> Run:
    record = _instrument("histogram").bind(*LABELS)
    return "f(0.042)", record


def ours_histogram_dynamic() -> Run:
    record = _instrument("histogram").record
    return 'f(0.042, "GET", "/v2.1/servers/{id}", 200)', record


def ours_histogram_disabled() -> Run:
    record = _instrument("histogram", "deep").bind(*LABELS)
    return "f(0.042)", record


def ours_counter_bound() -> Run:
    add = _instrument("counter").bind(*LABELS)
    return "f(1)", add


def ours_counter_dynamic() -> Run:
    add = _instrument("counter").record
    return 'f(1, "GET", "/v2.1/servers/{id}", 200)', add


def ours_gauge_bound() -> Run:
    put = _instrument("gauge").bind(*LABELS)
    return "f(7)", put


def sdk_histogram() -> Run:
    histogram = _sdk().create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES)
    return f"f(0.042, {dict(zip(KEYS, LABELS, strict=True))})", histogram.record


def sdk_counter() -> Run:
    counter = _sdk().create_counter("bench")
    return f"f(1, {dict(zip(KEYS, LABELS, strict=True))})", counter.add


def prometheus_histogram_bound() -> Run:
    from prometheus_client import CollectorRegistry, Histogram

    histogram = Histogram("bench", "", ["a", "b", "c"], buckets=BOUNDARIES, registry=CollectorRegistry())
    child = histogram.labels(*LABELS)
    return "f(0.042)", child.observe


def prometheus_histogram_dynamic() -> Run:
    from prometheus_client import CollectorRegistry, Histogram

    histogram = Histogram("bench", "", ["a", "b", "c"], buckets=BOUNDARIES, registry=CollectorRegistry())
    return 'f("GET", "/v2.1/servers/{id}", 200).observe(0.042)', histogram.labels


def prometheus_counter_bound() -> Run:
    from prometheus_client import CollectorRegistry, Counter

    child = Counter("bench", "", ["a", "b", "c"], registry=CollectorRegistry()).labels(*LABELS)
    return "f()", child.inc


def _collected():
    """Return what a collection of 64 series of a histogram holds, in both forms."""
    from opentelemetry.sdk.resources import Resource

    from otel_openstack.metrics import encoding, points, streams

    instrument = _instrument("histogram")
    for number in range(64):
        instrument.record(0.042, "GET", f"/v2.1/{number}", 200)
    stream = streams.Stream("bench", "", "s", "histogram", False, 2, KEYS, BOUNDARIES)
    feed = streams.Feed(instrument, [stream], 1)
    resource = Resource.get_empty()
    data = points.merged(None, resource, feed.collect(1, 2))
    return encoding, feed, resource, data


def ours_point_collected_and_encoded() -> Run:
    encoding, feed, resource, _ = _collected()

    def run():
        batches = feed.collect(1, 2)
        return list(encoding.payloads(encoding.Collected(resource, (), batches), "protobuf", 1024, int))

    return "f()", run


def ours_point_as_json() -> Run:
    encoding, feed, resource, _ = _collected()

    def run():
        batches = feed.collect(1, 2)
        return list(encoding.payloads(encoding.Collected(resource, (), batches), "json", 1024, int))

    return "f()", run


def sdk_point_collected_and_encoded() -> Run:
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench")
    histogram = meter.create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES)
    for number in range(64):
        histogram.record(0.042, dict(zip(KEYS, ("GET", f"/v2.1/{number}", 200), strict=True)))
    return "f()", lambda: encode_metrics(reader.get_metrics_data()).SerializeToString()


POINTS = 64
# Case -> what it is compared with, and for how many points one run stands.
CASES = {
    "nothing": ("", 1),
    "sdk_histogram": ("", 1),
    "sdk_counter": ("", 1),
    "prometheus_histogram_bound": ("sdk_histogram", 1),
    "prometheus_histogram_dynamic": ("sdk_histogram", 1),
    "prometheus_counter_bound": ("sdk_counter", 1),
    "ours_histogram_bound": ("sdk_histogram", 1),
    "ours_histogram_dynamic": ("sdk_histogram", 1),
    "ours_histogram_disabled": ("sdk_histogram", 1),
    "ours_counter_bound": ("sdk_counter", 1),
    "ours_counter_dynamic": ("sdk_counter", 1),
    "ours_gauge_bound": ("sdk_counter", 1),
    "sdk_point_collected_and_encoded": ("", POINTS),
    "ours_point_collected_and_encoded": ("sdk_point_collected_and_encoded", POINTS),
    "ours_point_as_json": ("sdk_point_collected_and_encoded", POINTS),
}


def nothing() -> Run:
    return "f", int


def child(case: str, times: int) -> None:
    statement, function = globals()[case]()
    names: dict[str, object] = {"f": function}
    exec(f"def loop(times, f=f):\n for _ in range(times): {statement}", names)
    loop = names["loop"]
    loop(300 if CASES.get(case, ("", 1))[1] == 1 else 5)
    start = time.perf_counter()
    loop(times)
    print((time.perf_counter() - start) / times)


def instructions(case: str, times: int) -> int:
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", sys.executable]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        command += [__file__, "--child", case, str(times)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(f"{case}: {done.stderr[-2000:]}")
    return int(found.group(1))


def nanoseconds(case: str, times: int) -> float:
    command = [sys.executable, __file__, "--child", case, str(times)]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3))
    return min(float(run.stdout) for run in runs) * 1e9


def measure(case: str) -> tuple[float, float]:
    share = CASES[case][1]
    n = N if share == 1 else N // 50
    marginal = (instructions(case, 2 * n) - instructions(case, n)) / n
    return marginal / share, nanoseconds(case, 20 * n) / share


def main() -> None:
    cases = sys.argv[1:] or list(CASES)[1:]
    loop, _ = measure("nothing")
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(cases, pool.map(measure, cases), strict=True))
    print(f"| {'case':34} | instructions |       ns | against |")
    print(f"|{'-' * 36}|-------------:|---------:|---------|")
    for case in cases:
        count, took = results[case][0] - loop, results[case][1]
        base = results.get(CASES[case][0])
        ratio = f"1/{(base[0] - loop) / count:.1f}" if base else ""
        print(f"| {case:34} | {count:12,.0f} | {took:8,.0f} | {ratio:7} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        main()
