# SPDX-License-Identifier: Apache-2.0
"""Recording: a histogram, a counter and a gauge; bound, with three dynamic attributes, disabled."""

from __future__ import annotations

import socket
from typing import Any

from micro import Cases, Made, nothing

LABELS = ("GET", "/v2.1/servers/{id}", 200)
KEYS = ("http.request.method", "http.route", "http.response.status_code")
ATTRIBUTES = dict(zip(KEYS, LABELS, strict=True))
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
VALUES = {"histogram": "0.042", "counter": "1", "gauge": "7"}
DYNAMIC = {"a": "GET", "b": "/v2.1/servers/{id}", "c": 200}


def instrument(kind: str, level: str = "basic", limit: int = 2000) -> Any:
    """Return an instrument of the shipped class that stands in no registry."""
    from otel_openstack.metrics import instruments
    from otel_openstack.semconv.model import Instrument

    bounds = BOUNDARIES if kind == "histogram" else None
    model = Instrument("bench", kind, "s", "", KEYS, level, bounds, False, limit, "development")
    return instruments.CLASSES[kind](model)


def _ours_found(made: Any) -> Any:
    return lambda: sum(made.kind.times(cell) for _, cell in made.snapshot())


def _ours_gauge_found(made: Any) -> Any:
    # A gauge's cell holds as which of all it was last set.
    return lambda: max((made.kind.times(cell) for _, cell in made.snapshot()), default=0)


def ours_bound(kind: str) -> Made:
    made = instrument(kind)
    record = made.bind(*LABELS)
    made.record(1, *LABELS)
    return Made(f"f({VALUES[kind]})", {"f": record}, _ours_gauge_found(made) if kind == "gauge" else _ours_found(made))


def ours_dynamic(kind: str) -> Made:
    made = instrument(kind)
    return Made(f"f({VALUES[kind]}, a, b, c)", {"f": made.record, **DYNAMIC}, _ours_found(made))


def ours_by_project(*, told: bool) -> Made:
    """With the project that the hook tells, or that has to be asked for (of a developer's instrument)."""
    from opentelemetry.trace import SpanKind

    from otel_openstack import dimensions, settings, tracing
    from otel_openstack.metrics import instruments
    from otel_openstack.semconv.model import Instrument

    settings.use(settings.Settings(metric_dimensions={"project": "top:20"}))
    of = ("openstack.project_id",)
    model = Instrument("bench", "histogram", "s", "", KEYS, "basic", BOUNDARIES, False, 2000, "development", of)
    made = instruments.CLASSES["histogram"](model)
    if told:
        return Made("f(0.042, a, b, c, p)", {"f": made.record, **DYNAMIC, "p": "p1"}, _ours_found(made))
    tracing.root("bench", "GET", SpanKind.SERVER)
    dimensions.add(project="p1", user="u1", request="req-1")
    return Made("f(0.042, a, b, c)", {"f": made.record, **DYNAMIC}, _ours_found(made))


def ours_disabled() -> Made:
    return Made("f(0.042)", {"f": instrument("histogram", "deep").bind(*LABELS)})


def _sdk() -> tuple[Any, Any]:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    return MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench"), reader


def sdk_points(reader: Any) -> list[Any]:
    data = reader.get_metrics_data()
    if data is None:
        return []
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


def sdk_histogram(statement: str = "f(0.042, d)", **uses: Any) -> Made:
    meter, reader = _sdk()
    record = meter.create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES).record
    uses = uses or {"d": ATTRIBUTES}
    return Made(statement, {"f": record, **uses}, lambda: sum(point.count for point in sdk_points(reader)))


def sdk_counter(statement: str = "f(1, d)", **uses: Any) -> Made:
    meter, reader = _sdk()
    uses = uses or {"d": ATTRIBUTES}
    found = lambda: sum(point.value for point in sdk_points(reader))  # noqa: E731
    return Made(statement, {"f": meter.create_counter("bench").add, **uses}, found)


def sdk_gauge() -> Made:
    meter, _ = _sdk()
    return Made("f(7, d)", {"f": meter.create_gauge("bench").set, "d": ATTRIBUTES})


