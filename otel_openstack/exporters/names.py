# SPDX-License-Identifier: Apache-2.0
"""From a host's name to addresses, without ever being stuck.

The resolver of the C library cannot be interrupted, so it runs in a thread of its own that is left behind when it takes
too long; at most one at a time, and at most once a minute a name, also after a failure.
"""

from __future__ import annotations

from typing import Any

from otel_openstack.runtime import notices, originals, process
from otel_openstack.runtime.originals import monotonic, socket

Address = tuple[int, Any]  # family, what connect() takes
KEEP = 60.0  # seconds
SLICE = 0.05  # seconds between looks at the deadline


class _Lookup:
    """One question to the resolver."""

    def __init__(self) -> None:
        self.asked = monotonic()
        self.answered = originals.allocate_lock()
        self.answered.acquire()
        self.addresses: list[Address] = []
        self.error = "name resolution takes too long"
        self.over = False


_lookups: dict[tuple[str, int], _Lookup] = {}
_last_good: dict[tuple[str, int], list[Address]] = {}


def resolve(host: str, port: int, time_left: Any) -> list[Address]:
    """Return the addresses of `host`.

    Args:
        host: a name or a number.
        port: the TCP port.
        time_left: callable that returns the seconds left; asked again and again.

    Raises:
        OSError: there is no address, or not in time.

    """
    known = _numeric(host, port)
    if known:
        return known
    key = (host, port)
    lookup = _lookups.get(key)
    if lookup is None or (lookup.over and monotonic() - lookup.asked >= KEEP):
        lookup = _lookups[key] = _Lookup()
        originals.start_new_thread(_ask, (lookup, host, port))
    while not lookup.over and time_left() > 0:
        if lookup.answered.acquire(True, min(SLICE, max(0.0, time_left()))):
            lookup.answered.release()
    if lookup.addresses:
        _last_good[key] = lookup.addresses
    elif key not in _last_good:
        raise OSError(lookup.error)
    return _last_good[key]


def _numeric(host: str, port: int) -> list[Address]:
    if host == "localhost":
        # What the name has to mean (RFC 6761), without asking anybody.
        return [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    return []


def _ask(lookup: _Lookup, host: str, port: int) -> None:
    notices.this_thread_is_native()
    try:
        # As bytes: for a text the C function would import the idna codec, and a fork in the middle of an import leaves
        # the child with a module lock that nobody releases.
        found = socket.getaddrinfo(host.encode("ascii"), port, 0, socket.SOCK_STREAM)
        lookup.addresses = [(family, address) for family, _, _, _, address in found]
    except Exception as error:
        lookup.error = f"name resolution failed: {error}"
    finally:
        lookup.over = True
        lookup.answered.release()


def _forget() -> None:
    _lookups.clear()


process.on_child(_forget)
