# SPDX-License-Identifier: Apache-2.0
"""What keeps an instrument small: the registry, the level, the number of series and of error types."""

from __future__ import annotations

import subprocess

import pytest

from otel_openstack import metrics, settings
from otel_openstack.metrics import catalog, instruments

OVERFLOW = {"otel.metric.overflow": True}


def points_of(name):
    return {str(sorted(point.attributes.items())): point for point in metrics.testing_points(name)}


def test_an_instrument_that_the_registry_does_not_have_names_the_nearest():
    with pytest.raises(ValueError, match=r"no instrument test\.duratoin; the nearest is test\.duration"):
        metrics.histogram("test.duratoin")


@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (metrics.counter, "test.duration", "is a histogram in the registry"),
        (metrics.histogram, "test.calls", "is a counter in the registry"),
        (metrics.counter, "test.seen", "is an observable counter"),
        (lambda name: metrics.observe(name, list), "test.calls", "is a counter in the registry"),
    ],
)
def test_another_kind_than_the_registry_has_is_refused(make, name, says):
    with pytest.raises(ValueError, match=says):
        make(name)


def test_an_instrument_is_made_once_and_its_kind_is_checked_again():
    assert metrics.counter("test.calls") is metrics.counter("test.calls")
    with pytest.raises(ValueError, match="not a histogram"):
        metrics.histogram("test.calls")
    with pytest.raises(ValueError, match="recorded into, not observed"):
        metrics.observe("test.calls", list)


def test_too_many_labels_are_an_error():
    with pytest.raises(ValueError, match="not 3 labels"):
        metrics.counter("test.calls").bind("a", "b", "c")


def test_below_the_level_nothing_is_recorded():
    deep = metrics.histogram("test.deep")
    assert not deep.enabled
    deep.record(1, "x")
    deep.bind("x")(1)
    assert metrics.testing_points("test.deep") == []
    settings.use(settings.Settings(level="deep"))
    metrics.reset()
    assert deep.enabled
    deep.record(1, "x")
    assert len(metrics.testing_points("test.deep")) == 1


def test_a_group_has_its_own_level():
    settings.use(settings.Settings(level="off", levels={"rpc": "detailed"}))
    assert metrics.histogram("rpc.client.call.duration").enabled
    assert not metrics.histogram("db.client.operation.duration").enabled


def test_the_rest_goes_into_one_series(either_way):
    small = metrics.counter("test.small")
    for number in range(200):
        small.add(1, f"a{number}")
        small.bind(f"a{number}")(1)
    points = metrics.testing_points("test.small")
    assert len(points) == 51
    assert [point.value for point in points if point.attributes == OVERFLOW] == [300]
    assert sum(point.value for point in points) == 400
    assert len(small._recorders) <= 100


def test_a_process_has_a_limit_too(monkeypatch):
    monkeypatch.setattr(instruments, "PROCESS_LIMIT", 60)
    for name in ("test.calls", "test.active"):
        for number in range(40):
            catalog.find(name, {"test.calls": "counter", "test.active": "updowncounter"}[name]).record(1, number)
    assert len(metrics.testing_points("test.calls")) == 40
    assert len(metrics.testing_points("test.active")) == 21
    assert sum(point.value for point in metrics.testing_points("test.active")) == 40


def test_error_types_are_bounded():
    small = metrics.counter("test.small")
    for number in range(40):
        small.add(1, "x", f"module.Error{number}")
    small.add(1, "x", "module.Error3")
    small.add(1, "x", None)
    values = {point.attributes.get("error.type"): point.value for point in metrics.testing_points("test.small")}
    assert values.pop("_OTHER") == 10
    assert values.pop("module.Error3") == 2
    assert values.pop(None) == 1
    assert len(values) == 29


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ValueError("x"), "ValueError"),
        (KeyError, "KeyError"),
        ("timeout", "timeout"),
        (subprocess.TimeoutExpired("x", 1), "subprocess.TimeoutExpired"),
    ],
)
def test_error_types_are_canonical_names(error, named):
    assert metrics.error_type(error) == named


def test_observed_series_are_bounded():
    metrics.observe("test.seen", lambda: [(1, (number,)) for number in range(80)])
    points = metrics.testing_points("test.seen")
    assert len(points) == 51
    assert [point.value for point in points if point.attributes == OVERFLOW] == [30]


def test_release_lets_go_of_what_is_not_held_bound_and_begins_the_rest_anew(either_way):
    duration = metrics.histogram("test.duration")
    bound = duration.bind("kept")
    for number in range(100):
        duration.record(1.0, f"a{number}", None, f"Error{number}")
    bound(1.0)
    assert instruments._budget.held == 101
    catalog.release()
    assert instruments._budget.held == len(duration.series) == 1
    assert points_of("test.duration") == {}
    bound(2.0)
    duration.record(3.0, "kept")
    duration.record(4.0, "new", None, "Error99")
    points = points_of("test.duration").values()
    found = {point.attributes["a"]: (point.count, point.sum, point.min) for point in points}
    assert found == {"kept": (2, 5.0, 2.0), "new": (1, 4.0, 4.0)}
    assert {point.attributes.get("error.type") for point in points} == {None, "Error99"}
    assert instruments._budget.held == 2


def test_release_of_what_overflowed_makes_room_again():
    small = metrics.counter("test.small")
    for number in range(60):
        small.add(1, str(number))
    assert any(point.attributes == OVERFLOW for point in points_of("test.small").values())
    catalog.release()
    for number in range(50):
        small.add(1, str(number))
    assert len(points_of("test.small")) == 50
    assert not any(point.attributes == OVERFLOW for point in points_of("test.small").values())
