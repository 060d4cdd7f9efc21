# SPDX-License-Identifier: Apache-2.0
"""Whatever names, attributes and numbers are: lines that a server reads, in packets of the size, no count lost."""

from __future__ import annotations

import math
import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from otel_openstack.exporters.statsd.aggregator import Aggregator
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.config import FLAVORS, Config
from otel_openstack.exporters.statsd.lines import inverse, plain
from otel_openstack.exporters.statsd.sender import Limiter
from tests.statsd.test_cases import flushed

DELTA = AggregationTemporality.DELTA
NUMBER = r"-?\d+(?:\.\d+)?"
NAME = r"[A-Za-z0-9_.\-]+"
VALUE = r"[\w./\-]+"
LINE = {
    "etsy": re.compile(rf"({NAME}):({NUMBER})\|(c|g)"),
    "dogstatsd": re.compile(rf"({NAME}):({NUMBER})\|(c|g|d)(?:\|@(0\.\d+))?(?:\|#{NAME}:{VALUE}(?:,{NAME}:{VALUE})*)?"),
    "influxdb": re.compile(rf"({NAME}(?:,{NAME}={VALUE})*):({NUMBER})\|(c|g)"),
    "graphite": re.compile(rf"({NAME}(?:;{NAME}={VALUE})*):({NUMBER})\|(c|g)"),
}
texts = st.text(max_size=12)
attributes = st.dictionaries(texts, st.one_of(texts, st.integers(), st.booleans(), st.floats()), max_size=3)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats())
observations = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
BOUNDS = (-10.0, 0.0, 1.0, 5.0, 100.0)


def observed(values, about):
    buckets = Counter(sum(value > bound for bound in BOUNDS) for value in values)
    counts = [buckets[place] for place in range(len(BOUNDS) + 1)]
    return HistogramDataPoint(about, 0, 1, len(values), sum(values), counts, BOUNDS, min(values), max(values))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(FLAVORS),
    st.lists(st.tuples(texts, attributes, numbers, st.booleans()), max_size=8),
    st.lists(st.tuples(texts, attributes, observations), max_size=3),
    st.sampled_from([128, 512, 1432]),
)
def test_lines_are_lines_and_nothing_is_lost(flavor, points, histograms, limit):
    books = Books()
    aggregator = Aggregator(Config(flavor=flavor, max_packet_size=limit), books, 0)
    whole = 0
    metrics = []
    for name, about, number, is_counter in points:
        point = NumberDataPoint(about, 0, 1, number)
        metrics.append(Metric("n" + name, "", "", Sum([point], DELTA, True) if is_counter else Gauge([point])))
        if is_counter and isinstance(number, int) and number > 0:
            whole += number
    metrics += [Metric("h" + name, "", "", Histogram([observed(v, about)], DELTA)) for name, about, v in histograms]
    aggregator.consume({"service.name": "s"}, "scope", "", metrics, 1)
    lines, sizes = flushed(aggregator, 1)
    assert max(sizes, default=0) <= limit
    for line in lines:
        assert LINE[flavor].fullmatch(line), line
    if not books.lines_dropped and not books.points_dropped:
        fractions = any(isinstance(number, float) for _, _, number, is_counter in points if is_counter)
        prefix = "n" if flavor != "etsy" else "s.n"
        counted = sum(
            int(float(v)) if "." in v else int(v)
            for n, v, k in fields(lines, flavor)
            if k == "c" and n.startswith(prefix)
        )
        assert fractions or counted == whole
        assert samples(lines, flavor) == sum(len(values) for _, _, values in histograms)


def fields(lines, flavor):
    return [LINE[flavor].fullmatch(line).groups()[:3] for line in lines]


def samples(lines, flavor):
    """Return how many observations a server counts."""
    if flavor == "dogstatsd":
        rates = [LINE[flavor].fullmatch(line)[4] for line in lines if "|d" in line]
        return sum(int(1 / float(rate)) if rate else 1 for rate in rates)
    return sum(int(value) for name, value, kind in fields(lines, flavor) if kind == "c" and ".count" in name)


@settings(deadline=None)
@given(st.integers(1, 2**53))
def test_the_inverse_of_a_rate_is_the_weight_also_when_it_is_cut(weight):
    if weight > 1:
        rate = float(inverse(weight))
        assert 0 < rate < 1
        assert int(1 / rate) == weight or math.isclose(1 / rate, weight, rel_tol=1e-15)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_decimals_are_the_same_number(value):
    assert re.fullmatch(NUMBER, plain(value))
    assert float(plain(value)) == value


def test_the_rate_limit_spaces_packets_and_bytes():
    packets = Limiter(Config(rate_limit_packets_per_second=500))
    waits = [packets.take(100, 1.0) for _ in range(30)]
    assert waits[:10] == [0.0] * 10
    assert math.isclose(waits[29], 0.04)
    size = Limiter(Config(rate_limit_packets_per_second=0, rate_limit_bytes_per_second=1432))
    assert [size.take(1432, 1.0), size.take(716, 1.0)] == [0.0, 0.5]
    assert size.take(1, 10.0) == 0.0


def test_streams_beyond_the_bound_are_dropped_and_counted():
    books = Books()
    aggregator = Aggregator(Config(max_streams=3), books, 0)
    points = [NumberDataPoint({"n": n}, 0, 1, 1) for n in range(5)]
    for _ in range(2):
        aggregator.consume({}, "s", "", [Metric("c", "", "", Sum(points, DELTA, True))], 1)
    assert books.points_dropped == {"too_many_streams": 4}
    assert len(flushed(aggregator, 1)[0]) == 3
