# SPDX-License-Identifier: Apache-2.0
"""What the cloud needs from the machine: three servers from Debian and a venv, pinned. Quick when all is there."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import apt
from layout import HERE, PROJECT
from progress import Failed, step
from servers import RABBIT

if TYPE_CHECKING:
    from layout import Cloud

LOCK = HERE / "requirements.lock"
SETS = PROJECT / ".cache" / "coexist"  # venvs of cases that need other packages
PYTHONS = ((3, 10), (3, 12))  # those for which every pinned package exists
# Debian package: a program of it that must be found.
SERVERS = {"rabbitmq-server": str(RABBIT / "rabbitmq-server"), "mariadb-server": "mariadbd", "memcached": "memcached"}


def everything(cloud: Cloud) -> None:
    cloud.directory.mkdir(parents=True, exist_ok=True)
    apt.ensure(_missing_packages(), cloud.directory / "apt.log")
    if packages := cloud.options.case.packages:
        cloud.venv = SETS / f"venv-{cloud.options.case.name}"
        _venv(cloud, packages)
        _compile(cloud)
    elif cloud.venv == cloud.directory / "venv":
        _venv(cloud)
        _compile(cloud)
    elif not (cloud.venv / "bin" / "nova-compute").exists():
        raise Failed(f"{cloud.venv} has no nova in it: leave --venv out to have one made")


def _missing_packages() -> list[str]:
    packages = [package for package, program in SERVERS.items() if not shutil.which(program, path=_search_path())]
    if importlib.util.find_spec("ensurepip") is None:  # Debian keeps it apart
        packages.append("python3-venv")
    return packages


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _venv(cloud: Cloud, packages: tuple[str, ...] = ()) -> None:
    """Install the services and ours, and then `packages`, as somebody would who adds them to a running cloud."""
    stamp, wanted = cloud.venv / "installed", _fingerprint(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        running = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise Failed(f"this is Python {running}, the pinned services need 3.11: `make demo PYTHON=python3.11`")
    log = cloud.directory / "install.log"
    with step(f"venv in {cloud.venv}"):
        _run([sys.executable, "-m", "venv", str(cloud.venv)], log)
    pip = [cloud.bin("python"), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    with step("pip installs the pinned services (one to two minutes the first time)"):
        _run([*pip, "-r", str(LOCK), "-e", str(PROJECT)], log)
        if packages:
            _run([*pip, "-c", str(LOCK), *packages], log)
    stamp.write_text(wanted)


def _compile(cloud: Cloud) -> None:
    """Compile our modules, as pip does with all but an editable package: no process is to do it at each start.

    Where PYTHONDONTWRITEBYTECODE is set, as in many containers, it would, and 0.2 s more would be measured.
    """
    command = [cloud.bin("python"), "-m", "compileall", "-q", str(PROJECT / "otel_openstack")]
    _run(command, cloud.directory / "install.log")


def _fingerprint(packages: tuple[str, ...]) -> str:
    content = b"".join(path.read_bytes() for path in (LOCK, PROJECT / "pyproject.toml"))
    return hashlib.sha256(content + " ".join([str(PROJECT), sys.version, *packages]).encode()).hexdigest()


def _run(command: list[str], log: Path) -> None:
    with log.open("ab") as output:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False)
    if run.returncode:
        raise Failed(f"`{' '.join(command[:4])} …` failed with status {run.returncode}", log)
