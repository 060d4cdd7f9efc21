# SPDX-License-Identifier: Apache-2.0
"""Sums over processes, restarts and partial exports, cumulative and delta; percentiles from buckets."""

from __future__ import annotations

import random

import pytest

from otel_openstack.analysis import distribution
from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis.distribution import Distribution
from otel_openstack.analysis.otlp import Place, Recording, Request
from tests.analysis import recorded
from tests.analysis.recorded import BOUNDS, START, histogram, metric_request, sums

SECOND = 1_000_000_000


def read(*requests):
    return summaries.read(Request(Place(0, number), body) for number, body in enumerate(requests))


def line(found, service="nova-api", **options):
    (metric,) = found.services()[service]
    (only,) = summaries.lines(metric, **options)
    return only


def counter(value, time, start=START, pid=1, attributes=None, **kind):
    return metric_request("nova-api", [sums("c", [(start, time, value, attributes or {})], **kind)], pid)


def test_cumulative_counts_add_up_over_processes_series_and_restarts():
    found = read(
        counter(5, START + SECOND),
        counter(9, START + 2 * SECOND),
        counter(4, START + 2 * SECOND, pid=2),
        counter(3, START + SECOND, attributes={"a": "b"}),  # and then unchanged: in no later export
        counter(2, START + 9 * SECOND, start=START + 8 * SECOND),  # the counts began anew
    )
    assert line(found).total == 9 + 4 + 3 + 2
    assert line(found).processes == 2
    assert line(found).attribute_sets == 2


def test_a_restart_without_a_start_time_shows_by_counting_less():
    values = [3, 8, 2, 6, 7, 9]
    found = read(*(counter(value, START + at * SECOND, start=0) for at, value in enumerate(values)))
    assert line(found).total == 8 + 9


def test_points_out_of_order_count_once():
    found = read(counter(9, START + 9 * SECOND), counter(3, START + SECOND), counter(5, START + 4 * SECOND))
    assert line(found).total == 9


def test_delta_counts_add_up():
    found = read(*(counter(value, START + at, temporality=1) for at, value in enumerate((3, 0, 4))))
    assert line(found).total == 7


def test_levels_keep_their_last_value_and_highest():
    found = read(
        counter(5, START, monotonic=False),
        counter(9, START + 1, monotonic=False),
        counter(2, START + 2, monotonic=False),
        counter(3, START + 2, pid=2, monotonic=False),
    )
    assert (line(found).current, line(found).highest) == (5, 9)


def test_states_stay_apart():
    found = read(
        counter(5, START, attributes={"pool.state": "used", "pool": "a"}, monotonic=False),
        counter(1, START, attributes={"pool.state": "used", "pool": "b"}, monotonic=False),
        counter(7, START, attributes={"pool.state": "idle", "pool": "a"}, monotonic=False),
    )
    (metric,) = found.services()["nova-api"]
    assert {row.labels: row.current for row in summaries.lines(metric)} == {
        (("pool.state", "idle"),): 7, (("pool.state", "used"),): 6,
    }  # fmt: skip
    assert len(list(summaries.lines(metric, by_attributes=True))) == 3


def test_a_gauge_is_no_sum():
    gauge = {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": START, "asDouble": 0.5}]}}
    other = {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": START, "asDouble": 0.25}]}}
    found = read(metric_request("nova-api", [gauge], 1), metric_request("nova-api", [other], 2))
    assert line(found).current == 0.5


@pytest.mark.parametrize("temporality", [1, 2])
def test_histograms_of_two_processes(temporality):
    dice = random.Random(3)
    values = [[dice.lognormvariate(-3, 1) for _ in range(500)] for _ in range(4)]
    requests = []
    for pid, (early, late) in enumerate((values[:2], values[2:])):
        second = late if temporality == 1 else early + late
        for at, points in enumerate((early, second)):
            metric = histogram("h", [(START, START + at, points, {})], temporality=temporality)
            requests.append(metric_request("nova-api", [metric], pid))
    spread = line(read(*requests)).spread
    every = sorted(value for part in values for value in part)
    assert spread.count == 2000
    assert spread.total == pytest.approx(sum(every))
    assert (spread.least, spread.most) == (every[0], every[-1])
    for share in (0.5, 0.95):
        exact = every[int(share * 2000)]
        low = max(bound for bound in [0, *BOUNDS] if bound <= exact)
        high = min(bound for bound in BOUNDS if bound >= exact)
        assert low <= spread.percentile(share) <= high
        assert spread.percentile(share) == pytest.approx(exact, rel=0.12)


def test_percentiles_stay_within_what_was_seen():
    buckets = distribution.explicit([1.0, 10.0], [0, 1, 0])
    one = Distribution(1, 4.0, 4.0, 4.0, buckets)
    assert one.percentile(0.5) == one.percentile(0.95) == 4.0
    above = Distribution(2, 90.0, 40.0, 50.0, distribution.explicit([1.0, 10.0], [0, 0, 2]))
    assert above.percentile(0.5) == 45.0
    assert Distribution().percentile(0.5) is None
    assert distribution.explicit([1.0], [1, 2, 3]) == {}


def test_exponential_histograms_of_two_scales_add_up():
    def exponential(scale, offset, counts):
        point = {"timeUnixNano": START, "count": sum(counts), "sum": 1, "scale": scale, "zeroCount": "0",
                 "positive": {"offset": offset, "bucketCounts": counts}}  # fmt: skip
        return {"name": "h", "unit": "s", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]}}

    found = read(
        metric_request("nova-api", [exponential(0, 2, [10])], 1),  # (4, 8]
        metric_request("nova-api", [exponential(1, 6, [5, 5])], 2),  # (8, 11.3], (11.3, 16]
    )
    spread = line(found).spread
    assert spread.count == 20
    assert spread.percentile(0.5) == pytest.approx(8)
    assert spread.percentile(0.25) == pytest.approx(6)
    assert spread.percentile(0.75) == pytest.approx(2**3.5)


def test_growth_over_time_of_partial_exports():
    requests = [counter(value, START + at * SECOND) for at, value in ((1, 5), (2, 5), (5, 9))]
    (series,) = next(iter(read(*requests).by_key.values())).series.values()
    assert [grown for _, grown, _ in series.increments()] == [5, 0, 4]


def test_the_recorded_cloud(tmp_path):
    recorded.record_cloud(tmp_path)
    found = summaries.read(Recording(tmp_path).requests())
    assert set(found.services()) == set(recorded.SERVICES)
    duration = next(each for each in found.services()["nova-api"] if each.name == "http.server.request.duration")
    (row,) = summaries.lines(duration)
    assert row.processes == 2
    assert row.spread.count == sum(
        each.last[max(each.last)].spread.count for each in duration.series.values()
    ) > 100  # fmt: skip
