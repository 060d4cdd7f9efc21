# SPDX-License-Identifier: Apache-2.0
"""What the operating system and the interpreter know of this process.

The standard instrumentor keeps the parent's pid over a fork and needs psutil; these are read of the calling process
itself, so every child and every uWSGI worker tells its own. A child's counters begin at what it inherited only where
the kernel says so: CPU time and context switches begin at zero, the collector's statistics are counted from its start.
"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any

from otel_openstack import metrics
from otel_openstack.runtime import process
from otel_openstack.semconv import instruments

Observations = Iterator[tuple[float, tuple[Any, ...]]]

PAGE = os.sysconf("SC_PAGE_SIZE")
_inherited: list[dict[str, int]] = []


def observe() -> list[metrics.Handle]:
    """Have this process read at every collection."""
    callbacks: dict[str, Callable[[], Observations]] = {
        instruments.PROCESS_CPU_TIME: _cpu_time,
        instruments.PROCESS_MEMORY_USAGE: _memory,
        instruments.PROCESS_THREAD_COUNT: lambda: _entries("/proc/self/task"),
        instruments.PROCESS_OPEN_FILE_DESCRIPTOR_COUNT: lambda: _entries("/proc/self/fd", own=1),
        instruments.PROCESS_CONTEXT_SWITCHES: _context_switches,
        instruments.CPYTHON_GC_COLLECTIONS: lambda: _garbage("collections"),
        instruments.CPYTHON_GC_COLLECTED_OBJECTS: lambda: _garbage("collected"),
        instruments.CPYTHON_GC_UNCOLLECTABLE_OBJECTS: lambda: _garbage("uncollectable"),
    }
    return [metrics.observe(name, callback) for name, callback in callbacks.items()]


def _cpu_time() -> Observations:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    yield spent.ru_utime, ("user",)
    yield spent.ru_stime, ("system",)


def _memory() -> Observations:
    with open("/proc/self/statm", "rb") as statm:
        yield int(statm.read().split()[1]) * PAGE, ()


def _entries(directory: str, own: int = 0) -> Observations:
    """Count the entries of a directory; `own` of them are there only while it is read."""
    yield len(os.listdir(directory)) - own, ()


def _context_switches() -> Observations:
    seen = resource.getrusage(resource.RUSAGE_SELF)
    yield seen.ru_nvcsw, ("voluntary",)
    yield seen.ru_nivcsw, ("involuntary",)


def _garbage(key: str) -> Observations:
    for generation, numbers in enumerate(gc.get_stats()):
        before = _inherited[generation][key] if _inherited else 0
        yield numbers[key] - before, (generation,)


def _in_child() -> None:
    _inherited[:] = gc.get_stats()


process.on_child(_in_child)
