# SPDX-License-Identifier: Apache-2.0
"""The pools of a process: who they are, and gauges read from them without a lock at collection.

The readers run in the export thread, a native one. They look at lengths and integers only: a lock of a pool may be held
for a whole shutdown, and under eventlet it is green, where a native thread would deadlock the hub.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from otel_openstack import metrics
from otel_openstack.pattern import Pattern
from otel_openstack.runtime import originals, process
from otel_openstack.semconv import instruments

THREAD, GREEN = "thread", "green"

# Frames of these are a pool's own and not who made it; a module named in full is.
_LIBRARIES = ("concurrent", "eventlet", "futurist", "otel_openstack", "debtcollector")
_MAKERS = ("eventlet.wsgi",)
_DEFAULT_PREFIX = Pattern(r"ThreadPoolExecutor-\d+")
_IDS = Pattern(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}|\d+")


class Reading(NamedTuple):
    """How a pool is doing."""

    used: int
    limit: int
    pending: int


Reader = Callable[[Any], Reading | None]


class Entry:
    """A pool: who it is, how to read it, and what runs in it where the pool itself cannot tell."""

    __slots__ = ("kind", "maker", "read", "ref", "running")

    def __init__(
        self, ref: weakref.ref[Any], kind: str, maker: str, read: Callable[[Any, Entry], Reading | None]
    ) -> None:
        self.ref = ref
        self.kind = kind
        self.maker = maker
        self.read = read
        self.running: set[object] = set()

    def name(self) -> str:
        """Return the pool's name: what its owner calls it, else the module that made it. Counters and ids are cut."""
        pool = self.ref()
        given = getattr(pool, "name", None) or getattr(pool, "_thread_name_prefix", None)
        if not isinstance(given, str) or not given or _DEFAULT_PREFIX.fullmatch(given):
            return self.maker
        # nova puts the process's name before its own.
        return _IDS.sub("", given.rpartition(".")[2]).strip(" -_.:#()[]") or self.maker


_entries: dict[int, Entry] = {}


def register(pool: Any, kind: str, read: Callable[[Any, Entry], Reading | None]) -> Entry:
    """Watch `pool` as long as it lives. Under eventlet the workers of a thread pool are green ones."""
    key = id(pool)
    ref = weakref.ref(pool, lambda _: _entries.pop(key, None))
    entry = Entry(ref, GREEN if originals.is_green() else kind, _maker(), read)
    _entries[key] = entry
    return entry


def entry_of(pool: Any) -> Entry | None:
    """Return what is known of `pool`, None if it is not watched."""
    return _entries.get(id(pool))


def timed_out(entry: Entry) -> None:
    """Count a wait on the pool that ended by its timeout."""
    metrics.counter(instruments.OPENSTACK_POOL_TIMEOUTS).add(1, entry.kind, entry.name())


def entries() -> list[Entry]:
    """Return the pools of this process."""
    return list(_entries.values())


def made_by(package: str, beyond: str = "") -> bool:
    """Return whether the hooked function was called from `package`, looking past the module `beyond`."""
    for name in _callers():
        if not name.startswith("otel_openstack.") and name != beyond:
            return name.partition(".")[0] == package
    return False


def _maker() -> str:
    for name in _callers():
        if name in _MAKERS or name.partition(".")[0] not in _LIBRARIES:
            return name
    return "unknown"


def _callers() -> Iterator[str]:
    frame = sys._getframe(1)
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back  # type: ignore[assignment]


def _readings() -> dict[tuple[str, str], Reading]:
    """Read all pools; those of one type and name are added up."""
    found: dict[tuple[str, str], Reading] = {}
    for entry in entries():
        pool = entry.ref()
        now = entry.read(pool, entry) if pool is not None else None
        if now is None:
            continue
        key = (entry.kind, entry.name())
        before = found.get(key, Reading(0, 0, 0))
        found[key] = Reading(*map(sum, zip(before, now, strict=True)))
    return found


Point = tuple[float, tuple[str, ...]]


def _workers() -> Iterator[Point]:
    for labels, now in _readings().items():
        yield now.used, (*labels, "used")
        yield max(0, now.limit - now.used), (*labels, "idle")


def _limits() -> Iterator[Point]:
    for labels, now in _readings().items():
        yield now.limit, labels


def _pending() -> Iterator[Point]:
    for labels, now in _readings().items():
        yield now.pending, labels


_GAUGES = (
    (instruments.OPENSTACK_POOL_WORKER_COUNT, _workers),
    (instruments.OPENSTACK_POOL_WORKER_LIMIT, _limits),
    (instruments.OPENSTACK_POOL_PENDING_REQUESTS, _pending),
)
_handles: list[metrics.Handle] = []


def install() -> None:
    """Report the pools at every collection."""
    _handles.extend(metrics.observe(name, callback) for name, callback in _GAUGES)


def uninstall() -> None:
    """Report them no more and forget them."""
    while _handles:
        _handles.pop().close()
    _entries.clear()


def _in_child() -> None:
    # The threads of a pool stay behind at a fork; a pool that is used again is registered again. Green ones go along.
    for key, entry in list(_entries.items()):
        entry.running.clear()
        if entry.kind == THREAD:
            _entries.pop(key, None)


process.on_child(_in_child)
