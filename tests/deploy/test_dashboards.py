# SPDX-License-Identifier: Apache-2.0
"""The dashboards as they lie there: up to date, nothing on top of each other, units and legends that make sense.

What their queries return is tested with a real Prometheus in tests/cloud/test_dashboards.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import combinations

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from otel_openstack.semconv.instruments import INSTRUMENTS
from tests.deploy.shipped import BOARDS, DEPLOY, ROOT

GRAFANA_UNITS = {getattr(units, name) for name in dir(units) if isinstance(getattr(units, name), str)}
ASKED = {"api", "rpc", "database", "runtime", "pools", "host", "telemetry"}


def generate(*arguments):
    command = [sys.executable, str(DEPLOY / "generate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def panels(board, *, rows=False):
    return [panel for panel in BOARDS[board]["panels"] if rows or panel["type"] != "row"]


def test_what_is_generated_is_up_to_date():
    done = generate("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_difference_is_shown(tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "grafana" / "api.json"
    path.write_text(path.read_text().replace("reqps", "ops"))
    done = generate("--check", "--root", tmp_path / "deploy")
    assert done.returncode == 1
    assert '+      "unit": "reqps"' in done.stdout or '"reqps"' in done.stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("wsgi.yaml", "openstack.wsgi.dispatch.duration", "openstack.wsgi.despatch.duration", "no such metric"),
        ("telemetry.yaml", "  - id: metric.otel_openstack.queue.length", None, "on no dashboard"),
        ("db.yaml", "      - ref: openstack.db.access\n", "", "has openstack.db.access"),
    ],
    ids=["a metric that is renamed", "a metric that is new", "an attribute that is gone"],
)
def test_the_registry_and_the_dashboards_cannot_part(tmp_path, file, old, new, said):
    shutil.copytree(ROOT / "registry", tmp_path / "registry")
    path = tmp_path / "registry" / file
    text = path.read_text()
    assert old in text
    if new is None:
        new = NEW_METRIC + old
    path.write_text(text.replace(old, new))
    done = generate("--check", "--registry", tmp_path / "registry")
    assert done.returncode == 2, done.stdout
    assert said in done.stderr


NEW_METRIC = """\
  - id: metric.otel_openstack.news
    type: metric
    metric_name: otel_openstack.news
    instrument: counter
    unit: "{item}"
    brief: Something new.
    stability: development
    annotations:
      level: basic

"""


def test_every_dashboard_is_there_and_grafanas_schema_takes_it():
    assert BOARDS.keys() == ASKED
    for board in BOARDS.values():
        read = Dashboard.from_json(board)
        assert read.title == board["title"]
        assert len(JSONEncoder().encode(read.templating)) > 100


@pytest.mark.parametrize("board", BOARDS)
def test_nothing_lies_on_top_of_anything(board):
    places = [(panel["title"], panel["gridPos"]) for panel in panels(board, rows=True)]
    for title, place in places:
        assert place["x"] >= 0, title
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("board", BOARDS)
def test_titles_and_numbers_are_unique(board):
    shown = panels(board, rows=True)
    assert len({panel["title"] for panel in shown}) == len(shown)
    assert len({panel["id"] for panel in shown}) == len(shown)


def test_dashboards_have_names_of_their_own():
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS) == len({b["title"] for b in BOARDS.values()})


@pytest.mark.parametrize("board", BOARDS)
def test_units_are_grafanas_and_fit_what_is_asked(board):
    for panel in panels(board):
        if panel["type"] == "table":
            found = [
                (override["matcher"]["options"], value["value"], target["expr"])
                for override, target in zip(panel["fieldConfig"]["overrides"], panel["targets"], strict=True)
                for value in override["properties"]
            ]
        else:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            found = [(panel["title"], unit, target["expr"]) for target in panel["targets"]]
        for title, unit, query in found:
            assert unit in GRAFANA_UNITS, title
            if "histogram_quantile" in query:
                assert (unit == "s") == ("_seconds_bucket" in query), title
            if query.count(" / ") and "_sum" not in query:
                assert unit == "percentunit", title
            if unit == "bytes":
                assert "_bytes" in query or "memory" in query, title


@pytest.mark.parametrize("board", BOARDS)
def test_a_legend_names_what_its_query_tells_apart(board):
    for panel in panels(board):
        for target in panel["targets"] if panel["type"] != "table" else ():
            kept = [set(re.split(r",\s*", names)) for names in re.findall(r" by \(([^)]*)\)", target["expr"])]
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named == (kept[0] - {"le"} if kept else set()), panel["title"]


@pytest.mark.parametrize("board", BOARDS)
def test_a_panel_says_what_its_metrics_are(board):
    for panel in panels(board):
        named = set(re.findall(r"\(`([\w.]+)`", panel["description"]))
        assert named, panel["title"]
        for name in named & INSTRUMENTS.keys():
            assert INSTRUMENTS[name].description in panel["description"]
            assert (INSTRUMENTS[name].level == "basic") == (f"`{name}`)" in panel["description"])


@pytest.mark.parametrize("board", BOARDS)
def test_every_query_of_services_heeds_the_variables(board):
    for panel in panels(board):
        for target in panel["targets"]:
            for selector in re.findall(r"\b(\w+)\{([^}]*)\}", target["expr"]):
                if selector[0] != "up":
                    assert 'job=~"$service",host_name=~"$host"' in selector[1], target["expr"]
