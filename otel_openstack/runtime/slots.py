# SPDX-License-Identifier: Apache-2.0
"""Which of its service's workers a process is: a number that a respawned worker takes over (`openstack.worker.id`).

The instance id is a new one for every process, so whoever wants one series for "the third worker of nova-api", however
often it was recycled, needs something that lasts. uWSGI numbers its workers itself. The workers of others, forked by
oslo.service, cotyledon, gunicorn or multiprocessing, take the lowest number that is free below their parent: a name in
Linux's abstract socket namespace, which the kernel gives back when the process ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from otel_openstack.runtime import originals, process

MOST = 1024
"""Workers of one parent that are told apart."""

_parent = 0  # of a forked process; 0 in one that was not
_held: Any = None
_number: int | None = None


def number() -> int | None:
    """Return the number of this worker, from 1 as uWSGI counts; None for a process that is no worker. Never raises."""
    global _held, _number
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is not None and hasattr(uwsgi, "worker_id"):
        return int(uwsgi.worker_id()) or None
    if _number is None and _parent:
        _held, _number = _take(_parent)
    return _number or None


def _take(parent: int) -> tuple[Any, int]:
    """Return what holds the lowest free number, and the number; zero where there is none to be had."""
    try:
        # Containers may share the network, and with it these names, but not the numbers of their processes.
        space = os.stat("/proc/self/ns/pid").st_ino
        holder = originals.socket.socket(originals.socket.AF_UNIX, originals.socket.SOCK_DGRAM)
    except OSError:
        return None, 0
    for candidate in range(1, MOST + 1):
        try:
            holder.bind(f"\0otel-openstack/worker/{space}/{parent}/{candidate}")
        except OSError:
            continue
        return holder, candidate
    holder.close()
    return None, 0


def _in_child() -> None:
    global _held, _number, _parent
    if _held is not None:
        _held.close()  # the parent's own, which this process got a copy of
    _held, _number, _parent = None, None, os.getppid()


process.on_child(_in_child)
