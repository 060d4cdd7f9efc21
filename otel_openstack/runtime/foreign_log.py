# SPDX-License-Identifier: Apache-2.0
"""Lines that OpenTelemetry's own packages write into the service's log: once a minute each, short, without secrets.

They warn at every header that they refuse and every value that they convert, with the text of it. Whoever can send a
request could fill the disk with them.
"""

from __future__ import annotations

import logging

from otel_openstack import scrub
from otel_openstack.runtime.originals import monotonic

LOGGERS = (
    "opentelemetry.attributes",
    "opentelemetry.baggage.propagation",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.trace.span",
)
PERIOD = 60.0
"""Seconds between two lines of one kind."""
LONGEST = 200
"""Characters of a value in a line."""
MOST_KINDS = 100


class Seldom(logging.Filter):
    """Lets a line pass when its kind, the text before the values are put in, was not seen for a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        kind, now = str(record.msg)[:LONGEST], monotonic()
        if now - self._seen.get(kind, -PERIOD) < PERIOD:
            return False
        if len(self._seen) >= MOST_KINDS:
            self._seen.clear()
        self._seen[kind] = now
        if isinstance(record.args, tuple):
            record.args = tuple(map(_short, record.args))
        return True


_filter = Seldom()


def install() -> None:
    """Put the filter on the loggers, once."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_filter)


def uninstall() -> None:
    """Take it off again."""
    for name in LOGGERS:
        logging.getLogger(name).removeFilter(_filter)


def _short(value: object) -> object:
    return scrub.text(value[:LONGEST]) if isinstance(value, str) else value
