# SPDX-License-Identifier: Apache-2.0
"""Patch files on the cloud's own services: Tach's, and the presets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud.conftest import ROOT, VENV
from tests.cloud.recorded import Run

PRESETS = ("glance", "keystone", "neutron", "nova", "placement")
GONE = "nova.rpc.amqp.ProxyCallback._process_data"

pytestmark = pytest.mark.cloud


def check(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [VENV / "bin" / "otel-openstack", "patch", "check", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_every_preset_names_what_the_services_have() -> None:
    done = check(*PRESETS)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("  ") and not line.startswith("  ok ")]
    assert [line for line in wrong if " not reached: " not in line and not line.endswith("can be measured")] == []
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_says_which_of_tachs_examples_nova_still_has(tmp_path: Path) -> None:
    for path in (ROOT / "examples" / "tach").glob("*.*"):
        (tmp_path / path.name).write_text(path.read_text())
        (tmp_path / path.name).chmod(0o600)
    names = ("api", "compute", "network", "scheduler")
    found = {name: check(tmp_path / f"tach-{name}.conf") for name in names}
    assert [found[name].returncode for name in names] == [0, 1, 1, 1], found
    for name in names[1:]:
        assert f"missing             9: {GONE}: nova.rpc has no amqp in this release" in found[name].stdout
        assert "oslo_messaging.rpc.dispatcher.RPCDispatcher._do_dispatch has the same arguments" in found[name].stdout
    today = check(tmp_path / "nova-compute.conf", "--service", "nova-compute")
    assert (today.returncode, "does not import it" in today.stdout) == (0, False), today.stdout


@pytest.fixture(scope="session")
def counted(run: Run) -> Callable[..., dict[str, tuple[int, float]]]:
    """Return what gives, of a histogram of a service in the run with patch files, label -> (calls, seconds)."""
    run = Run(run.directory)
    run.otlp = run.directory / "otlp-deep"

    def of(service: str, metric: str) -> dict[str, tuple[int, float]]:
        found: dict[str, tuple[int, float]] = {}
        for process, metrics in run.metrics.items():
            last = {json.dumps(point.get("attributes")): point for point in metrics.get(metric, ())}
            for point in last.values() if process.service == service else ():
                labels = {one["key"]: one["value"]["stringValue"] for one in point.get("attributes", ())}
                label = labels.get("tach.label", "")
                calls, seconds = found.get(label, (0, 0.0))
                found[label] = calls + int(point["count"]), seconds + point["sum"]
        return found

    return of


def test_a_tach_file_times_the_build_of_a_server(
    run: Run, counted: Callable[..., dict[str, tuple[int, float]]]
) -> None:
    steps = json.loads((run.directory / "state" / "record.json").read_text())["deep"]["steps"]
    took = max(step["seconds"] for step in steps)
    builds, seconds = counted("nova-compute", "nova.compute.build")[""]
    assert builds == 1
    assert 0.01 < seconds < took
    same, preset = counted("nova-compute", "nova.server.build.duration")[""]
    assert (same, preset) == (1, pytest.approx(seconds, rel=0.01))
    received = counted("nova-compute", "nova.compute.queue_receive")
    assert received["nova.compute.build_and_run_instance"][0] == 1
    assert received["nova.compute.terminate_instance"][0] == 1
    asked = counted("nova-api", "nova.api.openstack.api")
    assert asked["nova.api.servers.create.POST"][0] >= 1  # one that the client gets wrong on purpose, too
    assert asked["nova.api.servers.delete.DELETE"][0] >= 1
    assert sum(calls for label, (calls, _) in asked.items() if label != "nova.api.openstack.api") > 20


@pytest.mark.parametrize(
    ("service", "metric", "least"),
    [
        ("nova-api", "nova.api.server.create.duration", 1),
        ("nova-conductor", "nova.conductor.schedule_and_build.duration", 1),
        ("nova-scheduler", "nova.scheduler.select.duration", 1),
        ("nova-compute", "nova.server.network.duration", 1),
        ("nova-compute", "nova.server.delete.duration", 1),
        ("neutron-api", "neutron.port.create.duration", 1),
        ("glance-api", "glance.image.show.duration", 1),
        ("keystone", "keystone.token.issue.duration", 1),
        ("placement", "placement.candidates.duration", 1),
    ],
)
def test_presets_measure(
    counted: Callable[..., dict[str, tuple[int, float]]], service: str, metric: str, least: int
) -> None:
    assert sum(calls for calls, _ in counted(service, metric).values()) >= least


def test_what_is_gone_is_one_line_in_the_log_of_each_process(run: Run) -> None:
    for service in ("nova-compute", "nova-conductor", "nova-scheduler"):
        log = (run.directory / "log-deep" / f"{service}.log").read_text()
        lines = [line for line in log.splitlines() if GONE in line and "otel-openstack: patch file " in line]
        assert len(lines) == 1, (service, lines)
        assert "left out: nova.rpc has no amqp in this release" in lines[0]
