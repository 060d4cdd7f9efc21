# SPDX-License-Identifier: Apache-2.0
"""The registry's metrics under their names in Prometheus, and PromQL that names them as the registry does.

In a query `<http.server.request.duration:count{http.route!=""}>` stands for the series of a metric: `:count`, `:sum` or
`:bucket` of a histogram, and matchers of attributes. A metric, a part or an attribute that the registry does not have is
an error, so a query cannot ask for what nobody sends.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

METRIC = re.compile(r"<([a-z][\w.]*)(?::(\w+))?(?:\{([^}]*)\})?>")
MATCHER = re.compile(r'\s*([\w.]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*(?:,|$)')
GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")

SUFFIXES = {"s": "_seconds", "By": "_bytes"}
PARTS = ("bucket", "count", "sum")
# What to-prometheus.yaml gives every series, and what Prometheus gives; states have their instance too.
COMMON = {"job", "host.name"}
INSTANCE = {"instance"}


class UnknownNameError(Exception):
    """A query names what the registry does not have."""


class Metric(NamedTuple):
    """One metric; `unit` is the registry's, `labels` are names of attributes."""

    name: str
    kind: str
    unit: str
    brief: str
    labels: frozenset[str]
    level: str = "basic"

    @property
    def counted(self) -> bool:
        return self.kind in {"histogram", "counter"}

    def prometheus(self, part: str | None) -> str:
        if (part is not None) != (self.kind == "histogram") or (part and part not in PARTS):
            raise UnknownNameError(f"{self.name}: a {self.kind} has no part {part!r}")
        if self.name.startswith("otelcol_"):
            return self.name
        base = label(self.name) + SUFFIXES.get(self.unit, "")
        return f"{base}_{part}" if part else f"{base}_total" if self.kind == "counter" else base


# The collector's own metrics, as Prometheus scrapes them at OTEL_OPENSTACK_COLLECTOR_METRICS_PORT.
COLLECTOR = {
    metric.name: metric
    for metric in (
        Metric(name, kind, unit, brief, frozenset(labels))
        for name, kind, unit, brief, labels in (
            ("otelcol_receiver_accepted_spans", "counter", "{span}", "Spans taken in.", {"receiver"}),
            ("otelcol_receiver_accepted_metric_points", "counter", "{point}", "Points taken in.", {"receiver"}),
            ("otelcol_receiver_accepted_log_records", "counter", "{record}", "Log records taken in.", {"receiver"}),
            ("otelcol_receiver_refused_spans", "counter", "{span}", "Spans refused, for want of memory.", {"receiver"}),
            ("otelcol_receiver_refused_metric_points", "counter", "{point}", "Points refused, for want of memory.", {"receiver"}),
            ("otelcol_receiver_refused_log_records", "counter", "{record}", "Log records refused, for want of memory.", {"receiver"}),
            ("otelcol_exporter_sent_spans", "counter", "{span}", "Spans sent on.", {"exporter"}),
            ("otelcol_exporter_sent_metric_points", "counter", "{point}", "Points sent on.", {"exporter"}),
            ("otelcol_exporter_send_failed_spans", "counter", "{span}", "Spans that an exporter gave up.", {"exporter"}),
            ("otelcol_exporter_send_failed_metric_points", "counter", "{point}", "Points that an exporter gave up.", {"exporter"}),
            ("otelcol_exporter_enqueue_failed_spans", "counter", "{span}", "Spans that found the sending queue full.", {"exporter"}),
            ("otelcol_exporter_enqueue_failed_metric_points", "counter", "{point}", "Points that found the sending queue full.", {"exporter"}),
            ("otelcol_exporter_queue_size", "updowncounter", "By", "Bytes that wait in a sending queue; of those for Prometheus, requests.", {"exporter", "data_type"}),
            ("otelcol_exporter_queue_capacity", "updowncounter", "By", "Bytes that a sending queue holds; of those for Prometheus, requests.", {"exporter", "data_type"}),
            ("otelcol_exporter_statsd_dropped_lines", "counter", "{line}", "Lines of statsd that were lost, by reason.", {"exporter", "reason"}),
            ("otelcol_process_memory_rss", "gauge", "By", "Resident memory of the collector.", set()),
            ("otelcol_process_cpu_seconds", "counter", "s", "CPU time of the collector.", set()),
            ("otelcol_deltatocumulative_streams_tracked", "updowncounter", "{stream}", "Series that are added up for Prometheus.", set()),
            ("otelcol_deltatocumulative_streams_limit", "gauge", "{stream}", "Series that can be added up for Prometheus.", set()),
        )
    )
}  # fmt: skip
# What Prometheus and its exporter make by themselves.
PROMETHEUS = {
    "up": Metric("up", "gauge", "1", "Whether the last scrape worked.", frozenset()),
    "target_info": Metric(
        "target_info", "gauge", "1", "A process and its resource.", frozenset({"cloud.region", "service.version"})
    ),
}


