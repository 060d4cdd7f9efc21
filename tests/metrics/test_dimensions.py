# SPDX-License-Identifier: Apache-2.0
"""Projects on metrics: which get series of their own, that there are few, and that no count is lost or doubled."""

from __future__ import annotations

import random
import threading
from collections import Counter

import pytest

from otel_openstack import metrics, settings
from otel_openstack.metrics import choosing
from otel_openstack.tracing import asking

PROJECT, DOMAIN = "openstack.project_id", "openstack.domain_id"
N = 10
CROWD = [f"{number:032x}" for number in range(10_000)]


def choose(**chosen):
    settings.use(settings.Settings(metric_dimensions=chosen))
    metrics.reset()


def by_project(name="test.asked"):
    found = Counter()
    for point in metrics.testing_points(name):
        found[point.attributes.get(PROJECT)] += point.value
    return found


class Traffic:
    """Records for 10,000 projects, of which some have more than the others, and what is true of them."""

    def __init__(self, seed, name="test.asked"):
        self.random = random.Random(seed)
        self.true = Counter()
        self.counter = metrics.counter(name)

    def run(self, records, heavy=(), share=0.04):
        """Record; each of the heavy ones has `share` of all. Returns what was recorded for each project."""
        new = Counter()
        for _ in range(records):
            place = self.random.random() / share
            project = heavy[int(place)] if place < len(heavy) else self.random.choice(CROWD)
            self.counter.add(1, "x", project, None)
            new[project] += 1
        self.true += new
        return new


def test_the_heavy_ones_of_ten_thousand_projects_are_told_exactly_also_when_others_become_heavy():
    choose(project=f"top:{N}")
    traffic, most_ever = Traffic(1), 0
    for phase in range(3):
        heavy = CROWD[phase * 1000 : phase * 1000 + N]
        traffic.run(12_000, heavy)  # they are noticed
        before = by_project()
        new = traffic.run(5_000, heavy)
        after = by_project()
        assert {project: after[project] - before[project] for project in heavy} == {p: new[p] for p in heavy}
        assert all(after[project] >= before[project] for project in before)  # cumulative: no series shrinks or ends
        assert sum(after.values()) == sum(traffic.true.values())
        assert all(after[project] <= traffic.true[project] for project in after if project != "_other")
        most_ever = max(most_ever, len(after))
    assert most_ever <= choosing.ROOM * N + 1
    # Of every project that has series, all that came since it has them is there: the rest is what it had before.
    (chooser,) = (found for _, found in choosing._choosers.values() if found)
    assert set(by_project()) == {*chooser._own, "_other"}


def test_where_nobody_is_heavy_the_first_ones_stay():
    choose(project=f"top:{N}")
    traffic = Traffic(2)
    traffic.run(40_000)
    found = by_project()
    first = list(traffic.true)[:N]
    assert set(found) == {*first, "_other"}
    assert all(found[project] == traffic.true[project] for project in first)  # exact from their first record on
    assert sum(found.values()) == 40_000


def test_equals_are_not_let_in_by_chance():
    chance, top = random.Random(4), choosing.Top(N)
    for _ in range(60_000):
        top.label(chance.randrange(300))
    assert len(top._own) <= 2 * N


def test_two_threads_cannot_let_in_one_too_many():
    """Both have seen that there is room, before they get the lock."""
    top = choosing.Top(1)
    assert [top._let_in(value, 1) for value in ("a", "b", "a")] == ["a", "_other", "a"]


def test_no_more_than_four_times_the_number_however_often_heaviness_moves(caplog):
    choose(project="top:3")
    traffic, told = Traffic(3), []
    for phase in range(12):
        traffic.run(4_000, CROWD[phase * 100 : phase * 100 + 3], share=0.2)
        told.append([record.message for record in caplog.records if "metric dimension project=top:3" in record.message])
    assert told[2] == []  # nine have moved in beside the first three
    assert len(told[-1]) == 1
    assert "12 of them have had series" in told[-1][0]
    found = by_project()
    assert len(found) == 4 * 3 + 1
    assert sum(found.values()) == 48_000


def test_what_is_kept_of_the_others_is_bounded():
    top = choosing.Top(1)
    for number in range(20_000):
        top.label(f"p{number}")
    assert len(top._others) <= 2 * choosing.COUNTS_EACH + 1
    assert sum(top._own.values()) + sum(top._others.values()) <= choosing.WINDOW_EACH + choosing.BETWEEN_REVIEWS


def test_threads_lose_and_double_nothing():
    choose(project="top:5")
    counter, heavy = metrics.counter("test.asked"), CROWD[:5]

    def work(seed):
        chance = random.Random(seed)
        for number in range(6_000):
            counter.add(1, "x", heavy[number % 5] if chance.random() < 0.5 else chance.choice(CROWD), None)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = by_project()
    assert sum(found.values()) == 48_000
    assert set(heavy) <= set(found)
    assert len(found) <= 4 * 5 + 1


