# SPDX-License-Identifier: Apache-2.0
"""oslo.privsep's daemon where it is a fork of a service: a helper with privileges is not measured.

The other way to start it, through sudo, is a subprocess as any other (`subprocesses.py`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

from otel_openstack import instrumentation
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, keep
from otel_openstack.patching.guard import suspend
from otel_openstack.runtime import inheritance, process


class LeaveAlone:
    """Takes everything of ours out of the process, before it takes its privileges."""

    def before(self, daemon: Any) -> None:
        process.withdraw()
        suspend()  # what developers decorated, too
        unwanted = inheritance.changes(os.environ, os.environ)
        patch_files = sys.modules.get("otel_openstack.patch_files")
        if patch_files is not None:
            patch_files.uninstall()
        instrumentation.uninstall()
        inheritance.apply(unwanted, os.environ)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Do nothing: the process ends."""


keep("oslo_privsep.daemon")

PATCHES: tuple[Patch, ...] = (
    Patch("oslo_privsep.daemon", "oslo_privsep.daemon", "Daemon.run", level=Level.OFF, hook=LeaveAlone),
)
