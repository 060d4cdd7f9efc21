# SPDX-License-Identifier: Apache-2.0
"""A clean Debian with a running systemd, for tests of what is installed. Nothing of it outlives the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector.peers import CACHE, ROOT, Process, wait

# Made once: what Debian calls essential, and systemd. Nobody keeps it, so nothing has to be synced to disk.
CLEAN = CACHE / "clean-root"
MAKE = (
    "mmdebstrap", "--quiet", "--variant=essential", "--include=systemd", "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"', "bookworm",
)  # fmt: skip
GROUPS = Path("/sys/fs/cgroup")


def missing():
    """Why there can be no container here; nothing if there can."""
    if os.geteuid():
        return "only root starts a container"
    tools = [tool for tool in ("mmdebstrap", "systemd-nspawn", "nsenter", "dpkg-deb") if not shutil.which(tool)]
    return f"not installed: {', '.join(tools)}" if tools else ""


def clean_root():
    if not CLEAN.exists():
        making = CLEAN.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        done = subprocess.run([*MAKE, making], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        making.rename(CLEAN)
    return CLEAN


def forget_groups():
    """Remove the control groups that nspawn made and left."""
    for group in (*GROUPS.glob("*/payload"), *GROUPS.glob("*/supervisor")):
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


class Container:
    """Booted from the clean root, which stays as it is: what is written is in memory."""

    def __init__(self, directory, *readable):
        self.log = directory / "container.log"
        self.readable = readable
        self.process = self.leader = None

    def start(self):
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
            "--volatile=overlay", "--machine=clean", *(f"--bind-ro={path}" for path in self.readable),
            "--directory", clean_root(), "--boot",
        ]  # fmt: skip
        self.process = Process(command, self.log)
        try:
            wait(self.booted, "systemd in the container")
        except AssertionError:
            self.stop()
            pytest.skip(f"systemd does not boot in a container here: {self.log.read_text()[-300:]}")
        return self

    def booted(self):
        pid = self.process.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        self.leader = children.read_text().split()[0] if children.exists() and children.read_text().strip() else None
        if not self.leader:
            self.process.alive()
            return False
        state = self.ask("systemctl", "is-system-running").stdout.strip()
        return state in {"running", "degraded"}

    def stop(self):
        try:
            self.process.stop()  # it is nspawn that tells the container
        finally:
            forget_groups()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    def ask(self, *command):
        inside = ["--target", self.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        return subprocess.run(
            [shutil.which("nsenter"), *inside, *map(str, command)], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120,
        )  # fmt: skip

    def run(self, *command):
        done = self.ask(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}"
        return done.stdout

    def python(self, code):
        """Run Python of this machine in the container's network, and return what it printed, errors too."""
        done = subprocess.run(
            ["nsenter", "--target", self.leader, "--net", sys.executable, "-c", code], cwd=ROOT, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def path(self, name):
        return Path(f"/proc/{self.leader}/root{name}")
