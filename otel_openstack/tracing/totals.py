# SPDX-License-Identifier: Apache-2.0
"""What a request cost: calls and seconds per kind of dependency, kept beside its root span, sampled or not."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

# attribute of the totals -> name on the root span and in the event; only what is not zero is written. A group whose
# first is zero has nothing else either.
NAMES = (
    (
        ("db_calls", "openstack.db.calls"),
        ("db_seconds", "openstack.db.duration"),
        ("slowest_seconds", "openstack.db.slowest.duration"),
        ("slowest_summary", "openstack.db.slowest.summary"),
    ),
    (("rpc_calls", "openstack.rpc.calls"), ("rpc_seconds", "openstack.rpc.duration")),
    (("http_calls", "openstack.http.calls"), ("http_seconds", "openstack.http.duration")),
    (("cache_calls", "openstack.cache.calls"), ("cache_seconds", "openstack.cache.duration")),
    (("queue_wait", "openstack.request.queue_wait"),),
)
_FIRST = attrgetter(*(group[0][0] for group in NAMES))
# These are attributes of the span by the conventions, set by the server's hook; the event needs them from here.
SIZES = (("bytes_in", "http.request.body.size"), ("bytes_out", "http.response.body.size"))


class Totals:
    """Running totals of one request, message or task; all times in seconds, sizes in bytes.

    Added to by every thread that works for the request, without a lock: each addition is one read and one write with
    no switch of threads between them under the GIL; without a GIL a total may miss a simultaneous addition.
    """

    __slots__ = (
        "asked",
        "bytes_in",
        "bytes_out",
        "cache_calls",
        "cache_seconds",
        "db_calls",
        "db_seconds",
        "detached",
        "ended",
        "http_calls",
        "http_seconds",
        "parent",
        "queue_wait",
        "rpc_calls",
        "rpc_seconds",
        "slowest_seconds",
        "slowest_summary",
    )

    def __init__(self, *, detached: bool = False, parent: Totals | None = None) -> None:
        """Start at zero.

        Args:
            detached: the root is a message that nobody waits for (a cast, a notification): its tasks outlive it.
            parent: the totals that a task's own are added to at its end.

        """
        self.db_calls = self.rpc_calls = self.http_calls = self.cache_calls = 0
        self.db_seconds = self.rpc_seconds = self.http_seconds = self.cache_seconds = 0.0
        self.slowest_seconds = self.queue_wait = 0.0
        self.slowest_summary = ""
        self.bytes_in = self.bytes_out = 0
        self.detached = detached
        self.parent = parent
        self.ended = False
        self.asked: Any = None
        """Whom the work is for: see `asking`."""

    def add_db(self, seconds: float, summary: str) -> None:
        """Count a database call; `summary` is kept of the slowest and never holds values."""
        self.db_calls += 1
        self.db_seconds += seconds
        if seconds > self.slowest_seconds:
            self.slowest_seconds = seconds
            self.slowest_summary = summary

    def add_rpc(self, seconds: float) -> None:
        """Count an RPC call or a message sent."""
        self.rpc_calls += 1
        self.rpc_seconds += seconds

    def add_http(self, seconds: float) -> None:
        """Count an HTTP request sent."""
        self.http_calls += 1
        self.http_seconds += seconds

    def add_cache(self, seconds: float) -> None:
        """Count a call to the cache."""
        self.cache_calls += 1
        self.cache_seconds += seconds

    def merge(self, other: Totals) -> None:
        """Add what a task did."""
        self.db_calls += other.db_calls
        self.db_seconds += other.db_seconds
        self.rpc_calls += other.rpc_calls
        self.rpc_seconds += other.rpc_seconds
        self.http_calls += other.http_calls
        self.http_seconds += other.http_seconds
        self.cache_calls += other.cache_calls
        self.cache_seconds += other.cache_seconds
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        if other.slowest_seconds > self.slowest_seconds:
            self.slowest_seconds = other.slowest_seconds
            self.slowest_summary = other.slowest_summary

    @property
    def worked(self) -> bool:
        """Whether there was a database, RPC or HTTP call."""
        return bool(self.db_calls or self.rpc_calls or self.http_calls)

    def alive(self) -> Totals | None:
        """Return these totals or the nearest above them that are still running."""
        totals: Totals | None = self
        while totals is not None and totals.ended:
            totals = totals.parent
        return totals

    def attributes(self) -> dict[str, Any]:
        """Return what is not zero, by the names of the registry."""
        found: dict[str, Any] = {}
        firsts = _FIRST(self)
        if not any(firsts):
            return found
        for first, group in zip(firsts, NAMES, strict=True):
            if first:
                for field, name in group:
                    if value := getattr(self, field):
                        found[name] = value
        return found

    def sizes(self) -> dict[str, int]:
        """Return the bytes received and sent, where there were any."""
        return {name: value for field, name in SIZES if (value := getattr(self, field))}
