# SPDX-License-Identifier: Apache-2.0
"""Build the collector into .cache/collector/, when what it is made of has changed. `make collector` calls it.

The binary's version is the manifest's with eight digits of the sources' hash behind it. Needs Go 1.26.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "collector"
BINARY = CACHE / "otel-openstack-collector"
STAMP = CACHE / "stamp"
MANIFEST = ROOT / "collector" / "manifest.yaml"
EXPORTER = ROOT / "collector" / "exporter" / "statsdexporter"
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"


def build() -> Path:
    """Return the binary's path; SystemExit says what failed."""
    if not shutil.which("go"):
        sys.exit(
            "the collector is built with Go 1.26 or later, and there is no `go` in PATH: https://go.dev/doc/install"
        )
    wanted = contents()
    if BINARY.exists() and STAMP.exists() and STAMP.read_text() == wanted:
        return BINARY
    began = time.monotonic()
    print(f"building {BINARY.relative_to(ROOT)} (about 3 minutes of two cores the first time)", flush=True)
    STAMP.unlink(missing_ok=True)
    output = CACHE / "source"
    output.mkdir(parents=True, exist_ok=True)
    manifest = CACHE / "manifest.yaml"
    manifest.write_text(located(MANIFEST.read_text(), wanted, output))
    run("go", "install", BUILDER, log=CACHE / "install.log")
    run(str(CACHE / "bin" / "builder"), "--config", str(manifest), log=CACHE / "build.log")
    (output / BINARY.name).replace(BINARY)
    STAMP.write_text(wanted)
    print(f"built {BINARY.relative_to(ROOT)} in {time.monotonic() - began:.0f} s", flush=True)
    return BINARY


def contents() -> str:
    """Return the hash of all that the binary is made of: manifest, builder, Go, and the exporter without its tests."""
    digest = hashlib.sha256(BUILDER.encode())
    digest.update(subprocess.check_output(["go", "version"]))
    sources = [path for path in EXPORTER.rglob("*") if path.suffix in {".go", ".mod", ".sum"}]
    for path in sorted([MANIFEST, *(path for path in sources if not path.name.endswith("_test.go"))]):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def located(manifest: str, wanted: str, output: Path) -> str:
    """Return the manifest with absolute paths, so that it can stand elsewhere, and with the stamped version."""
    manifest = re.sub(r"(?m)^(  version: \S+)$", rf"\g<1>+{wanted[:8]}", manifest)
    manifest = re.sub(r"(?m)^  output_path: .*$", f"  output_path: {output}", manifest)
    return re.sub(
        r"(?m)^(    path: )(\S+)$", lambda found: f"{found[1]}{(MANIFEST.parent / found[2]).resolve()}", manifest
    )


def run(*command: str, log: Path) -> None:
    with log.open("wb") as into:
        status = subprocess.run(
            command, env=os.environ | {"GOBIN": str(CACHE / "bin")}, stdin=subprocess.DEVNULL, stdout=into,
            stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
    if status:
        sys.exit(f"{' '.join(command)} failed with status {status}:\n{log.read_text()[-4000:]}")


if __name__ == "__main__":
    print(build().relative_to(ROOT))
