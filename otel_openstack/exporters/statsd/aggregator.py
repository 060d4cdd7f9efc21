# SPDX-License-Identifier: Apache-2.0
"""What is known of every stream, and what is to be sent of every series."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_openstack.exporters.statsd import books
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.config import Config
from otel_openstack.exporters.statsd.exponential import Exponential, ExponentialHistory
from otel_openstack.exporters.statsd.histogram import Explicit, ExplicitHistory
from otel_openstack.exporters.statsd.lines import Encoder, Number
from otel_openstack.exporters.statsd.naming import Namer, labels
from otel_openstack.exporters.statsd.progress import Progress
from otel_openstack.exporters.statsd.series import COUNTER, GAUGE, HISTOGRAM, Catalog, Stream
from otel_openstack.exporters.statsd.templates import Patterns

IDENTIFYING = ("service.namespace", "service.name", "service.instance.id", "process.pid", "host.name")
MOST_FORGOTTEN = 65536
NANOSECONDS = 1_000_000_000
SLICE = 64
"""Points between which others get the interpreter."""


class _MetricKey(NamedTuple):
    """What makes a stream beside its attributes. What a metric is belongs to it: one that changes begins anew."""

    scope: str
    version: str
    name: str
    kind: str
    delta: bool


class _Metric:
    """One metric of one process."""

    def __init__(self, key: _MetricKey, rule: str) -> None:
        self.key = key
        self.rule = rule
        self.streams: dict[Any, Stream] = {}


class _Process:
    """Who sends: a resource. Its streams live as long as it is heard of."""

    def __init__(self, began: int) -> None:
        self.began = began  # counters that started later count from their first point
        self.attributes: dict[str, str] = {}
        self.generation = -1  # counts changes of attributes: names may need making anew
        self.seen = 0.0
        self.metrics: dict[_MetricKey, _Metric] = {}


class Aggregator:
    """Takes points in and writes lines. Used by one thread."""

    def __init__(
        self, config: Config, account: Books, began: float, between: Callable[[], None] = lambda: None
    ) -> None:
        """Prepare.

        Args:
            config: a configuration without problems.
            account: where what is dropped is counted.
            began: seconds since the epoch before which counters are taken to have begun elsewhere.
            between: called after each slice of points, to let others run.
        """
        self.encoder = Encoder(config, account)
        self.catalog = Catalog(self.encoder, account)
        self._config = config
        self._books = account
        self._began = int(began * NANOSECONDS)
        self._between = between
        self._names = Namer(config)
        self._combine = Patterns(config.combine)
        self._processes: dict[Any, _Process] = {}
        self._forgotten: dict[Any, int] = {}
        self._streams = 0
        self._arrivals = 0
        self._now = 0.0

    def consume(
        self, resource: Mapping[str, Any], scope: str, version: str, metrics: Iterable[Metric], now: float
    ) -> None:
        """Take points in.

        Args:
            resource: the attributes of the resource.
            scope: the instrumentation scope's name.
            version: and its version.
            metrics: in the classes of the SDK's data model.
            now: in seconds since the epoch.
        """
        self._now = now
        process = self._process(resource)
        for metric in metrics:
            self._metric(process, scope, version, metric)

    def sweep(self, now: float) -> None:
        """Give up the state of processes that are silent for too long, and of gauges that are not reported any more."""
        oldest = now - self._config.staleness
        for key, process in tuple(self._processes.items()):
            if process.seen < oldest:
                self._forget(key, process)
                continue
            for metric in process.metrics.values():
                if metric.key.kind == GAUGE:
                    for attributes, stream in tuple(metric.streams.items()):
                        if stream.seen < oldest:
                            self.catalog.leave(stream)
                            del metric.streams[attributes]
                            self._streams -= 1
        self.catalog.compact()

    def _forget(self, key: Any, process: _Process) -> None:
        """Remember until when it was known: when it speaks again, its counters hold what was sent already."""
        until = int(process.seen * NANOSECONDS)
        for metric in process.metrics.values():
            for stream in metric.streams.values():
                self.catalog.leave(stream)
                until = max(until, stream.began)  # its clock may be ahead of ours
            self._streams -= len(metric.streams)
        del self._processes[key]
        self._forgotten.pop(key, None)
        self._forgotten[key] = until
        if len(self._forgotten) > MOST_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    def _process(self, resource: Mapping[str, Any]) -> _Process | None:
        key = _identity(resource)
        process = self._processes.get(key)
        if process is None:
            if len(self._processes) >= self._config.max_streams:
                return None
            process = self._processes[key] = _Process(max(self._began, self._forgotten.get(key, 0)))
        process.seen = self._now
        described = dict(labels(resource))
        if process.attributes != described or process.generation < 0:
            process.attributes = described
            process.generation += 1
        return process

    def _metric(self, process: _Process | None, scope: str, version: str, metric: Metric) -> None:
        data: Any = metric.data
        points = data.data_points
        if len(metric.name) > self._config.max_packet_size:
            self._books.drop_points(len(points), books.TOO_LONG)
            return
        if process is None:
            self._books.drop_points(len(points), books.TOO_MANY_STREAMS)
            return
        kind, otherwise, take = self._manner(data)
        if take is None:
            self._books.drop_points(len(points), books.UNSUPPORTED)
            return
        rule = self._combine.find(metric.name, otherwise) if kind == GAUGE else otherwise
        delta = getattr(data, "aggregation_temporality", None) == AggregationTemporality.DELTA
        key = _MetricKey(scope, version, metric.name, type(data).__name__ + kind, delta)
        known = self._known(process, key, kind, rule)
        for place, point in enumerate(points, start=1):
            stream = self._stream(process, known, point.attributes or {})
            if stream is not None:
                take(process, known, stream, point)
            if place % SLICE == 0:
                self._between()

    def _manner(self, data: object) -> tuple[str, str, Callable[..., None] | None]:
        """Return what a metric becomes, by which rule gauges of it combine, and what takes its points."""
        if isinstance(data, Gauge):
            return GAUGE, "last", self._show
        if isinstance(data, Sum):
            return (COUNTER, "sum", self._count) if data.is_monotonic else (GAUGE, "sum", self._show)
        if isinstance(data, Histogram):
            return HISTOGRAM, "sum", self._observe
        return HISTOGRAM, "sum", self._observe_exponential if isinstance(data, ExponentialHistogram) else None

    def _known(self, process: _Process, key: _MetricKey, kind: str, rule: str) -> _Metric:
        """Find or make a metric of a process. At the limit of streams it makes one that is not kept."""
        metric = process.metrics.get(key)
        if metric is None:
            metric = _Metric(key._replace(kind=kind), rule)
            if self._streams < self._config.max_streams:
                process.metrics[key] = metric
        return metric

    def _stream(self, process: _Process, metric: _Metric, attributes: Mapping[str, Any]) -> Stream | None:
        """Find or make the stream of a point; None means that the point was counted as dropped."""
        key = _key(attributes)
        stream = metric.streams.get(key)
        if stream is None:
            if self._streams >= self._config.max_streams:
                self._books.drop_points(1, books.TOO_MANY_STREAMS)
                return None
            stream = metric.streams[key] = Stream()
            self._streams += 1
        if stream.generation != process.generation:
            self._name(process, metric, stream, attributes)
        stream.seen = self._now
        if stream.series is None:
            self._books.drop_points(1, stream.reason)
            return None
        return stream

    def _name(self, process: _Process, metric: _Metric, stream: Stream, attributes: Mapping[str, Any]) -> None:
        """Give a stream its series, also when its process has new attributes."""
        self.catalog.leave(stream)
        stream.generation = process.generation
        identity = self._names.identify(metric.key.name, labels(attributes), process.attributes)
        if sum(len(part.encode("utf-8", "replace")) for part in identity[:3]) > self._config.max_packet_size:
            stream.reason = books.TOO_LONG
            return
        self.catalog.join(stream, metric.key.kind, metric.rule, identity)

    def _count(self, process: _Process, metric: _Metric, stream: Stream, point: NumberDataPoint) -> None:
        value, series = point.value, stream.series
        if series is None or not self._countable(value):
            return
        if metric.key.delta:
            series.count(value)
            return
        last = stream.number
        start, time = point.start_time_unix_nano or 0, point.time_unix_nano
        moved = stream.cumulative.advance(start, time, process.began, decreased=value < last)
        if moved is Progress.LATE:
            self._books.drop_points(1, books.LATE)
            return
        if moved in (Progress.FIRST, Progress.RESET):
            series.count(value)
        elif moved is Progress.FORWARD:
            series.count(value - last)
        stream.number = value

    def _countable(self, value: Number) -> bool:
        if not math.isfinite(value):
            self._books.drop_points(1, books.NOT_FINITE)
            return False
        if value < 0:
            self._books.drop_points(1, books.NEGATIVE)
            return False
        return True

    def _show(self, process: _Process, metric: _Metric, stream: Stream, point: NumberDataPoint) -> None:
        value, time = point.value, point.time_unix_nano
        if not math.isfinite(value):
            self._books.drop_points(1, books.NOT_FINITE)
            return
        if time and time < stream.moved and not metric.key.delta:
            self._books.drop_points(1, books.LATE)
            return
        self._arrivals += 1
        stream.number = stream.number + value if metric.key.delta else value
        stream.moved, stream.arrived = time, self._arrivals
        if stream.series is not None:
            stream.series.show(stream)

    def _observe(self, process: _Process, metric: _Metric, stream: Stream, point: Any) -> None:
        read = Explicit.of(point)
        if read is None:
            self._books.drop_points(1, books.MALFORMED)
            return
        fresh: Explicit | None = read if read.moments.number else None
        if not metric.key.delta:
            stream.explicit = stream.explicit or ExplicitHistory()
            times = (point.start_time_unix_nano or 0, point.time_unix_nano, process.began)
            moved, fresh = stream.explicit.advance(read, *times)
            self._note(moved)
        if fresh is not None and stream.series is not None:
            stream.series.observed.add_explicit(fresh)

    def _observe_exponential(self, process: _Process, metric: _Metric, stream: Stream, point: Any) -> None:
        read = Exponential.of(point)
        if read is None:
            self._books.drop_points(1, books.MALFORMED)
            return
        fresh: Exponential | None = read if read.moments.number else None
        if not metric.key.delta:
            stream.exponential = stream.exponential or ExponentialHistory()
            times = (point.start_time_unix_nano or 0, point.time_unix_nano, process.began)
            moved, fresh = stream.exponential.advance(read, *times)
            self._note(moved)
        if fresh is not None and stream.series is not None:
            stream.series.observed.add_exponential(fresh)

    def _note(self, moved: Progress) -> None:
        if moved is Progress.LATE:
            self._books.drop_points(1, books.LATE)


def _identity(resource: Mapping[str, Any]) -> Any:
    """Return what a process is known by.

    A UUID is enough by itself: what a process says of itself may grow while it runs, the service's name included, and
    must not make its counters look new. Without an instance id the whole resource is it.
    """
    instance = resource.get("service.instance.id")
    if instance is None or instance == "":
        return _key(resource)
    if isinstance(instance, str) and _is_uuid(instance):
        return instance
    return _key({key: resource[key] for key in IDENTIFYING if key in resource})


def _is_uuid(text: str) -> bool:
    try:
        UUID(hex=text.replace("-", ""))
    except ValueError:
        return False
    return True


def _key(attributes: Mapping[str, Any]) -> tuple[tuple[str, type, Any], ...]:
    """Return what is equal for equal sets of attributes, whatever their order; 1, 1.0 and True are different values."""
    return tuple(
        sorted(
            (
                (key, type(value), tuple(value) if isinstance(value, list) else value)
                for key, value in attributes.items()
            ),
            key=lambda item: item[0],
        )
    )
