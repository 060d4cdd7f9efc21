# SPDX-License-Identifier: Apache-2.0
"""Names on the wire, each with what is to be sent of it; streams of several sets of attributes may share one."""

from __future__ import annotations

from typing import Any, NamedTuple

from otel_openstack.exporters.statsd.books import Books
from otel_openstack.exporters.statsd.exponential import ExponentialHistory
from otel_openstack.exporters.statsd.histogram import Accumulator, ExplicitHistory
from otel_openstack.exporters.statsd.lines import Encoder, Number
from otel_openstack.exporters.statsd.naming import Identity
from otel_openstack.exporters.statsd.progress import Cumulative
from otel_openstack.runtime import notices

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
MOST_TOLD = 1000


class Stream:
    """One set of attributes of one metric of one process."""

    def __init__(self) -> None:
        self.series: Series | None = None
        self.reason = ""  # why there is no series
        self.generation = -1
        self.seen = 0.0
        self.cumulative = Cumulative()
        self.number: Number = 0  # a counter's last cumulative value, or what a gauge shows
        self.moved = 0
        self.arrived = 0  # where the gauge's point came in the order of all
        self.explicit: ExplicitHistory | None = None
        self.exponential: ExponentialHistory | None = None

    @property
    def began(self) -> int:
        """When the stream says that it began to count."""
        history = self.explicit or self.exponential
        return (history.cumulative if history is not None else self.cumulative).start


class Series:
    """One name on the wire."""

    def __init__(self, identity: Identity, kind: str, rule: str, described: str) -> None:
        self.identity = identity
        self.kind = kind
        self.rule = rule
        self.described = described
        self.members = 0
        self._whole = 0  # a counter's, since the last flush: integers exactly
        self._fraction = 0.0
        self._shown: dict[Stream, None] = {}  # a gauge's
        self._emptied = False  # a summed gauge lost its last stream: it is zero now, and that is to be sent
        self.observed = Accumulator()

    def count(self, value: Number) -> None:
        """Add to a counter."""
        if isinstance(value, int):
            self._whole += value
        else:
            self._fraction += value

    def show(self, stream: Stream) -> None:
        """Make the stream's value part of the gauge; it stays so until the stream leaves."""
        self._emptied = False
        self._shown[stream] = None

    def hide(self, stream: Stream) -> None:
        """Take the stream's value out of the gauge."""
        if stream in self._shown:
            del self._shown[stream]
            self._emptied = not self._shown and self.rule == "sum"

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent that a later point would not say again."""
        return bool(self._whole or self._fraction or self._emptied or self.observed.moments.number)

    def write(self, encoder: Encoder) -> None:
        """Write what there is to say; what was said begins anew."""
        if self.kind == COUNTER:
            if self._whole or self._fraction:
                encoder.counter(self.identity, self._whole + self._fraction if self._fraction else self._whole)
                self._whole, self._fraction = 0, 0.0
        elif self.kind == GAUGE:
            value = self._gauge()
            if value is not None:
                encoder.gauge(self.identity, value)
        elif self.observed.moments.number:
            encoder.histogram(self.identity, self.observed)
            self.observed = Accumulator()

    def _gauge(self) -> Number | None:
        """Combine what the streams show; None when none does."""
        if not self._shown:
            emptied, self._emptied = self._emptied, False
            return 0 if emptied else None
        shown = list(self._shown)
        if self.rule == "max":
            return max(stream.number for stream in shown)
        if self.rule == "min":
            return min(stream.number for stream in shown)
        if self.rule == "last" or len(shown) == 1:
            return max(shown, key=lambda stream: (stream.moved, stream.arrived)).number
        total = _total([stream.number for stream in shown])
        return total / len(shown) if self.rule == "avg" else total


def _total(numbers: list[Number]) -> Number:
    """Add up, integers exactly."""
    whole = sum(number for number in numbers if isinstance(number, int))
    fractions = sum(number for number in numbers if isinstance(number, float))
    return whole + fractions if fractions else whole


class _Key(NamedTuple):
    identity: tuple[str, str, str]
    kind: str


class Catalog:
    """Every series by its name and kind, in the order in which they were first seen."""

    def __init__(self, encoder: Encoder, books: Books) -> None:
        self._encoder = encoder
        self._books = books
        self._by_key: dict[_Key, Series] = {}
        self._taken: dict[str, Series] = {}  # by the text before the value, so that derived names are told apart too
        self._told: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._by_key)

    def all(self) -> list[Series]:
        """Return them all."""
        return list(self._by_key.values())

    def join(self, stream: Stream, kind: str, rule: str, identity: Identity, suffix: str = "") -> None:
        """Make the stream a member of the series with that name."""
        described = identity.raw.replace("\0", " ").replace("\1", "=") + suffix
        key = _Key(identity[:3], kind)
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = Series(identity, kind, rule, described)
        self._claim(found, described)
        found.members += 1
        stream.series = found

    def leave(self, stream: Stream) -> None:
        """Take the stream out of its series."""
        series, stream.series = stream.series, None
        if series is not None:
            series.hide(stream)
            series.members -= 1

    def compact(self) -> None:
        """Remove series without streams, when what they had is sent."""
        for key, series in tuple(self._by_key.items()):
            if series.members or series.pending:
                continue
            del self._by_key[key]
            for name in self._names(series):
                if self._taken.get(name) is series:
                    del self._taken[name]

    def _claim(self, series: Series, described: str) -> None:
        """Tell when a name on the wire already is something else's."""
        for name in self._names(series):
            owner = self._taken.setdefault(name, series)
            if owner is series and series.described == described:
                continue
            pair = (owner.described, described)
            if pair not in self._told and len(self._told) < MOST_TOLD:
                self._told.add(pair)
                self._books.collisions += 1
                notices.say(
                    "warning",
                    f"two metrics are {name} in statsd and are added up: {pair[0]}, and {pair[1]}; a template in"
                    " OTEL_OPENSTACK_STATSD_NAMES_METRICS tells them apart",
                )

    def _names(self, series: Series) -> list[str]:
        name, inline, tail, _ = series.identity
        suffixes: Any = self._encoder.suffixes(histogram=series.kind == HISTOGRAM)
        return [f"{name}{suffix}{inline}{tail}" for suffix in suffixes]
