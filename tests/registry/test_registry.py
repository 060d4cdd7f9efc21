# SPDX-License-Identifier: Apache-2.0
"""The registry holds every measurement, and what is generated from it is up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otel_openstack.semconv import attributes, instruments
from otel_openstack.semconv.instruments import INSTRUMENTS

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATE = ROOT / "registry" / "generate.py"
BY_HAND = [path for path in sorted((ROOT / "registry").glob("*.yaml")) if path.name != "registry_manifest.yaml"]


def generate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(GENERATE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def groups() -> list[dict]:
    return [group for path in BY_HAND for group in yaml.safe_load(path.read_text())["groups"]]


def test_generated_files_are_up_to_date():
    result = generate("--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_row_of_the_blueprint_has_an_instrument():
    rows = {row for group in groups() for row in group.get("annotations", {}).get("blueprint", ())}
    assert rows == set(range(1, 43))


def test_instruments_say_what_the_yaml_says():
    metrics = {group["metric_name"]: group for group in groups() if group["type"] == "metric"}
    assert set(metrics) == set(INSTRUMENTS)
    for name, group in metrics.items():
        row, extras = INSTRUMENTS[name], group["annotations"]
        assert (row.name, row.kind, row.unit, row.description) == (
            name,
            group["instrument"],
            group["unit"],
            group["brief"],
        )
        assert list(row.attributes) == [item["ref"] for item in group.get("attributes", ())]
        assert row.level == extras["level"]
        assert list(row.boundaries or ()) == extras.get("boundaries", [])
        assert row.observable == extras.get("observable", False)
        assert row.limit == extras.get("series_limit", 2000)
        assert getattr(instruments, re.sub(r"[.-]", "_", name).upper()) == name


def test_the_conventions_own_values_are_kept():
    http = INSTRUMENTS["http.server.request.duration"]
    assert http.boundaries == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
    assert (http.unit, http.stability) == ("s", "stable")
    database = INSTRUMENTS["db.client.operation.duration"]
    assert database.boundaries == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    rpc = INSTRUMENTS["rpc.client.call.duration"]
    assert rpc.boundaries is not None
    assert rpc.boundaries[-1] == 300


def test_names_and_units_are_those_of_the_conventions_package():
    """The names without the prefix openstack are standard ones: the pinned conventions know each of them."""
    from opentelemetry.semconv._incubating.metrics import (
        cpython_metrics,
        db_metrics,
        http_metrics,
        messaging_metrics,
        process_metrics,
        rpc_metrics,
    )
    from opentelemetry.semconv.metrics import db_metrics as stable_db
    from opentelemetry.semconv.metrics import http_metrics as stable_http

    modules = [stable_http, stable_db, http_metrics, db_metrics, messaging_metrics, rpc_metrics]
    modules += [process_metrics, cpython_metrics]
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    ours = {name for name in INSTRUMENTS if not name.startswith(("openstack.", "otel_openstack."))}
    assert ours - known == set()


def test_no_metric_carries_an_identity():
    identity = {
        "openstack.request_id",
        "openstack.global_request_id",
        "openstack.user_id",
        "openstack.domain_id",
        "openstack.instance_id",
    }
    assert [row.name for row in INSTRUMENTS.values() if identity & set(row.attributes)] == []


def test_attribute_constants_hold_every_label():
    names = {value for key, value in vars(attributes).items() if key.isupper()}
    assert {label for row in INSTRUMENTS.values() for label in row.attributes} <= names
    assert attributes.HTTP_REQUEST_METHOD == "http.request.method"


def test_the_package_uses_no_openstack_name_that_the_registry_lacks():
    known = {name for group in groups() for name in (group.get("metric_name"), group.get("name"))} | {
        item.get("id") for group in groups() for item in group.get("attributes", ())
    }
    unknown = {
        (path.name, name)
        for path in (ROOT / "otel_openstack").rglob("*.py")
        if "semconv" not in path.parts and "analysis" not in path.parts  # which reads what others recorded, too
        for name in re.findall(r'"(openstack\.[a-z0-9_.]*[a-z0-9])"', path.read_text())
        if name not in known
    }
    assert unknown == set()


VALID = """\
groups:
  - id: metric.openstack.things
    type: metric
    metric_name: openstack.things
    instrument: counter
    unit: "{thing}"
    brief: Things.
    stability: development
    attributes:
      - ref: openstack.kind
    annotations:
      level: basic
  - id: registry.things
    type: attribute_group
    brief: Of things.
    attributes:
      - id: openstack.kind
        type: string
        brief: Kind of the thing.
        stability: development
