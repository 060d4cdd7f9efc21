# SPDX-License-Identifier: Apache-2.0
"""Lines of statsd, and the packets that they are packed into."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

from otel_openstack.exporters.statsd.books import TOO_LONG, Books
from otel_openstack.exporters.statsd.config import DOGSTATSD, SAMPLE_TYPES, Config
from otel_openstack.exporters.statsd.distribution import Distribution, half_up
from otel_openstack.exporters.statsd.histogram import Accumulator
from otel_openstack.exporters.statsd.naming import Identity

COUNT, SUM = ".count", ".sum"
DIGITS = 9
LARGEST_SCALE = 300
"""A power of ten that a double still has, with room."""

Number = int | float


class Packet(NamedTuple):
    """A payload and its number of lines."""

    payload: bytes
    lines: int


class Packets:
    """Lines behind each other, cut where a packet ends."""

    def __init__(self, limit: int, books: Books) -> None:
        self._limit = limit
        self._books = books
        self._lines: list[bytes] = []
        self._size = 0
        self._count = 0
        self.full: list[Packet] = []

    def add(self, *lines: str) -> None:
        """Take lines that belong together; they are dropped when they fit into no packet."""
        block = "\n".join(lines).encode("utf-8", "replace")
        if len(block) > self._limit:
            self._books.drop_lines(len(lines), TOO_LONG)
            return
        if self._lines and self._size + 1 + len(block) > self._limit:
            self.finish()
        self._size += len(block) + (1 if self._lines else 0)
        self._lines.append(block)
        self._count += len(lines)

    def finish(self) -> None:
        """Cut the packet also when it is not full."""
        if self._lines:
            self.full.append(Packet(b"\n".join(self._lines), self._count))
        self._lines, self._size, self._count = [], 0, 0

    def take(self) -> list[Packet]:
        """Return the packets that are full."""
        full, self.full = self.full, []
        return full


class Encoder:
    """Writes what series have to say into packets."""

    def __init__(self, config: Config, books: Books) -> None:
        self.packets = Packets(config.max_packet_size, books)
        self._dogstatsd = config.flavor == DOGSTATSD
        self._percentiles = [(p / 100, percentile_suffix(p)) for p in config.histogram_percentiles]
        self._sample_type = SAMPLE_TYPES[config.histogram_type]
        self._max_samples = config.histogram_max_samples
        self._books = books

    def suffixes(self, *, histogram: bool) -> tuple[str, ...]:
        """Return what follows the name of a series on the wire."""
        if not histogram or self._dogstatsd:
            return ("",)
        return (COUNT, SUM, *(suffix for _, suffix in self._percentiles))

    def counter(self, identity: Identity, value: Number, suffix: str = "") -> None:
        """Write what was added."""
        self.packets.add(_line(identity, suffix, value, "|c"))

    def gauge(self, identity: Identity, value: Number, suffix: str = "") -> None:
        """Write a negative value behind a zero, in one packet: with a sign it is a change of what the server has."""
        line = _line(identity, suffix, value, "|g")
        if value < 0:
            self.packets.add(_line(identity, suffix, 0, "|g"), line)
        else:
            self.packets.add(line)

    def histogram(self, identity: Identity, observed: Accumulator) -> None:
        """Write count, sum and percentiles, or samples."""
        spread, (count, total, *_) = observed.distribute(), observed.moments
        if self._dogstatsd:
            self._samples(identity, spread, count)
            return
        self.counter(identity, count, COUNT)
        if total:
            self.counter(identity, total, SUM)
        for share, suffix in self._percentiles if spread is not None else ():
            value = spread.quantile(share) if spread is not None else math.nan
            if math.isfinite(value):
                self.gauge(identity, rounded(value), suffix)

    def _samples(self, identity: Identity, spread: Distribution | None, count: int) -> None:
        """Write weighted samples, which a DogStatsD server counts as 1/rate observations each."""
        if spread is None:
            self._books.drop_points(count, "malformed")  # neither buckets nor a sum: no value is known
            return
        for value, weight in spread.samples(self._max_samples):
            if weight and math.isfinite(value):
                rate = f"|@{inverse(weight)}" if weight > 1 else ""
                self.packets.add(_line(identity, "", rounded(value), f"|{self._sample_type}{rate}"))


def _line(identity: Identity, suffix: str, value: Number, kind: str) -> str:
    return f"{identity.name}{suffix}{identity.inline}:{plain(value)}{kind}{identity.tail}"


def percentile_suffix(percentile: float) -> str:
    """Return .p95, or .p99_9."""
    return ".p" + plain(half_up(percentile * 1e6) / 1e6).replace(".", "_")


def plain(value: Number) -> str:
    """Write plain decimals: not every server reads exponents."""
    if isinstance(value, int):
        return str(value)
    if value == 0:
        return "0"  # also for -0, whose sign would be read
    decimal = format(Decimal(repr(value)), "f")
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def rounded(value: float) -> float:
    """Keep nine digits: what was interpolated is not known better, and more make lines long."""
    if value == 0 or not math.isfinite(value):
        return value
    digits = DIGITS - 1 - math.floor(math.log10(abs(value)))
    if not 0 <= digits <= LARGEST_SCALE:
        return value
    scale = float(f"1e{digits}")
    scaled = value * scale
    return half_up(scaled) / scale if math.isfinite(scaled) else value


def inverse(weight: int) -> str:
    """Write a rate whose inverse is the weight, or above it by less than servers see.

    Some of them cut the inverse to a whole number, which must be the weight.
    """
    magnitude = int(math.log10(weight))
    places = magnitude + max(DIGITS, magnitude + 2)
    step = Decimal(1).scaleb(-places)
    rate = Decimal(f"{1 / weight:.{places}f}")
    while 1 / float(rate) < weight:
        rate -= step
    return format(rate, "f").rstrip("0")
