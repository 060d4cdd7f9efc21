# SPDX-License-Identifier: Apache-2.0
"""Lines for the log of the process, from any thread.

In the export thread of a green process, and under uWSGI, whose workers inherit the master's locks as they were, no lock
of the logging module may be taken: the line is written to standard error in one go instead.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time

from otel_openstack import scrub
from otel_openstack.runtime import originals, process

LOGGER = "otel_openstack"
PREFIX = "otel-openstack: "
LONGEST = 4096
"""Characters of a line."""
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_native: set[int] = set()


def say(level: str, message: str) -> None:
    """Write one line, without secrets. `level` is debug, info, warning or error. Never raises."""
    number = LEVELS.get(level, logging.INFO)
    try:
        text = PREFIX + " ".join(scrub.text(message[:LONGEST]).split())
        if originals.get_ident() in _native and (originals.is_green() or "uwsgi" in sys.modules):
            _write(number, text)
        else:
            logging.getLogger(LOGGER).log(number, "%s", text)
    except Exception:  # as logging raises in a green thread that has just ended, of which it cannot tell the name
        with contextlib.suppress(Exception):
            _write(number, text)


def this_thread_is_native() -> None:
    """Mark the calling thread as one of ours, that green code knows nothing of."""
    _native.add(originals.get_ident())


def _write(number: int, text: str) -> None:
    if logging.getLogger(LOGGER).level > number or number < logging.INFO:
        return
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())
    line = f"{moment} {originals.getpid()} {logging.getLevelName(number)} {LOGGER} {text}\n"
    originals.write(2, line.encode("utf-8", "backslashreplace"))


process.on_child(_native.clear)