def sdk_disabled() -> Made:
    from opentelemetry.metrics import NoOpMeter

    return Made("f(0.042, d)", {"f": NoOpMeter("bench").create_histogram("bench").record, "d": ATTRIBUTES})


SDK_DYNAMIC = {
    "statement": f"f(v, {{{', '.join(f'{k!r}: {n}' for k, n in zip(KEYS, 'abc', strict=True))}}})",
    **DYNAMIC,
}


def _prometheus(kind: str) -> Any:
    import prometheus_client

    options = {"buckets": BOUNDARIES} if kind == "Histogram" else {}
    registry = prometheus_client.CollectorRegistry()
    return getattr(prometheus_client, kind)("bench", "", ["a", "b", "c"], registry=registry, **options)


def _prometheus_found(made: Any, suffix: str) -> Any:
    return lambda: int(sum(s.value for family in made.collect() for s in family.samples if s.name.endswith(suffix)))


def prometheus_bound(kind: str, method: str, suffix: str) -> Made:
    made = _prometheus(kind)
    found = None if kind == "Gauge" else _prometheus_found(made, suffix)
    return Made("f(0.042)" if kind == "Histogram" else "f(1)", {"f": getattr(made.labels(*LABELS), method)}, found)


def prometheus_dynamic(kind: str, method: str, suffix: str) -> Made:
    made = _prometheus(kind)
    return Made(
        f"f(a, b, c).{method}({0.042 if kind == 'Histogram' else 1})",
        {"f": made.labels, **DYNAMIC},
        _prometheus_found(made, suffix),
    )


class _Datagrams:
    """A statsd that counts the metrics it gets."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**23)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.count = 0

    def drain(self) -> int:
        while True:
            try:
                self.count += 1 + self.socket.recv(2048).count(b"\n")
            except BlockingIOError:
                return self.count


def statsd(method: str, statement: str) -> Made:
    from statsd import StatsClient

    sink = _Datagrams()
    client = StatsClient("127.0.0.1", sink.socket.getsockname()[1])
    return Made(statement, {"f": getattr(client, method), **DYNAMIC}, sink.drain, collect=sink.drain)


CASES: Cases = {
    "histogram, bound": {
        "nothing": nothing,
        "ours": lambda: ours_bound("histogram"),
        "otel sdk": sdk_histogram,
        "prometheus_client": lambda: prometheus_bound("Histogram", "observe", "_count"),
        "statsd": lambda: statsd("timing", "f('bench.GET.servers.200', 42)"),
    },
    "histogram, three attributes": {
        "nothing": nothing,
        "ours": lambda: ours_dynamic("histogram"),
        "otel sdk": lambda: sdk_histogram(**SDK_DYNAMIC, v=0.042),
        "prometheus_client": lambda: prometheus_dynamic("Histogram", "observe", "_count"),
        "statsd": lambda: statsd("timing", "f(f'bench.{a}.{b}.{c}', 42)"),
    },
    "histogram, by project": {"nothing": nothing, "ours": lambda: ours_by_project(told=True)},
    "histogram, by the project of the request": {"nothing": nothing, "ours": lambda: ours_by_project(told=False)},
    "histogram, disabled": {"nothing": nothing, "ours": ours_disabled, "otel sdk": sdk_disabled},
    "counter, bound": {
        "nothing": nothing,
        "ours": lambda: ours_bound("counter"),
        "otel sdk": sdk_counter,
        "prometheus_client": lambda: prometheus_bound("Counter", "inc", "_total"),
        "statsd": lambda: statsd("incr", "f('bench.GET.servers.200')"),
    },
    "counter, three attributes": {
        "nothing": nothing,
        "ours": lambda: ours_dynamic("counter"),
        "otel sdk": lambda: sdk_counter(**SDK_DYNAMIC, v=1),
        "prometheus_client": lambda: prometheus_dynamic("Counter", "inc", "_total"),
        "statsd": lambda: statsd("incr", "f(f'bench.{a}.{b}.{c}')"),
    },
    "gauge, bound": {
        "nothing": nothing,
        "ours": lambda: ours_bound("gauge"),
        "otel sdk": sdk_gauge,
        "prometheus_client": lambda: prometheus_bound("Gauge", "set", "bench"),
        "statsd": lambda: statsd("gauge", "f('bench.GET.servers.200', 7)"),
    },
}