def label(name: str) -> str:
    """Return an attribute's name as a label."""
    return name.replace(".", "_")


class Names:
    """All metrics that a query may name, and those that some query named."""

    def __init__(self, registry: Path = ROOT / "registry") -> None:
        groups = [group.data for group in generator().read(registry).of("metric")]
        self.registry = {metric.name: metric for metric in map(_metric, groups)}
        self.used: set[str] = set()

    def find(self, name: str) -> Metric:
        """Return the metric; UnknownNameError suggests the nearest."""
        known = self.registry | COLLECTOR | PROMETHEUS
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UnknownNameError(f"no such metric: {name}" + (f"; did you mean {near[0]}?" if near else ""))
        self.used.add(name)
        return known[name]

    def metrics(self, query: str) -> list[Metric]:
        """Return the metrics that a query names, each once."""
        return list({name: self.find(name) for name, _, _ in METRIC.findall(query)}.values())

    def promql(self, query: str, everywhere: str = "") -> str:
        """Return the query in Prometheus's names; `everywhere` are matchers for every series of the services."""
        known = {label(name) for metric in self.metrics(query) for name in _labels(metric)} | {*map(label, COMMON)}
        for names in GROUPING.findall(query):
            for name in filter(None, map(str.strip, names.split(","))):
                if label(name) not in known:
                    raise UnknownNameError(f"no metric of this query has {name}: {query}")
        text = METRIC.sub(lambda found: self._selector(*found.groups(), everywhere), query)
        return GROUPING.sub(lambda found: found[0].replace(".", "_"), text)

    def _selector(self, name: str, part: str | None, matchers: str | None, everywhere: str) -> str:
        metric = self.find(name)
        conditions = [everywhere] if everywhere and name in self.registry else []
        for key, operator, value in _parsed(matchers or "", metric):
            conditions.append(f"{label(key)}{operator}{value}")
        return metric.prometheus(part) + (f"{{{','.join(conditions)}}}" if conditions else "")


def _labels(metric: Metric) -> frozenset[str]:
    of_process = frozenset() if metric.counted and not metric.name.startswith("otelcol_") else INSTANCE
    return metric.labels | COMMON | of_process | ({"le"} if metric.kind == "histogram" else frozenset())


def _parsed(matchers: str, metric: Metric) -> list[tuple[str, str, str]]:
    found = MATCHER.findall(matchers)
    if MATCHER.sub("", matchers).strip():
        raise UnknownNameError(f"{metric.name}: not matchers: {matchers}")
    for key, _, _ in found:
        if key not in _labels(metric):
            raise UnknownNameError(f"{metric.name} has no {key}")
    return found


def _metric(data: dict[str, Any]) -> Metric:
    labels = frozenset(item["ref"] for item in data.get("attributes", ()))
    return Metric(
        data["metric_name"], data["instrument"], data["unit"], data["brief"], labels, data["annotations"]["level"]
    )


@functools.cache
def generator() -> Any:
    """Return the registry's generator, which is a script, as a module."""
    spec = importlib.util.spec_from_file_location("registry_generate", ROOT / "registry" / "generate.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
