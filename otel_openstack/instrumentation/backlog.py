# SPDX-License-Identifier: Apache-2.0
"""The queue of connections that no worker has accepted yet, from the kernel, for every listening TCP socket we inherit.

TCP_INFO of a listening socket tells the length and the limit of its queue. The sockets are found at the first request
of a process: by then the server listens. Of the processes that share one socket a single one reports it, the first that
takes an abstract name made of the socket's inode: the sum over workers is the queue, not a multiple of it.
"""

from __future__ import annotations

import _socket
import os
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from otel_openstack import metrics
from otel_openstack.patching import Patch, guard
from otel_openstack.runtime import process
from otel_openstack.semconv import instruments as inst

PATCHES: tuple[Patch, ...] = ()

_LENGTHS = struct.Struct("=24xII")  # tcpi_unacked and tcpi_sacked: for a listening socket its queue and the limit of it
_INTERNET = (_socket.AF_INET, _socket.AF_INET6)
_FDS = "/proc/self/fd"
_MOST = 4096
"""File descriptors that are looked at; a process with more has them for connections, listeners come first."""


class Listener(NamedTuple):
    """A listening TCP socket of this process; the inode tells whether the descriptor is still the same socket."""

    fd: int
    port: int
    inode: int


_listeners: list[Listener] | None = None
_claims: list[Any] = []
_handles: list[Any] = []


def watch() -> None:
    """Report the backlog of this process from now on; the second call does nothing."""
    global _listeners
    if _listeners is not None:
        return
    _listeners = []
    with guard("wsgi.backlog"):
        _listeners = [listener for listener in find() if _claim(listener)]
        if _listeners and not _handles:
            _handles.append(metrics.observe(inst.OPENSTACK_WSGI_BACKLOG_CONNECTION_COUNT, lambda: _observe(0)))
            _handles.append(metrics.observe(inst.OPENSTACK_WSGI_BACKLOG_CONNECTION_LIMIT, lambda: _observe(1)))


def uninstall() -> None:
    """Report no more."""
    while _handles:
        _handles.pop().close()
    _reset()


def _reset() -> None:
    global _listeners
    _listeners = None
    while _claims:
        _claims.pop().close()


def find() -> list[Listener]:
    """Return the listening TCP sockets among the file descriptors of this process."""
    fds = sorted(int(name) for name in os.listdir(_FDS))[:_MOST]
    return [listener for fd in fds if (listener := _listener(fd)) is not None]


def _listener(fd: int) -> Listener | None:
    try:
        inode = os.fstat(fd).st_ino
        if not os.readlink(f"{_FDS}/{fd}").startswith("socket:"):
            return None
    except OSError:
        return None
    try:
        borrowed = _borrow(fd)
    except OSError:
        return None
    try:
        if borrowed.family not in _INTERNET or not borrowed.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
            return None
        return Listener(fd, borrowed.getsockname()[1], inode)
    except OSError:
        return None
    finally:
        borrowed.detach()


def _borrow(fd: int) -> Any:
    """Return a socket object on `fd`, to be detached, never closed.

    Of _socket, for eventlet replaces `socket`. SOCK_NONBLOCK makes the constructor leave the descriptor's mode alone;
    else it would set it, for all processes that share it, where the service has set a default timeout.
    """
    return _socket.socket(-1, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, -1, fileno=fd)


def _claim(listener: Listener) -> bool:
    claim = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0otel-openstack.backlog.{os.getuid()}.{listener.inode}".encode())
    except OSError:
        claim.close()
        return False
    os.set_inheritable(claim.fileno(), False)
    _claims.append(claim)
    return True


def lengths(listener: Listener) -> tuple[int, int] | None:
    """Return the connections that wait and the limit, None if the descriptor is another's by now."""
    try:
        if os.fstat(listener.fd).st_ino != listener.inode:
            return None
        borrowed = _borrow(listener.fd)
    except OSError:
        return None
    try:
        waiting, limit = _LENGTHS.unpack(borrowed.getsockopt(_socket.IPPROTO_TCP, _socket.TCP_INFO, _LENGTHS.size))
        return waiting, limit
    except (OSError, struct.error):
        return None
    finally:
        borrowed.detach()


def _observe(which: int) -> Iterable[tuple[float, tuple[Any, ...]]]:
    totals: dict[int, int] = {}
    for listener in _listeners or ():
        if (found := lengths(listener)) is not None:
            totals[listener.port] = totals.get(listener.port, 0) + found[which]
    return [(float(value), (port,)) for port, value in totals.items()]


process.on_child(_reset)
