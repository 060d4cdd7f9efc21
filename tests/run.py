# SPDX-License-Identifier: Apache-2.0
"""Run every test session, each in its environment, to the end; the last line is their sum. `make test` calls it.

Arguments are passed on to pytest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CLOSING = ROOT / ".cache" / "closing"
COUNTED = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
COUNT = re.compile(rf"(\d+) ({'|'.join(COUNTED)})s?\b")


class Session(NamedTuple):
    name: str
    venv: str
    arguments: tuple[str, ...]


OWN_SESSIONS = ("sqlalchemy20", "upstream", "collector", "cloud", "coexistence")
SESSIONS = (
    Session("libraries and servers", ".venv", ("tests", *(f"--ignore=tests/{name}" for name in OWN_SESSIONS))),
    Session("SQLAlchemy 2.0", ".venv-sa20", ("tests/sqlalchemy20", "tests/db")),
    Session("upstream's own tests", ".venv", ("tests/upstream",)),
    Session("collector and minimal cloud", ".venv", ("tests/collector", "tests/cloud", "tests/coexistence")),
)


def main() -> int:
    began, total, status = time.monotonic(), Counter[str](), 0
    CLOSING.parent.mkdir(exist_ok=True)
    CLOSING.unlink(missing_ok=True)
    builds = build_peers()
    for session in SESSIONS:
        print(f"\n##### {session.name}", flush=True)
        returned, closing = run(session)
        status = status or returned
        found = Counter({kind: int(count) for count, kind in COUNT.findall(closing)})
        if returned and not (found["failed"] or found["error"]):
            found["error"] += 1  # the session itself broke
        total += found
    if builds:
        builds.wait()
    total["failed"] += 0  # always named
    counts = ", ".join(f"{total[kind]} {kind}" for kind in COUNTED if kind in total)
    line = f"{counts} in {time.monotonic() - began:.0f} s"
    CLOSING.write_text(f"{line}\n")
    print(f"\n{line}", flush=True)
    return 1 if status else 0


def build_peers() -> subprocess.Popen[bytes] | None:
    """Begin to build what the collector's tests need last (minutes the first time); they wait for what is missing."""
    if not shutil.which("go"):
        return None
    command = ["nice", "-n", "10", sys.executable, str(ROOT / "collector" / "peers" / "build.py")]
    with (CLOSING.parent / "peers.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def run(session: Session) -> tuple[int, str]:
    """Pytest's status and its closing line."""
    command = [str(ROOT / session.venv / "bin" / "python"), "-m", "pytest", *session.arguments, *sys.argv[1:]]
    closing = ""
    # As after `activate`: tests start uwsgi, gunicorn and the launcher by name.
    path = f"{ROOT / session.venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for text in process.stdout:
            print(text, end="", flush=True)
            closing = text if COUNT.search(text) else closing
    return process.returncode, closing


if __name__ == "__main__":
    sys.exit(main())
