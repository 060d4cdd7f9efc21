# SPDX-License-Identifier: Apache-2.0
"""The heaviest of 10,000 projects on the metrics of the example service: bounded, and right about the heavy ones."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis.otlp import Recording
from otel_openstack.cli import demo

PROJECT, OTHER = "openstack.project_id", "_other"
N, ROOM = 5, 4
HEAVY = [f"{number:032x}" for number in range(10**6, 10**6 + N)]
NOTICED = 40
"""Requests of one project, at most, before it has series of its own."""


def by_project(place):
    """Requests by project, as the service has exported them so far."""
    counted = Counter()
    for metric in summaries.read(Recording(place / "otlp").requests()).services().get("backups", ()):
        if metric.name == "http.server.request.duration":
            for row in summaries.lines(metric, by_attributes=True):
                counted[dict(row.labels)[PROJECT]] += row.spread.count
    return counted


def exported(place, requests):
    end = time.monotonic() + 30
    while (found := by_project(place)).total() != requests:
        assert time.monotonic() < end, (found.total(), requests)
        time.sleep(0.5)
    return found


def ask(url, projects):
    api = demo.Api(url)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda project: api.ask("GET", "/v1/backups/none", project).status, projects)) == {404}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setitem(demo.ENVIRONMENT, "OTEL_OPENSTACK_METRIC_DIMENSIONS", f"project=top:{N}")
    monkeypatch.setitem(demo.ENVIRONMENT, "OTEL_TRACES_EXPORTER", "none")
    return demo._prepare(tmp_path / "made")


def test_the_heavy_ones_of_ten_thousand_projects_have_series_of_their_own(place):
    chance = random.Random(7)
    crowd = [f"{number:032x}" for number in chance.sample(range(10**5, 10**6), 10_000)]
    first, later = crowd[:9_000] + HEAVY * 400, crowd[9_000:] + HEAVY * 100
    chance.shuffle(first)
    chance.shuffle(later)
    with demo._service(demo.find(), place) as url:
        ask(url, first)
        before = exported(place, len(first))
        ask(url, later)
    after = exported(place, len(first) + len(later))
    assert len(after) <= ROOM * N + 1
    assert {project for project, _ in after.most_common(N + 1)} == {OTHER, *HEAVY}
    for project in HEAVY:
        assert 400 - NOTICED <= before[project] <= 400
        assert after[project] - before[project] == 100
    light = after.keys() - {OTHER, *HEAVY}
    assert all(after[project] == 1 for project in light)
    assert after[OTHER] == len(first) + len(later) - sum(after[project] for project in after.keys() - {OTHER})
