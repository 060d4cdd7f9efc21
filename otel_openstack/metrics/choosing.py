# SPDX-License-Identifier: Apache-2.0
"""Which projects get series of their own: all up to a bound, a list, or those with most traffic.

A choice is only ever made for the next record: which series that goes to. A project that has series keeps them, and is
counted in them for as long as the process lives, since a cumulative series that ended or moved would take its counts
out of the sum, or have them there twice. So every record is in one series, once, and `_other` never shrinks. What
bounds the number is that `top:N` lets in no more than 4 N projects over the life of a process: the first N at once,
others when they have clearly more traffic than the last of the N heaviest.

How heavy the others are is estimated as by Misra and Gries: counts of a bounded number of projects, from all of which
the same is taken off when there are too many. An estimate is never above the truth, so no light project is let in, and
below it by less than the traffic of the window over the number of counts. All counts are halved from time to time, so
heaviness is that of lately. Nothing here blocks: who finds the lock taken leaves the upkeep to its holder. A count that
two threads lose between them makes an estimate lower; it is none that is exported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from otel_openstack import settings
from otel_openstack.conventions import DIMENSIONS
from otel_openstack.runtime import notices, originals, process

OTHER = "_other"
"""The label of all that have no series of their own. A request without a project has no label."""

ROOM = 4
"""How many times N projects may get series in the life of a process."""
COUNTS_EACH = 64
MOST_COUNTS = 8192
WINDOW_EACH = 500
"""Records, times N, after which all counts are halved."""
BETWEEN_REVIEWS = 256
CLEARLY = 1.25
DEVIATIONS = 3
"""How far apart two counts have to be so that it is not by chance."""

Labels = tuple[Any, ...]


class Chooser(Protocol):
    """Gives a value its label."""

    def label(self, value: Any) -> Any:
        """Return `value` itself if it has series of its own, else `OTHER`."""

    def reset(self) -> None:
        """Begin anew, in a child and after everything recorded was forgotten."""


class Listed:
    """Those that an operator names."""

    def __init__(self, values: frozenset[str]) -> None:
        self._values = values

    def label(self, value: Any) -> Any:
        return value if value in self._values else OTHER

    def reset(self) -> None:
        """Do nothing: what is listed stays listed."""


class First:
    """The first ones to come, up to a number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.reset()

    def label(self, value: Any) -> Any:
        own = self._own
        if value in own:
            return value
        if len(own) >= self._most:
            return OTHER
        with self._lock:
            if value not in own and len(own) >= self._most:
                return OTHER
            own.add(value)
        return value

    def reset(self) -> None:
        self._lock = originals.allocate_lock()
        self._own: set[Any] = set()


class Top:
    """The `number` with most records lately, and those that once were."""

    def __init__(self, number: int, full: Callable[[], None] | None = None) -> None:
        """Begin.

        Args:
            number: how many.
            full: called once, when one deserves series of its own and there is no room any more.

        """
        self._number = number
        self._tell = full
        self._room = ROOM * number
        self._counts = min(COUNTS_EACH * number, MOST_COUNTS)
        self._window = WINDOW_EACH * number
        self.reset()

    def reset(self) -> None:
        self._lock = originals.allocate_lock()
        self._own: dict[Any, int] = {}
        self._others: dict[Any, int] = {}
        self._full = self._tell
        self._bar = 0.0
        self._until_review = BETWEEN_REVIEWS

    def label(self, value: Any) -> Any:
        own = self._own
        if value in own:
            own[value] += 1
            return value
        if len(own) < self._number:
            return self._let_in(value, self._number)
        return self._other(value)

    def _other(self, value: Any) -> Any:
        others = self._others
        others[value] = count = others.get(value, 0) + 1
        self._until_review -= 1
        if self._until_review <= 0 or len(others) > 2 * self._counts:
            self._review()
        if count <= self._bar or (len(self._own) >= self._room and self._full is None):
            return OTHER
        self._review()
        if count <= self._bar:
            return OTHER
        if len(self._own) >= self._room and (full := self._full) is not None:
            self._full = None
            full()
        return self._let_in(value, self._room)

    def _let_in(self, value: Any, room: int) -> Any:
        with self._lock:  # held for a few stores, by native threads; green ones do not switch in it
            if value not in self._own:
                if len(self._own) >= room:
                    return OTHER
                self._own[value] = self._others.pop(value, 0) + 1
        return value

    def _review(self) -> None:
        if not self._lock.acquire(False):
            return
        try:
            self._until_review = BETWEEN_REVIEWS
            if len(self._others) > 2 * self._counts:
                self._prune()
            while sum(self._own.values()) + sum(list(self._others.values())) > self._window:
                self._halve()
            weakest = sorted(self._own.values(), reverse=True)[: self._number][-1] if self._own else 0
            self._bar = bar(weakest)
        finally:
            self._lock.release()

    def _prune(self) -> None:
        """Take the count of the one that is one too many off all counts."""
        pairs = list(self._others.items())
        off = sorted((count for _, count in pairs), reverse=True)[self._counts]
        self._others = {value: count - off for value, count in pairs if count > off}

    def _halve(self) -> None:
        for value in tuple(self._own):
            self._own[value] >>= 1
        self._others = {value: count >> 1 for value, count in list(self._others.items()) if count > 1}


