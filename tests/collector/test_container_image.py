# SPDX-License-Identifier: Apache-2.0
"""The container recipe, built and started with Buildah.

The images that it names cannot be had without a registry: in their place stand an empty one and a static busybox.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.collector.peers import ROOT, Collector, Process, Worker, free_port, wait

pytestmark = pytest.mark.servers
RECIPE = ROOT / "collector" / "packaging" / "Containerfile"
BUSYBOX = Path("/bin/busybox")
USER = 65532


def missing():
    if os.geteuid():
        return "only root has Buildah isolate with chroot"
    if not shutil.which("buildah") or not BUSYBOX.exists():
        return "needs Debian's packages buildah and busybox-static"
    shown = subprocess.run(["ldd", BUSYBOX], capture_output=True, text=True, check=False)
    return "" if "not a dynamic" in shown.stdout + shown.stderr else "busybox is not static here: busybox-static"


class Images:
    """A storage of its own."""

    def __init__(self, directory):
        places = ("--root", directory / "root", "--runroot", directory / "run", "--storage-driver", "vfs")
        self.command = [shutil.which("buildah"), *places]

    def run(self, *words):
        done = subprocess.run(
            [*self.command, *words], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    images = Images(tmp_path_factory.mktemp("images"))
    tools = images.run("from", "scratch")
    for name in ("/bin/busybox", "/bin/sh"):
        images.run("copy", "--quiet", tools, BUSYBOX, name)
    images.run("config", "--env", "PATH=/bin", tools)
    images.run("commit", "--quiet", tools, "tools")
    images.run(
        "build", "--quiet", "--isolation", "chroot", "--format", "docker", "--build-arg", "BASE=scratch",
        "--build-arg", "TOOLS=localhost/tools", "--file", RECIPE, "--ignorefile", f"{RECIPE}.containerignore",
        "--tag", "collector", ".",
    )  # fmt: skip
    yield images
    images.run("rm", "--all")  # or what is mounted stays


def test_the_image_holds_what_it_should_and_no_more(images):
    container = images.run("from", "collector")
    root = Path(images.run("mount", container))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    configurations = {f"etc/otel-openstack/collector/{path.name}" for path in (ROOT / "collector/config").iterdir()}
    assert found == configurations | {"usr/bin/otel-openstack-collector", "usr/bin/wget"}
    for own in ("run/otel-openstack", "var/lib/otel-openstack-collector"):
        assert (root / own).stat().st_uid == USER
    told = json.loads(images.run("inspect", "--type", "image", "collector"))["Docker"]["config"]
    assert told["User"] == f"{USER}:{USER}"
    assert told["Entrypoint"] == ["/usr/bin/otel-openstack-collector"]
    assert told["Healthcheck"]["Test"][:2] == ["CMD", "/usr/bin/wget"]
    assert told["StopSignal"] == "SIGTERM"


def test_it_starts_as_a_user_without_rights_and_stops_when_told(images, tmp_path):
    container = images.run("from", "collector")
    here = Collector(tmp_path, "agent.yaml")  # for its ports
    here.environment |= {
        "OTEL_OPENSTACK_OTLP_SOCKET": "/run/otel-openstack/otlp.sock",
        "OTEL_OPENSTACK_GATEWAY": f"http://127.0.0.1:{free_port()}",
    }
    environment = [word for name, value in here.environment.items() for word in ("--env", f"{name}={value}")]
    told = json.loads(images.run("inspect", "--type", "image", "collector"))["Docker"]["config"]
    inside = ("run", "--isolation", "chroot", *environment, container)
    running = Process([*images.command, *inside, *told["Entrypoint"], *told["Cmd"]], tmp_path / "container.log")
    try:
        wait(lambda: running.alive() and here.get(here.health, "/"), "the collector's health")
        here.report(Worker())
        wait(lambda: here.own("exporter_queue_size", by="data_type")["metrics"], "what it took waits for the gateway")
        images.run(*inside, "/usr/bin/wget", "-q", "-O", "/dev/null", f"http://127.0.0.1:{here.health}/")
        status = collector(running).joinpath("status").read_text()
        assert re.search(rf"(?m)^Uid:\t{USER}\t{USER}", status)
        assert re.search(r"(?m)^CapEff:\t0+$", status)
        os.kill(int(collector(running).name), signal.Signals[told["StopSignal"]])
        assert running.child.wait(15) == 0
    finally:
        if running.child.poll() is None:
            os.kill(int(collector(running).name), signal.SIGKILL)
            running.stop()


def collector(running):
    """The collector among the descendants of Buildah."""
    pids = [running.child.pid]
    for pid in pids:
        process = Path(f"/proc/{pid}")
        if (process / "cmdline").read_bytes().startswith(b"/usr/bin/otel-openstack-collector"):
            return process
        for thread in (process / "task").iterdir():
            pids += map(int, (thread / "children").read_text().split())
    raise AssertionError(running.log.read_text()[-2000:])
