# SPDX-License-Identifier: Apache-2.0
"""Names for work that no request asked for, so that a trace never begins with a loose client call."""

from __future__ import annotations

import threading

from otel_openstack import resource
from otel_openstack.pattern import Pattern

# uuids and hexadecimal ids first, then numbers with the separator before them: "Thread-12 (run)" -> "Thread (run)".
_VARYING = Pattern(r"[-_ ]?\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|[-_:# ]?(?:0x[0-9a-fA-F]+|\d+)")

_serving = False


def mark_serving() -> None:
    """Say that this process has begun to serve: what its main thread does from now on is no start-up."""
    global _serving
    _serving = True


def serving() -> bool:
    """Return whether this process has begun to serve."""
    return _serving


def restart() -> None:
    """Forget that the process serves, for tests."""
    global _serving
    _serving = False


def name() -> str:
    """Return the name of a root span for whatever the current thread does."""
    thread = threading.current_thread()
    if not _serving and thread is threading.main_thread():
        return f"startup {resource.service_name()}"
    return f"background {normalise(thread.name)}"


def normalise(text: str) -> str:
    """Return `text` without uuids and numbers, so that names stay few."""
    return _VARYING.sub("", text).strip(" -_") or "thread"
