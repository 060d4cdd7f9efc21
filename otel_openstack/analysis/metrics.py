# SPDX-License-Identifier: Apache-2.0
"""Points -> what happened, per service and metric, over all its processes.

Exports may hold all series or only those that changed; a process may end, restart or reset its counts at any time. So
every process' series is added up on its own:
cumulative points by the last one of each start time, delta points by their sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_openstack.analysis import distribution, otlp
from otel_openstack.analysis.distribution import Distribution
from otel_openstack.analysis.otlp import Request, Value

TEMPORALITY = ("UNSPECIFIED", "DELTA", "CUMULATIVE")
_DATA = (
    ("gauge", "gauge", "gauge"),
    ("sum", "sum", "sum"),
    ("histogram", "histogram", "histogram"),
    ("exponentialHistogram", "exponential_histogram", "histogram"),
    ("summary", "summary", "histogram"),
)
STATE_SUFFIX = ".state"
"""Series that differ in such an attribute (used and idle connections) say nothing as a sum: they stay apart."""

_GENERIC = ("process.", "system.", "cpython.", "otel_openstack.", "otel.")

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Point:
    """One data point. Times are Unix nanoseconds; of a histogram `value` is the count and `total` the sum."""

    start: int
    time: int
    value: float
    total: float = 0.0
    raw: Mapping[str, Any] | None = None
    data: str = ""
    parsed: Distribution | None = None

    @property
    def spread(self) -> Distribution | None:
        """A histogram's buckets, made when asked for: of most points only the count is."""
        if self.parsed is None and self.raw is not None:
            self.parsed, self.raw = _spread(self.raw, self.data), None
        return self.parsed


@dataclass(slots=True)
class Series:
    """One metric with one set of attributes in one process."""

    kind: str
    delta: bool
    monotonic: bool
    history: list[tuple[int, int, float, float]] = field(default_factory=list)
    """(start, time, value, a histogram's sum) of every point."""
    last: dict[tuple[int, int], Point] = field(default_factory=dict)
    """By (start time, restarts seen): of a cumulative series the newest point, of a delta series the sum."""
    restarts: int = 0

    def add(self, point: Point) -> None:
        self.history.append((point.start, point.time, point.value, point.total))
        if self.delta:
            self._add_delta(point)
            return
        known = self.last.get((point.start, self.restarts))
        # a writer that gives no start time, or keeps it over a restart, shows the restart by counting less
        if known and self.counts and point.time > known.time and point.value < known.value:
            self.restarts += 1
            known = None
        if known is None or point.time >= known.time:
            self.last[point.start, self.restarts] = point

    def _add_delta(self, point: Point) -> None:
        known = self.last.get((0, 0))
        if known is None:
            self.last[0, 0] = point
            return
        known.time = max(known.time, point.time)
        known.value += point.value
        if known.spread and point.spread:
            known.spread.add(point.spread)

    @property
    def counts(self) -> bool:
        """Whether its value only grows: a counter or a histogram, not a level."""
        return self.monotonic or self.kind == "histogram"

    @property
    def newest(self) -> Point:
        return max(self.last.values(), key=lambda point: point.time)

    def increments(self) -> list[tuple[int, float, float]]:
        """Return (time, growth of the value, growth of the sum) between points; of a level (time, value, 0)."""
        history = sorted(self.history, key=lambda entry: (entry[1], entry[0]))
        if self.delta or not self.counts:
            return [(time, value, total) for _, time, value, total in history]
        grown = []
        before: tuple[int, float, float] | None = None
        for start, time, value, total in history:
            fresh = before is None or before[0] != start or value < before[1]
            past, past_total = (0.0, 0.0) if fresh or before is None else before[1:]
            grown.append((time, value - past, total - past_total))
            before = (start, value, total)
        return grown


@dataclass(slots=True)
class Metric:
    """A metric of one service: its series by (process, attributes)."""

    service: str
    name: str
    unit: str
    kind: str
    monotonic: bool
    description: str
    series: dict[tuple[str, Labels], Series] = field(default_factory=dict)


@dataclass(slots=True)
class Line:
    """A row of the table: one metric of one service, over some of its attributes."""

    metric: Metric
    labels: Labels
    series: list[Series]
    attribute_sets: int
    processes: int

    @property
    def spread(self) -> Distribution:
        """A histogram's, over all processes."""
        sums = Distribution()
        for series in self.series:
            for point in series.last.values():
                if point.spread:
                    sums.add(point.spread)
        return sums

    @property
    def total(self) -> float:
        """A counter's, over all processes and restarts."""
        return sum(point.value for series in self.series for point in series.last.values())

    @property
    def current(self) -> float:
        """A level's last value: added up over series, but of a gauge (whose values do not add) the largest."""
        values = [series.newest.value for series in self.series]
        return max(values) if self.metric.kind == "gauge" else sum(values)

    @property
    def highest(self) -> float:
        """A level's largest value in any one series."""
        return max(value for series in self.series for _, _, value, _ in series.history)