def bar(weakest: int) -> float:
    """Return the count that is clearly above `weakest`: by a quarter, and by more than chance makes of equals."""
    # count - weakest > d * sqrt(count + weakest), solved for the count
    square = DEVIATIONS * DEVIATIONS
    by_chance: float = weakest + square / 2 + DEVIATIONS * (2 * weakest + square / 4) ** 0.5
    return max(CLEARLY * weakest, by_chance)


def chooser(choice: str, full: Callable[[], None] | None = None) -> Chooser | None:
    """Return what chooses as the option says; None for `off`. For `full` see `Top`."""
    kind, _, number = choice.partition(":")
    if kind == "off":
        return None
    if kind == "all":
        return First(int(number or settings.MOST_VALUES))
    if kind == "top":
        return Top(int(number), full)
    return Listed(frozenset(choice.split("|")))


_choosers: dict[str, tuple[str, Chooser | None]] = {}  # one for each attribute, shared by all instruments


def choosers(attributes: tuple[str, ...]) -> tuple[Chooser | None, ...]:
    """Return who chooses for each of these attributes; empty where nobody asked for any."""
    chosen = settings.get().metric_dimensions
    if not chosen or not attributes:
        return ()
    found = tuple(_of(attribute, chosen) for attribute in attributes)
    return found if any(found) else ()


def _of(attribute: str, chosen: dict[str, str]) -> Chooser | None:
    name = next(name for name, known in DIMENSIONS.items() if known == attribute)
    choice = chosen.get(name, "off")
    known = _choosers.get(attribute)
    if known is None or known[0] != choice:
        known = _choosers[attribute] = choice, chooser(choice, functools.partial(_say_full, name, choice))
    return known[1]


def _say_full(name: str, choice: str) -> None:
    number = ROOM * int(choice.partition(":")[2])
    notices.say(
        "warning",
        f"metric dimension {name}={choice}: {number} of them have had series of their own, the most in the life of a "
        f"process; whoever becomes heavy now is counted in {OTHER} until a restart",
    )


def labelling(attributes: tuple[str, ...], found: tuple[Chooser | None, ...], size: int) -> Callable[[Labels], Labels]:
    """Return what completes labels.

    Args:
        attributes: the dimensions.
        found: who chooses for each, None for one that is off.
        size: how many labels stand before those of the dimensions. Where a record gives no more than these, it is asked
            whom the request is for.

    """
    from otel_openstack.tracing import asking  # for those only who chose a dimension

    full = size + len(attributes)

    def several(labels: Labels) -> Labels:
        given = labels[size:] if len(labels) == full else [asking.value(attribute) for attribute in attributes]
        pairs = zip(found, given, strict=True)
        own = [None if who is None or value is None else who.label(value) for who, value in pairs]
        return (*labels[:size], *(None,) * (size - len(labels)), *own)

    if sum(who is not None for who in found) > 1:
        return several
    place = next(number for number, who in enumerate(found) if who is not None)
    attribute, choose = attributes[place], found[place].label  # type: ignore[union-attr]
    before, after, at = (None,) * place, (None,) * (full - size - place - 1), size + place

    def one(labels: Labels) -> Labels:
        if len(labels) == full:
            value = labels[at]
            labels = labels[:size]
        else:
            value = asking.value(attribute)
            labels += (None,) * (size - len(labels))
        return (*labels, *before, None if value is None else choose(value), *after)

    return one


def reset() -> None:
    """Let all choosers begin anew."""
    for _, found in tuple(_choosers.values()):
        if found is not None:
            found.reset()


process.on_child(reset)
