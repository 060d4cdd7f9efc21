# SPDX-License-Identifier: Apache-2.0
"""Registry files of developers: what they say counts, and a mistake in them costs no more than the name it concerns."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from otel_openstack import conventions, counted, counter, settings, timed, traced
from otel_openstack.developer import names, problems
from otel_openstack.developer.problems import TelemetryError
from otel_openstack.semconv.instruments import INSTRUMENTS
from otel_openstack.testing import recording, telemetry

GOOD = """\
groups:
  - id: metric.other.calls
    type: metric
    metric_name: other.calls
    instrument: counter
    unit: "{call}"
    brief: Calls.
    stability: development
    attributes:
      - ref: other.kind
      - ref: error.type
    annotations:
      level: basic
  - id: metric.other.duration
    type: metric
    metric_name: other.duration
    instrument: histogram
    unit: s
    brief: Duration.
    stability: development
    annotations:
      level: basic
      boundaries: [1, 2]
  - id: registry.other
    type: attribute_group
    brief: Of it.
    attributes:
      - id: other.kind
        type: string
        brief: Kind.
        stability: development
"""

# What is written instead of what, what is said of it, and whether the other instrument is measured all the same.
WRONG = [
    ("instrument: counter", "instrument: timer", "5: metric.other.calls: instrument: 'timer' is not one of", True),
    ('unit: "{call}"', "unit: seconds", "6: metric.other.calls: unit: 'seconds' is neither", True),
    ("unit: ", "units: ", "6: metric.other.calls: units: unknown key; did you mean unit?", True),
    ("level: basic", "level: low", "13: metric.other.calls: annotations.level: 'low' is not one of basic", True),
    ("level: basic", "level: basic\n      boundaries: [1]", "14: metric.other.calls: annotations.boundaries", True),
    ("ref: other.kind", "ref: other.king", "10: metric.other.calls: ref: no such attribute: other.king", True),
    ("brief: Calls.", "brief: [1]", "7: metric.other.calls: brief: not a text", True),
    ("    annotations:\n      level: basic\n  - id: metric.other.duration", "  - id: metric.other.duration",
     "2: metric.other.calls: annotations: missing", True),
    ("brief: Calls.", "brief: Calls.\n    brief: Again.", "8: key given twice: brief", False),
    ("groups:", "groups: [", "cannot be used", False),
    ("groups:", "group:", "1: group: unknown key; known: groups", False),
    ("groups:", "groups: &a [*a]\nmore:", "cannot be used", False),
    (GOOD, "5", "not a mapping", False),
    (GOOD, "", "not a mapping", False),
    (GOOD, "groups: !!python/object/apply:os.system [x]", "cannot be used", False),
    (GOOD, "groups: [" * 50, "cannot be used", False),
    (GOOD, "a: \x00", "cannot be used", False),
]  # fmt: skip


def work():
    return 1


@pytest.fixture
def production():
    """Warnings instead of errors, as in a service."""
    with recording(settings.Settings()) as seen:
        yield seen


@pytest.fixture
def file(tmp_path):
    names.forget()
    return tmp_path / "other.yaml"


def use(file: Path, text: str = GOOD) -> None:
    file.write_text(text)
    names.add(str(file))


def test_units_levels_and_attributes_come_from_the_file(telemetry, file):
    use(file)
    counted("other.calls", {"other.kind": "kind"})(lambda kind: kind)("k")
    timed("other.duration")(work)()
    (point,) = telemetry.points("other.duration")
    assert point.boundaries == (1, 2)
    assert telemetry.points("other.calls")[0].attributes == {"other.kind": "k"}
    assert names.find("metric", "other.calls", "counter").model.unit == "{call}"


@pytest.mark.parametrize(("old", "new", "told", "rest"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_mistake_is_told_with_file_line_and_key_and_the_service_starts(
    production, file, caplog, monkeypatch, old, new, told, rest
):
    assert old in GOOD
    use(file, GOOD.replace(old, new, 1))
    calls, duration = counted("other.calls")(work), timed("other.duration")(work)
    assert calls() == duration() == 1
    (error,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert str(file) in error
    assert told in error
    assert calls is work  # what is not known is not measured
    assert (duration is not work) is rest
    assert len(production.points("other.duration")) == rest


def test_a_mistake_is_an_error_in_tests(telemetry, file):
    use(file, GOOD.replace("level: basic", "level: low", 1))
    with pytest.raises(TelemetryError, match=r"other\.yaml:13: metric\.other\.calls: annotations\.level"):
        counted("other.calls")(work)


def test_a_file_that_is_not_there(production, file, caplog):
    names.add(str(file))
    assert timed("other.duration")(work) is work
    assert "No such file" in caplog.text
    assert "not measured, since other.yaml cannot be read" in caplog.text


def test_an_unregistered_name_is_an_error_in_tests(telemetry, file):
    use(file)
    for use_it in (timed("other.durations"), traced("other.call")):
        with pytest.raises(TelemetryError, match=r"no (metric|span) other\."):
            use_it(work)
        with pytest.raises(TelemetryError), use_it:
            pass
    with pytest.raises(TelemetryError, match=r"did you mean other\.duration\?"):
        timed("other.durations")(work)
    with pytest.raises(TelemetryError, match=r"other\.calls is a counter in the registry, not a histogram"):
        timed("other.calls")(work)
    with pytest.raises(TelemetryError, match=r"other\.calls has no attribute kind in the registry"):
        counted("other.calls", {"kind": "x"})(lambda x: x)
    with pytest.raises(TelemetryError, match="cannot be understood"):
        counted("other.calls", {"other.kind": "x.y()"})(lambda x: x)
    with pytest.raises(TelemetryError):
        counter("other.none")


def test_an_unregistered_name_is_a_warning_in_production_and_measured_by_defaults(production, file, caplog):
    use(file)
    wrapped = timed("other.unregistered", {"a": "x"})(lambda x: x)
    assert wrapped("y") == "y"
    timed("other.unregistered")(work)()
    (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "no metric other.unregistered in the registry (other.yaml)" in line.getMessage()
    found = {tuple(point.attributes.items()): point.count for point in production.points("other.unregistered")}
    assert found == {(("a", "y"),): 1, (): 1}
    # An attribute that is not registered is left out, a wrong expression too; the rest is measured.
    counted("other.calls", {"kind": "x", "other.kind": "x.y()"})(lambda x: x)("y")
    assert [point.attributes for point in production.points("other.calls")] == [{}]


def test_what_was_mistaken_at_import_fails_the_tests_of_it(production, file):
    use(file)
    timed("other.unregistered")(work)
    with pytest.raises(AssertionError, match=r"mistakes in the use of otel_openstack:\n.*other\.unregistered"):
        next(telemetry._get_wrapped_function()(None))
    problems.found.clear()


def test_names_of_the_product_itself_are_not_taken(telemetry, file):
    name = "http.server.request.duration"
    use(file, GOOD.replace("other.duration", name))
    with pytest.raises(TelemetryError, match="is there already"):
        timed(name)(work)
    assert INSTRUMENTS[name].unit == "s"


def test_files_that_the_operator_names(file):
    file.write_text(GOOD)
    with recording(settings.Settings(strict=True, unregistered="error", registry_files=(str(file),))) as seen:
        timed("other.duration")(work)()
        assert len(seen.points("other.duration")) == 1


def test_our_own_registry_has_the_same_format():
    groups = [group for path in sorted(ROOT.glob("*.yaml")) if path.name != "registry_manifest.yaml"
              for group in conventions.groups_of(str(path))]  # fmt: skip
    assert len(groups) > 50
    for group in groups:
        conventions.check_group(group)


ROOT = Path(__file__).resolve().parent.parent.parent / "registry"
