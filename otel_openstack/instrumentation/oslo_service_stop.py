# SPDX-License-Identifier: Apache-2.0
"""The last export of processes that end in `os._exit`, where Python runs no exit handler.

The children of oslo.service's eventlet launcher, cotyledon's workers (the threading backend), services launched
without a fork, and every multiprocessing child end so. All of them look `os._exit` up when they call it, after the
service's own `stop()` and the joins, so one patch at the very last point serves them all, also those nobody has met;
hooks at `ServiceWrapper.terminate` or `ProcessLauncher._graceful_shutdown` would come before the last records. A
process that recorded nothing (a child between fork and exec, a daemon's first parent) passes at the cost of a
comparison.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from otel_openstack.patching import Patch, guard
from otel_openstack.runtime import stop

EXIT = "process.exit"


def exit_after_export(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `os._exit` with the bounded last export before it."""
    watch = guard(EXIT)

    @functools.wraps(original)
    def _exit(*args: Any, **kwargs: Any) -> Any:
        try:
            if watch.on:
                stop.stop("os._exit")
        finally:
            original(*args, **kwargs)

    return _exit


PATCHES: tuple[Patch, ...] = (Patch(EXIT, "os", "_exit", group="process", replace=exit_after_export, lasting=True),)