class Metrics:
    """All metrics of a recording."""

    def __init__(self) -> None:
        self.by_key: dict[tuple[str, str, str], Metric] = {}
        self.start = 0
        self.end = 0

    def add(self, request: Request) -> None:
        for group in otlp.items(request.body, "resourceMetrics", "resource_metrics"):
            self._add_resource(group)

    def _add_resource(self, group: Mapping[str, Any]) -> None:
        resource = otlp.attributes(otlp.field(group.get("resource"), "attributes"))
        service = str(resource.get("service.name") or "unknown_service")
        process = repr(sorted(resource.items(), key=lambda item: item[0]))
        for scoped in otlp.items(group, "scopeMetrics", "scope_metrics"):
            scope = otlp.text(otlp.field(scoped.get("scope"), "name"))
            for raw in otlp.items(scoped, "metrics"):
                self._add_metric(raw, service, f"{process} {scope}")

    def _add_metric(self, raw: Mapping[str, Any], service: str, process: str) -> None:
        name = otlp.text(raw.get("name"))
        held = ((otlp.field(raw, camel, snake), camel, kind) for camel, snake, kind in _DATA)
        data, camel, kind = next((found for found in held if isinstance(found[0], dict)), (None, "", ""))
        if not name or data is None:
            return
        delta = otlp.enum(_temporality(data), TEMPORALITY, "AGGREGATION_TEMPORALITY_") == "DELTA"
        monotonic = otlp.field(data, "isMonotonic", "is_monotonic") is True
        metric: Metric | None = None
        for raw_point in otlp.items(data, "dataPoints", "data_points"):
            point = _point(raw_point, camel)
            if point is None:
                continue
            if metric is None:
                metric = self._metric(service, name, kind, monotonic, raw)
            labels = _labels(otlp.attributes(raw_point.get("attributes")))
            series = metric.series.get((process, labels))
            if series is None:
                series = metric.series[process, labels] = Series(kind, delta and kind != "gauge", monotonic)
            series.add(point)
            self.start = min(self.start or point.time, point.time)
            self.end = max(self.end, point.time)

    def _metric(self, service: str, name: str, kind: str, monotonic: bool, raw: Mapping[str, Any]) -> Metric:
        metric = self.by_key.get((service, name, kind))
        if metric is None:
            unit, description = otlp.text(raw.get("unit")), otlp.text(raw.get("description"))
            metric = self.by_key[service, name, kind] = Metric(service, name, unit, kind, monotonic, description)
        return metric

    def services(self) -> dict[str, list[Metric]]:
        """Return the metrics by service, sorted by name, those of every Python process last."""
        found: dict[str, list[Metric]] = {}
        for key in sorted(self.by_key, key=lambda key: (key[0], key[1].startswith(_GENERIC), key)):
            found.setdefault(key[0], []).append(self.by_key[key])
        return found


def read(requests: Iterable[Request]) -> Metrics:
    """Return the metrics in these requests."""
    found = Metrics()
    for request in requests:
        found.add(request)
    return found


def lines(metric: Metric, *, by_attributes: bool = False) -> Iterator[Line]:
    """Yield the metric's rows: one; one per state if it counts states; or one per set of attributes."""
    groups: dict[Labels, list[tuple[tuple[str, Labels], Series]]] = {}
    for key, series in metric.series.items():
        labels = key[1] if by_attributes else tuple(pair for pair in key[1] if pair[0].endswith(STATE_SUFFIX))
        groups.setdefault(labels, []).append((key, series))
    for labels, members in sorted(groups.items()):
        sets = len({key[1] for key, _ in members})
        processes = len({key[0] for key, _ in members})
        yield Line(metric, labels, [series for _, series in members], sets, processes)


def _temporality(data: Mapping[str, Any]) -> object:
    return otlp.field(data, "aggregationTemporality", "aggregation_temporality")


def _labels(attributes: dict[str, Value]) -> Labels:
    return tuple(sorted((key, str(value)) for key, value in attributes.items()))


def _point(raw: Mapping[str, Any], data: str) -> Point | None:
    start = otlp.integer(otlp.field(raw, "startTimeUnixNano", "start_time_unix_nano"))
    time = otlp.integer(otlp.field(raw, "timeUnixNano", "time_unix_nano"))
    if otlp.integer(raw.get("flags")) & 1:  # NO_RECORDED_VALUE
        return None
    if data in {"gauge", "sum"}:
        value = otlp.number(otlp.field(raw, "asDouble", "as_double"))
        if value is None:
            whole = otlp.field(raw, "asInt", "as_int")
            value = None if whole is None else float(otlp.integer(whole))
        return None if value is None else Point(start, time, value)
    total = otlp.number(raw.get("sum")) or 0.0
    return Point(start, time, float(max(0, otlp.integer(raw.get("count")))), total, raw, data)


def _spread(raw: Mapping[str, Any], data: str) -> Distribution:
    least, most = otlp.number(raw.get("min")), otlp.number(raw.get("max"))
    if data == "histogram":
        bounds = otlp.numbers(otlp.field(raw, "explicitBounds", "explicit_bounds"))
        buckets = distribution.explicit(bounds, otlp.numbers(otlp.field(raw, "bucketCounts", "bucket_counts")))
    elif data == "exponentialHistogram":
        zeros = otlp.integer(otlp.field(raw, "zeroCount", "zero_count"))
        buckets = distribution.exponential(
            otlp.integer(raw.get("scale")), zeros, _side(raw, "positive"), _side(raw, "negative")
        )
    else:
        buckets = {}
    count = max(0, otlp.integer(raw.get("count")))
    return Distribution(count, otlp.number(raw.get("sum")) or 0.0, least, most, buckets)


def _side(raw: Mapping[str, Any], name: str) -> tuple[int, list[float]]:
    side = raw.get(name)
    return otlp.integer(otlp.field(side, "offset")), otlp.numbers(otlp.field(side, "bucketCounts", "bucket_counts"))
