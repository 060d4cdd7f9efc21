# SPDX-License-Identifier: Apache-2.0
"""Mistakes in the use of decorators: an error where tests run, a line in the log where a service does.

Which of the two is the option `unregistered`; the fixture `telemetry` sets it, and also tells what was found while the
modules under test were imported, before it began.
"""

from __future__ import annotations

from otel_openstack import settings
from otel_openstack.runtime import notices

MOST = 100


class TelemetryError(Exception):
    """A decorator, block or handle that cannot measure what it says."""


found: dict[str, None] = {}
"""The mistakes so far, in order."""


def report(text: str, level: str = "warning") -> None:
    """Raise, or say once.

    Raises:
        TelemetryError: the option says so.
    """
    known = text in found
    if len(found) < MOST:
        found[text] = None
    if settings.get().unregistered == "error":
        raise TelemetryError(text)
    if not known:
        notices.say(level, text)
