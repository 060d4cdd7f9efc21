# SPDX-License-Identifier: Apache-2.0
"""A helper that inherited what was meant for the service is left alone. Asked before anything dear is imported."""

from __future__ import annotations

from collections.abc import Mapping

from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import inheritance, notices


def refused(environ: Mapping[str, str]) -> bool:
    """Return whether this process is not to be measured; no line in the log of something so small."""
    reason = inheritance.refusal(environ)
    if reason:
        inventory.note("distribution", State.SKIPPED, reason)
        notices.say("debug", f"this process is not measured: it {reason}")
    return bool(reason)
