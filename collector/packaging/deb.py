# SPDX-License-Identifier: Apache-2.0
"""Make the Debian package of the built collector with dpkg-deb. `make deb` calls it.

The same sources give the same bytes: files have the time of SOURCE_DATE_EPOCH, or of the last commit.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COLLECTOR = HERE.parent
CACHE = COLLECTOR.parent / ".cache" / "collector"
NAME = "otel-openstack-collector"
ROLES = {"agent": None, "gateway": "wide.conf", "standalone": "wide.conf"}
"""The roles, and the drop-in of each."""

# What OpenTelemetry calls the architectures that Debian calls otherwise (host.arch); other names are the same.
ARCHITECTURES = {"armhf": "arm32", "armel": "arm32", "i386": "x86", "ppc64el": "ppc64"}
UNITS = "lib/systemd/system"
ETC = "etc/otel-openstack"
DOC = f"usr/share/doc/{NAME}"
SCRIPTS = ("postinst", "prerm", "postrm")
# The archive's own default of dpkg-deb differs between distributions, and not all of them read zstd.
COMPRESSION = ("-Zxz", "-z1", "--threads-max=2")


def build(into: Path, version: str | None = None, compression: tuple[str, ...] = COMPRESSION) -> Path:
    """Make the package of the binary in .cache/collector and return its path; SystemExit says what failed."""
    if not shutil.which("dpkg-deb"):
        sys.exit("the package is made with dpkg-deb, which Debian and Ubuntu have, and there is none in PATH")
    version = version or f"{manifest_version()}-1"
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    into.mkdir(parents=True, exist_ok=True)
    package = into / f"{NAME}_{version}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        tree.chmod(0o755)
        when = epoch()
        lay_out(tree, version, architecture, when)
        control(tree, version, architecture)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", *compression, "--build", tree, package], check=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(when)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return package


def lay_out(tree: Path, version: str, architecture: str, when: int) -> None:
    """Put every file where it will be, with its mode."""
    put(tree / "usr/bin" / NAME, CACHE / NAME, 0o755)
    unit = (HERE / "systemd" / f"{NAME}@.service").read_text()
    named = ARCHITECTURES.get(architecture, architecture)
    write(tree / UNITS / f"{NAME}@.service", unit.replace("@ARCHITECTURE@", named))
    for role, limits in ROLES.items():
        put(tree / ETC / f"{role}.env", HERE / "environment" / f"{role}.env", 0o640)
        if limits:
            put(tree / UNITS / f"{NAME}@{role}.service.d" / limits, HERE / "systemd" / limits)
    for path in sorted((COLLECTOR / "config").glob("*.yaml")):
        put(tree / ETC / "collector" / path.name, path)
    (tree / ETC / "tls").mkdir(mode=0o700)
    put(tree / DOC / "copyright", HERE / "debian" / "copyright")
    put(tree / "usr/share/lintian/overrides" / NAME, HERE / "debian" / "overrides")
    dated = {"version": version, "date": email.utils.formatdate(when)}
    pack(tree / DOC / "changelog.Debian.gz", (HERE / "debian" / "changelog").read_text().format(**dated))
    pack(tree / DOC / "README.md.gz", (COLLECTOR / "README.md").read_text())
    pack(tree / "usr/share/man/man8" / f"{NAME}.8.gz", (HERE / "debian" / f"{NAME}.8").read_text())


def control(tree: Path, version: str, architecture: str) -> None:
    """Write what dpkg itself reads."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    kibibytes = sum(-(-path.stat().st_size // 1024) for path in files)
    text = (HERE / "debian" / "control").read_text()
    write(
        tree / "DEBIAN" / "control", text.format(version=version, architecture=architecture, kibibytes=kibibytes)
    )  # fmt: skip
    named = [path for path in files if path.relative_to(tree).parts[0] == "etc"]
    write(tree / "DEBIAN" / "conffiles", "".join(f"/{path.relative_to(tree)}\n" for path in named))
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]  # noqa: S324
    write(tree / "DEBIAN" / "md5sums", "".join(sums))
    for name in SCRIPTS:
        put(tree / "DEBIAN" / name, HERE / "debian" / name, 0o755)


def put(path: Path, source: Path, mode: int = 0o644) -> None:
    directory(path.parent)
    shutil.copyfile(source, path)
    path.chmod(mode)


def write(path: Path, text: str) -> None:
    directory(path.parent)
    path.write_text(text)
    path.chmod(0o644)


def pack(path: Path, text: str) -> None:
    directory(path.parent)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    path.chmod(0o644)


def directory(path: Path) -> None:
    """Make a directory and its parents with the same mode whatever the umask is."""
    if not path.exists():
        directory(path.parent)
        path.mkdir()
        path.chmod(0o755)


def manifest_version() -> str:
    found = re.search(r"(?m)^  version: (\S+)$", (COLLECTOR / "manifest.yaml").read_text())
    if not found:
        sys.exit("collector/manifest.yaml names no version")
    return found[1]


def epoch() -> int:
    """Seconds since 1970 of SOURCE_DATE_EPOCH, else of the last commit, else of the manifest's last change."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=HERE, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return int(git.stdout) if git.stdout.strip() else int((COLLECTOR / "manifest.yaml").stat().st_mtime)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the Debian package of the built collector.")
    parser.add_argument("--into", type=Path, default=CACHE, help="the directory that gets the package")
    parser.add_argument("--version", help="the manifest's with -1 behind it, if not given")
    arguments = parser.parse_args()
    print(build(arguments.into, arguments.version))
