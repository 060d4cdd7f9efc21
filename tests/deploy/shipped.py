# SPDX-License-Identifier: Apache-2.0
"""What deploy/ ships, as the tests read it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from otel_openstack.cli.main import COMMANDS as _COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = sorted((DEPLOY / "prometheus").glob("otel-openstack-*.yaml"))
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
_GROUPS = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
# What is recorded comes first.
GROUPS = sorted((group["name"] for group in _GROUPS), key=lambda name: "recordings" not in name)
_RULES = [rule for group in _GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in _RULES if "alert" in rule}
RECORDINGS = {rule["record"]: rule["expr"] for rule in _RULES if "record" in rule}
PANELS = {(board["title"], panel["title"]) for board in BOARDS.values() for panel in board["panels"]}
COMMANDS = set(_COMMANDS)
