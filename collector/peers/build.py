# SPDX-License-Identifier: Apache-2.0
"""Build what the collector sends to into .cache/collector/peers/, when what it is made of has changed: `make peers`.

    python collector/peers/build.py [NAME...]

jaeger and prometheus are folders with the go.mod that pins each as a tool (Go 1.26), statsd comes from npm. Who comes
while one is being made waits.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "collector" / "peers"
STATSD = "statsd@0.9.0"
# Prometheus without the service discoveries of a dozen clouds, which it would mostly be made of.
PEERS = {
    "jaeger": ("github.com/jaegertracing/jaeger/cmd/jaeger", ()),
    "prometheus": ("github.com/prometheus/prometheus/cmd/prometheus", ("-tags", "remove_all_sd")),
}


def build(name: str) -> Path:
    """Return the path of the binary, of statsd's the script; SystemExit says what failed."""
    return statsd() if name == "statsd" else compiled(name)


def statsd() -> Path:
    """Install Etsy's daemon, unless it is there."""
    home = CACHE / "statsd"
    script = home / "node_modules" / "statsd" / "stats.js"
    with locked("statsd"):
        if not script.exists():
            if not shutil.which("npm"):
                sys.exit("statsd comes from npm and runs on Node.js, and there is no `npm` in PATH")
            run(
                "statsd",
                ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--omit=optional", STATSD],
            )
    return script


def compiled(name: str) -> Path:
    if not shutil.which("go"):
        sys.exit(f"{name} is built with Go 1.26 or later, and there is no `go` in PATH: https://go.dev/doc/install")
    binary, stamp, wanted = CACHE / name, CACHE / f"{name}.stamp", contents(name)
    with locked(name):
        if not (binary.exists() and stamp.exists() and stamp.read_text() == wanted):
            began = time.monotonic()
            print(f"building {binary.relative_to(ROOT)} (minutes of two cores the first time)", flush=True)
            package, options = PEERS[name]
            run(name, ["go", "build", "-trimpath", "-ldflags", "-s -w", *options, "-o", str(binary), package])
            stamp.write_text(wanted)
            print(f"built {binary.relative_to(ROOT)} in {time.monotonic() - began:.0f} s", flush=True)
    return binary


def contents(name: str) -> str:
    """Return the hash of all that the binary is made of."""
    digest = hashlib.sha256(repr(PEERS[name]).encode())
    digest.update(subprocess.check_output(["go", "version"]))
    for path in (HERE / name / "go.mod", HERE / name / "go.sum"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(name: str, command: list[str]) -> None:
    log = CACHE / f"{name}.log"
    with log.open("wb") as into:
        status = subprocess.run(
            command, cwd=HERE / name, stdin=subprocess.DEVNULL, stdout=into, stderr=subprocess.STDOUT, check=False
        ).returncode
    if status:
        sys.exit(f"{' '.join(command)} failed with status {status}:\n{log.read_text()[-4000:]}")


if __name__ == "__main__":
    known = (*PEERS, "statsd")
    for peer in sys.argv[1:] or known:
        if peer not in known:
            sys.exit(f"unknown peer {peer}: there are {', '.join(known)}")
        print(build(peer).relative_to(ROOT))
