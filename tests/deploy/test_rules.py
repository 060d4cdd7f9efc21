# SPDX-License-Identifier: Apache-2.0
"""The rules with promtool: each alert fires with its fault and is quiet without, and says what its labels allow."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.deploy.cases import CASES
from tests.deploy.shipped import ALERTS, COMMANDS, GROUPS, PANELS, RULES, RUNBOOKS

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is in Debian's package prometheus")
HEADINGS = ["## What it means", "## Look at", "## Do", "## Tune"]


def promtool(*words):
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_the_rules():
    promtool("check", "rules", *map(str, RULES))


def unit(alert, case, series, labels):
    """A test of promtool's: whether `alert` fires, with these labels."""
    firing = [] if labels is None else [_sample(alert, labels)]
    return {
        "interval": case.step,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}', "eval_time": case.at, "exp_samples": firing}
        ],
    }


def _sample(alert, labels):
    every = {"alertname": alert, "alertstate": "firing", "severity": ALERTS[alert]["labels"]["severity"]} | labels
    text = ",".join(f'{name}="{value}"' for name, value in every.items())
    return {"labels": f"ALERTS{{{text}}}", "value": 1}


@needs_promtool
@pytest.mark.parametrize("step", ["1m", "30m"])
def test_each_alert_fires_with_its_fault_and_is_quiet_without(tmp_path, step):
    tests = []
    for alert, cases in CASES.items():
        for case in (case for case in cases if case.step == step):
            tests.append(unit(alert, case, case.fires, case.labels))
            tests.append(unit(alert, case, case.quiet, None))
    path = tmp_path / "cases.yaml"
    data = {
        "rule_files": [*map(str, RULES)],
        "evaluation_interval": step,
        "group_eval_order": GROUPS,
        "tests": tests,
    }
    path.write_text(yaml.safe_dump(data))
    promtool("test", "rules", str(path))


def test_each_alert_has_cases():
    assert CASES.keys() == ALERTS.keys()
    assert all(cases[0].fires and cases[0].quiet for cases in CASES.values())


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_knows(alert):
    """Texts name labels that its series have, and a page that exists."""
    texts = ALERTS[alert]["annotations"]
    named = set(re.findall(r"\$labels\.(\w+)", texts["summary"] + texts["description"]))
    assert named <= CASES[alert][0].labels.keys()
    assert texts["runbook"] == f"docs/runbooks/{alert}.md"
    assert len(texts["summary"]) < 160


def test_each_alert_has_a_runbook_and_each_runbook_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_a_runbook_is_whole_and_names_what_exists(alert):
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == HEADINGS
    assert all(part.strip() for part in re.split(r"^## .*\n", text, flags=re.MULTILINE)[1:])
    named = re.findall(r"\*\*(.+?) / (.+?)\*\*", text)
    assert named
    assert [name for name in named if name not in PANELS] == []
    assert set(re.findall(r"`otel-openstack (\w+)", text)) <= COMMANDS
    assert f"`{ALERTS[alert]['labels']['severity']}`" in text
