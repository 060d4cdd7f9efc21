# SPDX-License-Identifier: Apache-2.0
"""Packets on the network: datagrams over UDP or a Unix socket, on C sockets, in the export thread.

What cannot be sent is dropped and counted. A send waits for the peer no longer than the write timeout, and never beyond
the end of the process.
"""

from __future__ import annotations

import errno
import os
import posix
from typing import Any

from otel_openstack.exporters import names
from otel_openstack.exporters.statsd import books
from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.config import Config
from otel_openstack.exporters.statsd.lines import Packet
from otel_openstack.runtime import notices, originals, worker
from otel_openstack.runtime.originals import monotonic, socket

SLICE = 0.05  # seconds between looks at the end of the process
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between attempts to connect
RESOLVE = 0.5  # seconds that a flush waits for the address of a name; the answer may come for the next one
AGAIN = (errno.EAGAIN, errno.ENOBUFS)
GONE = (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)


class Limiter:
    """Spaces packets: a bucket for their number and one for their bytes.

    Each is filled by its rate and as large as a fiftieth of a second of it, so that a flush is no burst: Linux keeps
    some 90 packets for a daemon that does not read just now, and what does not fit is lost without a word.
    """

    def __init__(self, config: Config) -> None:
        self._packets = _Bucket(config.rate_limit_packets_per_second, 1)
        self._bytes = _Bucket(config.rate_limit_bytes_per_second, config.max_packet_size)
        self._may_go = 0.0  # when the packet that was asked for last may go; 0 once it has gone

    def take(self, size: int, now: float) -> float:
        """Return in how many seconds a packet of `size` bytes may go."""
        return max(self._packets.take(1, now), self._bytes.take(size, now))

    def wait(self, size: int, until: float) -> bool:
        """Wait until a packet of `size` bytes may go; False if that is later than `until`, then ask for it again."""
        now = monotonic()
        self._may_go = self._may_go or now + self.take(size, now)
        if self._may_go > now:
            if self._may_go > min(until, worker.cutoff()):
                return False
            originals.sleep(self._may_go - now)
        self._may_go = 0.0
        return True


class _Bucket:
    def __init__(self, rate: float, least: float) -> None:
        self._rate = rate
        self._size = self._level = max(rate / 50, least)
        self._at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Let the level fall below zero; return how long it takes until it is zero again."""
        if not self._rate:
            return 0.0
        if self._at:
            self._level = min(self._size, self._level + self._rate * (now - self._at))
        self._at = now
        self._level -= amount
        return max(0.0, -self._level / self._rate)


class Sender:
    """A connected datagram socket, connected anew when it has to be."""

    def __init__(self, config: Config, account: Books) -> None:
        self._config = config
        self._books = account
        self._socket: Any = None
        self._place = 0  # which of the name's addresses is in use
        self._pause = 0.0
        self._not_before = 0.0
        self._healthy = True
        self._patient = True  # until a packet has waited in vain: the rest of its flush is not waited for
        # Of a datagram over UDP, whether anybody listened is known when the next one is sent.
        self._unconfirmed = Packet(b"", 0)

    def send(self, packet: Packet) -> None:
        """Send, or drop and count."""
        if not self._ready():
            self._books.drop_lines(packet.lines, books.UNREACHABLE)
            return
        code = self._write(packet.payload)
        if code in GONE:
            # Over UDP the error is that of the packet before; this one was not sent yet.
            self._lost()
            self._fail(code)
            if not self._ready():
                self._books.drop_lines(packet.lines, books.REFUSED)
                return
            code = self._write(packet.payload)
        if code:
            self._books.drop_lines(packet.lines, _reason(code))
            self._fail(code)
            return
        self._confirm()
        self._unconfirmed = packet
        if self._config.path:
            self._confirm()
        self._pause = 0.0

    def settle(self) -> None:
        """Ask, at the end of a flush, what became of its last datagram."""
        self._patient = True
        if self._unconfirmed.lines and self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._lost()
                self._fail(code)
            else:
                self._confirm()

    def close(self) -> None:
        """Let go of the socket; the next send opens another."""
        known, self._socket = self._socket, None
        if known is not None:
            known.close()

    def _ready(self) -> bool:
        """Connect if needed and the time for it has come."""
        if self._socket is not None:
            return True
        if monotonic() < self._not_before:
            return False
        try:
            family, address = self._address()
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.settimeout(0)
            self._socket.connect(address)
        except OSError as error:
            self._fail(error.errno or 0, str(error))
            self.close()
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._not_before = monotonic() + self._pause
            return False
        return True

    def _address(self) -> tuple[int, Any]:
        if self._config.path:
            return socket.AF_UNIX, self._config.path
        host, port = self._config.address()
        until = monotonic() + RESOLVE
        found = names.resolve(host, port, lambda: min(until, worker.cutoff()) - monotonic())
        found = sorted(found, key=lambda address: address[0] != socket.AF_INET)  # most daemons listen there only
        return found[self._place % len(found)]

    def _write(self, payload: bytes) -> int:
        """Return 0, or the number of the error."""
        until = monotonic() + self._config.write_timeout
        while True:
            try:
                self._socket.send(payload, socket.MSG_DONTWAIT)
            except OSError as error:
                code = error.errno or errno.EIO
                if code not in AGAIN or not self._patient or monotonic() >= min(until, worker.cutoff()):
                    self._patient = self._patient and code not in AGAIN
                    return code
                self._wait()
                continue
            return 0

    def _wait(self) -> None:
        waiter = originals.poll()
        waiter.register(self._socket.fileno(), originals.POLLOUT)
        if waiter.poll(SLICE * 1000):
            originals.sleep(0.001)  # a Unix socket is writable by its own buffer while the peer's is full

    def _fail(self, code: int, message: str = "") -> None:
        """Count an error, tell the first of a row, and give up a socket that is of no more use."""
        self._books.errors += 1
        if self._healthy:
            self._healthy = False
            reason = message or os.strerror(code)
            notices.say(
                "warning",
                f"sending to statsd at {self._config.endpoint} fails, lines are dropped until it works: {reason}",
            )
        self._place += 1
        if code not in AGAIN and code != errno.EMSGSIZE:
            self.close()

    def _confirm(self) -> None:
        """Count the packet before as sent: no error came back."""
        payload, lines = self._unconfirmed
        if lines:
            self._books.sent(lines, len(payload))
            self._unconfirmed = Packet(b"", 0)
            self._healthy = True

    def _lost(self) -> None:
        self._books.drop_lines(self._unconfirmed.lines, books.REFUSED)
        self._unconfirmed = Packet(b"", 0)

    def forget(self) -> None:
        """Let go of a socket that a parent made, and of what it waited for."""
        self._unconfirmed, self._healthy, self._patient = Packet(b"", 0), True, True
        known, self._socket = self._socket, None
        if known is not None:
            posix.close(known.detach())


def _reason(code: int) -> str:
    if code in AGAIN:
        return books.TIMEOUT
    if code in GONE:
        return books.REFUSED
    return books.TOO_LONG if code == errno.EMSGSIZE else books.FAILED
