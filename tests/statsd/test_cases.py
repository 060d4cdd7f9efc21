# SPDX-License-Identifier: Apache-2.0
"""The table of cases of the collector's exporter, against ours."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_openstack.exporters.statsd import config, naming
from otel_openstack.exporters.statsd.aggregator import Aggregator
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.config import Config

TABLE = json.loads(
    (Path(__file__).parents[2] / "collector/exporter/statsdexporter/testdata/cases.json").read_text("utf-8")
)
# The SDK of Python has no summaries; the collector gets them from elsewhere.
CASES = [case for case in TABLE["cases"] if case["name"] != "a summary"]


def flat(nested, prefix=""):
    """Return the fields of `Config` for keys of the collector."""
    found = {}
    for key, value in nested.items():
        if isinstance(value, dict) and key in ("names", "tags", "histogram", "rate_limit"):
            found |= flat(value, f"{key}_")
        else:
            found[prefix + key] = tuple(value) if isinstance(value, list) else value
    if isinstance(found.get("staleness"), str):
        found["staleness"] = float(found["staleness"].removesuffix("s"))
    return found


def attributes(pairs):
    read = {"stringValue": str, "intValue": int, "doubleValue": float, "boolValue": bool}
    return {pair["key"]: read[kind](value) for pair in pairs for kind, value in pair["value"].items()}


def number(point):
    value = float(point["asDouble"]) if "asDouble" in point else int(point["asInt"])  # the last of two, as in protobuf
    return NumberDataPoint(attributes(point["attributes"]), *times(point), value)


def times(point):
    return int(point.get("startTimeUnixNano", 0)), int(point.get("timeUnixNano", 0))


def observed(point):
    return HistogramDataPoint(
        attributes(point["attributes"]), *times(point), int(point["count"]), point.get("sum"),
        [int(count) for count in point["bucketCounts"]], point["explicitBounds"], point.get("min"), point.get("max"),
    )  # fmt: skip


def exponential(point):
    sides = [
        Buckets(side.get("offset", 0), [int(count) for count in side.get("bucketCounts", ())])
        for side in (point.get("positive", {}), point.get("negative", {}))
    ]
    return ExponentialHistogramDataPoint(
        attributes(point.get("attributes", ())), *times(point), int(point["count"]), point.get("sum"), point["scale"],
        int(point["zeroCount"]), *sides, 0, point.get("min"), point.get("max"),
    )  # fmt: skip


def metric(given):
    kind, data = next((key, value) for key, value in given.items() if isinstance(value, dict))
    temporality = AggregationTemporality(data.get("aggregationTemporality", 2))
    points = data["dataPoints"]
    made = {
        "sum": lambda: Sum([*map(number, points)], temporality, data.get("isMonotonic", False)),
        "gauge": lambda: Gauge([*map(number, points)]),
        "histogram": lambda: Histogram([*map(observed, points)], temporality),
        "exponentialHistogram": lambda: ExponentialHistogram([*map(exponential, points)], temporality),
    }
    return Metric(given["name"], "", "", made[kind]())


def flushed(aggregator, now):
    """Return the lines of a flush, and the sizes of its packets."""
    aggregator.sweep(now)
    for series in aggregator.catalog.all():
        series.write(aggregator.encoder)
    aggregator.encoder.packets.finish()
    packets = aggregator.encoder.packets.take()
    lines = [line for packet in packets for line in packet.payload.decode().split("\n")]
    assert sum(packet.lines for packet in packets) == len(lines)
    return lines, [len(packet.payload) for packet in packets]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_table(case):
    chosen = Config(**flat(case["config"]))
    assert list(config.problems(chosen)) == []
    books = Books()
    aggregator = Aggregator(chosen, books, TABLE["began"])
    for step in case["steps"]:
        for resource in step["metrics"]:
            about = attributes(resource["resource"]["attributes"])
            for scope in resource["scopeMetrics"]:
                aggregator.consume(about, scope["scope"]["name"], "", map(metric, scope["metrics"]), step["at"])
        lines, sizes = flushed(aggregator, step["at"])
        assert lines == step["lines"], step["at"]
        assert max(sizes, default=0) <= chosen.max_packet_size
        dropped = {**books.points_dropped, **books.lines_dropped}
        assert dropped == {reason: count for reason, count in step.get("dropped", {}).items() if count}
    assert books.collisions == case["collisions"]


def test_all_but_one_case_are_taken():
    assert len(CASES) == len(TABLE["cases"]) - 1


def test_keys_and_defaults_are_the_exporters():
    """Whatever its README says of a key that ours has too; where to and how is another matter."""
    readme = (Path(__file__).parents[2] / "collector/exporter/statsdexporter/README.md").read_text("utf-8")
    told = dict(re.findall(r"^\| `([\w:]+)` \|([^|]*)\|", readme, re.MULTILINE))
    ours = asdict(Config())
    shared = {key: default for key, default in told.items() if key.replace("::", "_") in ours and key != "endpoint"}
    assert len(shared) == len(ours) - 1
    for key, default in shared.items():
        value = ours[key.replace("::", "_")]
        if isinstance(value, tuple):
            shown = f"`[{', '.join(naming.text(item) for item in value)}]`" if value else ""
        else:
            shown = f"`{naming.text(value)}`" if value not in ("", {}) else ""
        seconds = {"`10s`": "`10`", "`1s`": "`1`", "`3m`": "`180`"}.get(default.strip(), default)
        assert seconds.strip() == shown or key == "names::default", key