@pytest.mark.parametrize(
    ("choice", "own"),
    [
        ("all", {"a", "b", "c"}),
        ("all:2", {"a", "b", "_other"}),
        ("b|c", {"b", "c", "_other"}),
        ("top:3", {"a", "b", "c"}),
    ],
)
def test_all_or_a_list(choice, own):
    choose(project=choice)
    counter = metrics.counter("test.asked")
    for project in "abcabc":
        counter.add(1, "x", project, None)
    assert set(by_project()) == own
    assert sum(by_project().values()) == 6


@pytest.mark.parametrize("chosen", [{}, {"project": "off"}, {"domain": "off", "project": "off"}])
def test_off_is_not_there(chosen):
    """The very function that an instrument without dimensions has, which asks for nobody."""
    choose(**chosen)
    asked, plain = metrics.counter("test.asked"), metrics.counter("test.calls")
    assert asked.record.__code__ is plain.record.__code__
    asked.bind("x")(1)
    asked.add(1, "x")
    (point,) = metrics.testing_points("test.asked")
    assert (point.attributes, point.value) == ({"a": "x"}, 2)


def test_two_dimensions_and_a_request_without_a_project():
    choose(project="top:2", domain="default")
    counter = metrics.counter("test.asked")
    counter.add(1, "x", None, "default")
    counter.add(1, "x", "p", "other")
    counter.add(1)  # outside every request
    assert [point.attributes for point in metrics.testing_points("test.asked")] == [
        {"a": "x", DOMAIN: "default"},
        {"a": "x", PROJECT: "p", DOMAIN: "_other"},
        {},
    ]


def test_whom_it_is_for_is_asked_at_each_record_also_of_what_is_bound():
    from opentelemetry.trace import SpanKind

    from otel_openstack import dimensions, testing, tracing

    chosen = settings.Settings(strict=True, metric_dimensions={"project": "all"})
    with testing.recording(chosen) as telemetry:
        bound = metrics.counter("test.asked").bind("x")
        for project in ("p", "q", "p"):
            request = tracing.root("test", "GET /", SpanKind.SERVER)
            assert dimensions.add(project=project)
            bound(1)
            request.finish()
        bound(1)
        assert not dimensions.add(project="nobody's")
        assert dimensions.current() == {}
        assert {p.attributes.get(PROJECT): p.value for p in telemetry.points("test.asked")} == {"p": 2, "q": 1, None: 1}
        assert [span.attributes for span in telemetry.spans()] == [{PROJECT: project} for project in ("p", "q", "p")]


def test_projects_leave_room_for_what_is_of_none():
    choose(project="all")
    counter = metrics.counter("test.crowded")
    for number in range(100):
        counter.add(1, "x", f"p{number}")
    for number in range(8):
        counter.add(1, f"a{number}")
    found = metrics.testing_points("test.crowded")
    assert sum(point.value for point in found) == 108
    assert len(found) <= 40
    assert {"a": "x", PROJECT: "_other"} in [point.attributes for point in found]
    assert not any("otel.metric.overflow" in point.attributes for point in found)


def test_forgetting_begins_anew():
    choose(project="top:1")
    counter = metrics.counter("test.asked")
    counter.add(1, "x", "a", None)
    counter.add(1, "x", "b", None)
    metrics.catalog.release()
    counter.add(1, "x", "b", None)
    assert by_project() == {"b": 1}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("user=all", "user cannot go on metrics; only project and domain can"),
        ("project", "must look like project=top:20"),
        ("project=top:0", "needs a number from 1 to 1000"),
        ("project=top:many", "needs a number from 1 to 1000"),
        ("project=top", "is not off, all"),
        ("project=", "is not off, all"),
        ("project=a b", "is not off, all"),
        ("project=tip:20", "is not off, all"),
    ],
)
def test_a_wrong_choice_says_what_is_possible(given, says):
    found, problems = settings.load({"OTEL_OPENSTACK_METRIC_DIMENSIONS": given})
    assert found.metric_dimensions == {}
    assert [says in problem for problem in problems] == [True], problems


def test_a_choice_in_the_file():
    found, problems = settings.load({}, {"metric_dimensions": {"project": ["a", "b"], "domain": "top:5"}})
    assert (found.metric_dimensions, problems) == ({"project": "a|b", "domain": "top:5"}, [])


def test_names_of_the_registry_and_of_the_request_are_the_same():
    from otel_openstack import conventions

    assert set(conventions.DIMENSIONS) == set(settings.DIMENSIONS)
    assert set(asking.NAMES) == set(settings.CARRIED)
    assert all(asking.NAMES[name] == attribute for name, attribute in conventions.DIMENSIONS.items())