"""

WRONG = [
    ("instrument: counter", "instrument: timer", "metric.openstack.things: instrument: 'timer' is not one of"),
    ("unit: ", "units: ", "metric.openstack.things: units: unknown key; did you mean unit?"),
    ('unit: "{thing}"', "unit: seconds", "metric.openstack.things: unit: 'seconds' is neither"),
    ("level: basic", "level: low", "metric.openstack.things: annotations.level: 'low' is not one of basic"),
    ("level: basic", "levle: basic", "annotations.levle: unknown key; did you mean level?"),
    ("level: basic", "level: basic\n      boundaries: [1]", "annotations.boundaries: only histograms have them"),
    ("level: basic", "level: basic\n      series_limit: 0", "annotations.series_limit: not a positive integer"),
    ("level: basic", "level: basic\n      blueprint: [43]", "annotations.blueprint: no such row: 43"),
    ("instrument: counter", "instrument: histogram", "annotations.boundaries: missing"),
    ("ref: openstack.kind", "ref: openstack.king", "ref: no such attribute: openstack.king"),
    ("      - ref: openstack.kind", "      - ref: openstack.kind\n" * 2, "ref: given twice: openstack.kind"),
    ("id: openstack.kind", "id: openstack.Kind", "id: bad name: 'openstack.Kind'"),
    ("id: registry.things", "id: metric.openstack.things", "id: given twice: metric.openstack.things"),
    ("id: metric.openstack.things", "id: metric.things", "id: must be metric.openstack.things"),
    ("stability: development", "stability: dev", "stability: 'dev' is not one of stable"),
    ("type: string", "type: text", "openstack.kind.type: 'text' is not one of"),
    ("type: metric", "type: metrics", "type: 'metrics' is not one of"),
    ("brief: Things.", "brief: Things.\n    brief: Others.", "key given twice: brief"),
    ("groups:", "group:", "group: unknown key"),
    ("groups:", "groups: [", "things.yaml"),
]


@pytest.fixture
def registry(tmp_path):
    directory = tmp_path / "registry"
    directory.mkdir()
    (directory / "registry_manifest.yaml").write_text("semconv_version: 1.0.0\nschema_base_url: https://example.org/\n")
    return directory


def test_a_valid_registry_is_written(registry, tmp_path):
    (registry / "things.yaml").write_text(VALID)
    assert generate("--registry", registry, "--root", tmp_path, "--check").returncode == 1
    assert generate("--registry", registry, "--root", tmp_path).returncode == 0
    assert generate("--registry", registry, "--root", tmp_path, "--check").returncode == 0
    page = tmp_path / "docs" / "reference" / "metrics.md"
    page.write_text(page.read_text().replace("Things.", "Thongs."))
    result = generate("--registry", registry, "--root", tmp_path, "--check")
    assert result.returncode == 1
    assert "-Thongs.\n+Things." in result.stdout


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[new.strip()[:30] for _, new, _ in WRONG])
def test_mistakes_are_told_with_file_and_key(registry, tmp_path, old, new, message):
    assert old in VALID
    (registry / "things.yaml").write_text(VALID.replace(old, new, 1))
    result = generate("--registry", registry, "--root", tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("things.yaml")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "docs").exists()
