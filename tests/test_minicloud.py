# SPDX-License-Identifier: Apache-2.0
"""What the minimal cloud says where something is missing or a service fails, and that nothing stays behind."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

MINICLOUD = Path(__file__).parents[1] / "examples" / "minicloud"


@pytest.fixture
def minicloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its modules, by name."""
    monkeypatch.syspath_prepend(str(MINICLOUD))
    names = ("progress", "apt", "processes")
    found = SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    yield found
    for process in found.processes._children.values():
        process.kill()
        process.wait()
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def cloud(tmp_path: Path) -> SimpleNamespace:
    directories = {name: tmp_path / name for name in ("log", "pid")}
    for directory in directories.values():
        directory.mkdir()
    return SimpleNamespace(directory=tmp_path, **directories)


def program(directory: Path, name: str) -> None:
    (directory / name).write_text("#!/bin/sh\nexit 1\n")
    (directory / name).chmod(0o755)


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ((), "there is no apt-get here"),
        (("apt-get",), "neither root nor sudo without a password here"),
        (("apt-get", "sudo"), "neither root nor sudo without a password here"),
    ],
)
def test_without_root_or_apt_it_says_what_is_missing_and_how_to_get_it(
    minicloud, tmp_path, monkeypatch, programs, said
):
    for name in programs:
        program(tmp_path, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(minicloud.progress.Failed) as failed:
        minicloud.apt.ensure(["rabbitmq-server", "memcached"], tmp_path / "apt.log")
    text = str(failed.value)
    assert "missing: rabbitmq-server, memcached" in text
    assert "sudo apt-get update && sudo apt-get install --no-install-recommends rabbitmq-server memcached" in text
    assert said in text


def test_a_service_that_ends_is_named_with_the_end_of_its_log(minicloud, cloud):
    lines = "; ".join(f"echo line {number}" for number in range(40))
    minicloud.processes.start(cloud, "glance-api", ["/bin/sh", "-c", f"{lines}; exit 3"], {"PATH": "/usr/bin:/bin"})
    with pytest.raises(minicloud.progress.Failed) as failed:
        minicloud.processes.wait_ready(cloud, "glance-api", lambda: False, 10)
    text = str(failed.value)
    assert "glance-api ended before it was ready" in text
    assert text.endswith("line 39")
    assert "line 3\n" not in text


def test_a_service_that_is_late_is_named_with_the_end_of_its_log(minicloud, cloud):
    minicloud.processes.start(
        cloud, "nova-api", ["/bin/sh", "-c", "echo waits; exec sleep 60"], {"PATH": "/usr/bin:/bin"}
    )
    try:
        with pytest.raises(minicloud.progress.Failed, match="nova-api is not ready after 0 s"):
            minicloud.processes.wait_ready(cloud, "nova-api", lambda: False, 0.2)
    finally:
        minicloud.processes.stop(cloud, ["nova-api"])
    assert minicloud.processes.names(cloud) == []


def test_what_does_not_stop_is_killed_with_its_children(minicloud, cloud, monkeypatch):
    monkeypatch.setattr(minicloud.processes, "GRACE", 0.3)
    stubborn = "trap '' TERM; sleep 61 & echo started; while :; do sleep 0.1; done"
    minicloud.processes.start(cloud, "stubborn", ["/bin/sh", "-c", stubborn], {"PATH": "/usr/bin:/bin"})
    end = time.monotonic() + 10
    while "started" not in (cloud.log / "stubborn.log").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    members = minicloud.processes.session(cloud, "stubborn")
    assert len(members) >= 2
    (stopped,) = minicloud.processes.stop(cloud, ["stubborn"])
    assert stopped.killed
    while any(_lives(pid) for pid in members):
        assert time.monotonic() < end
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_long_step_shows_a_sign_of_life(minicloud, monkeypatch, capsys):
    monkeypatch.setattr(minicloud.progress, "SIGN_OF_LIFE", 0.05)
    with minicloud.progress.step("waiting"):
        time.sleep(0.3)
    out = capsys.readouterr().out
    assert "... waiting (0 s so far)" in out
    assert out.splitlines()[-1].endswith("waiting (0.3 s)")
