# SPDX-License-Identifier: Apache-2.0
"""Where nothing is measured: helpers that inherited what was meant for the service, and sub-interpreters.

Asked before anything dear is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import inheritance, interpreters, notices

NAME = "distribution"
APART = "runs in a sub-interpreter, where nothing works as it should"


def refused(environ: Mapping[str, str]) -> bool:
    """Return whether this process, or interpreter, is not to be measured; no line in the log of a small helper."""
    if not interpreters.is_main():
        _step_aside()
        return True
    reason = inheritance.refusal(environ)
    if reason:
        inventory.note(NAME, State.SKIPPED, reason)
        notices.say("debug", f"this process is not measured: it {reason}")
    return bool(reason)


def _step_aside() -> None:
    """Say so once an interpreter, on standard error: its application has no log yet, and will not miss us."""
    if not any(entry.name == NAME for entry in inventory.entries()):
        inventory.note(NAME, State.SKIPPED, APART)
        sys.stderr.write(
            f"otel-openstack: warning: an application is not measured: it {APART}; {interpreters.REMEDY}\n"
        )
