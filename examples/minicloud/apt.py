# SPDX-License-Identifier: Apache-2.0
"""Install missing Debian packages without letting any of them start a daemon.

    python examples/minicloud/apt.py PACKAGE...

Needs root or sudo; says exactly what to type where it has neither.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from progress import Failed, step, tail, warn

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Maintainer scripts ask policy-rc.d whether they may start their daemon. One that exists already is left alone.
INSTALL = r"""
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f '$policy EXIT
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$@"
"""


def ensure(packages: Iterable[str], log: Path) -> None:
    """Install those of `packages` that are missing; Failed tells what to type where that cannot be done here."""
    missing = [package for package in packages if not _installed(package)]
    if not missing:
        return
    hint = f"missing: {', '.join(missing)}. Install them with\n  " + by_hand(missing)
    if not shutil.which("apt-get"):
        raise Failed(f"{hint}\n(or your system's equivalents: there is no apt-get here)")
    root = _as_root()
    if root is None:
        raise Failed(f"{hint}\n(neither root nor sudo without a password here)")
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(f"apt-get install {' '.join(missing)}"), log.open("wb") as output:
        run = subprocess.run(
            [*root, "/bin/sh", "-c", INSTALL, "apt", *missing],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if run.returncode:
        raise Failed(f"apt-get failed with status {run.returncode}; by hand:\n  {by_hand(missing)}\n{tail(log)}")


def by_hand(packages: Iterable[str]) -> str:
    return f"sudo apt-get update && sudo apt-get install --no-install-recommends {' '.join(packages)}"


def _installed(package: str) -> bool:
    if not shutil.which("dpkg-query"):
        return False
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"


def _as_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        return None
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n"]
    return ["sudo"] if sys.stdin.isatty() else None


if __name__ == "__main__":
    from layout import PROJECT

    try:
        ensure(sys.argv[1:], PROJECT / ".demo" / "apt.log")
    except Failed as error:
        warn(str(error))
        sys.exit(1)
