# SPDX-License-Identifier: Apache-2.0
"""Whether the launcher's sitecustomize.py is still the launcher's own.

opentelemetry-instrumentation-oslo-service ships a file of the same path, so that whichever was installed last has
written it, and its removal removes the file: whatever needs it then starts without OpenTelemetry, in silence. The
launcher does not where it chose us (`launched.py`), but another distribution does, and a container into which an
operator of Kubernetes puts the directory. One line tells.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, MutableMapping
from importlib import metadata

OWNER = "opentelemetry-instrumentation"
FILE = "opentelemetry/instrumentation/auto_instrumentation/sitecustomize.py"
# An option of the other file, which imports eventlet before the service: nova then refuses to start, and where it
# starts, the exporting threads of the SDK deadlock.
OPTION = "OTEL_PYTHON_EVENTLET_MONKEY_PATCH"


def problems(environ: MutableMapping[str, str]) -> list[str]:
    """Return a line if the file is another one, with the commands that repair it, and take its option from `environ`.

    Never raises. What cannot be known (a package of the operating system has no list of its files) is no problem.
    """
    try:
        owner = metadata.distribution(OWNER)
        wanted = _hashes(owner).get(FILE)
        path = str(owner.locate_file(FILE))
        if wanted is None or not _differs(path, wanted):
            return []
        return [_told(owner, path, environ)]
    except Exception:
        return []


def _told(owner: metadata.Distribution, path: str, environ: MutableMapping[str, str]) -> str:
    reinstall = f"pip install --force-reinstall --no-deps {OWNER}=={owner.version}"
    if not os.path.exists(path):
        what = f"{path} was removed with another package, what needs it starts unmeasured"
        return f"otel-openstack: {what}. To repair it, run: {reinstall}"
    others = sorted(_others(owner))
    what = f"{path} was replaced by {', '.join(others) or 'an unknown package'}"
    if environ.pop(OPTION, None):
        what += f", {OPTION} is ignored"
    uninstall = f"pip uninstall -y {' '.join(others)} && " if others else ""
    return f"otel-openstack: {what}. To repair it, run: {uninstall}{reinstall}"


def _hashes(distribution: metadata.Distribution) -> dict[str, str]:
    """Return the hash of each file by the list that was installed with `distribution`."""
    lines = (distribution.read_text("RECORD") or "").splitlines()
    rows = (line.rsplit(",", 2) for line in lines)
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[1]}  # noqa: PLR2004 - path, hash, size


def _differs(path: str, wanted: str) -> bool:
    method, _, digest = wanted.partition("=")
    try:
        with open(path, "rb") as file:
            found = hashlib.new(method, file.read()).digest()
    except FileNotFoundError:
        return True
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode() != digest.rstrip("=")


def _others(owner: metadata.Distribution) -> Iterator[str]:
    """Yield the names of other packages that list the file as theirs."""
    for other in metadata.distributions():
        if other.metadata["Name"] != owner.metadata["Name"] and FILE in (other.read_text("RECORD") or ""):
            yield other.metadata["Name"]
