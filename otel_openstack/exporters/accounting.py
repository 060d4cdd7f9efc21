# SPDX-License-Identifier: Apache-2.0
"""The books: everything recorded is either delivered or dropped, and dropped for a reason.

Additions are plain in-place ones without a call in between, which the interpreter does not interrupt; they may be made
in any thread. A child starts with empty books.
"""

from __future__ import annotations

from collections.abc import Callable

from otel_openstack.exporters.sink import SIGNALS, Outcome, Signal, Sink
from otel_openstack.runtime import notices, originals, process, stop, worker

ITEMS: dict[Signal, str] = {"traces": "spans", "metrics": "points", "logs": "log records"}
AT_EXIT = "not delivered before the end of the process"
REJECTED = "rejected"
OFF = "switched off"


class Account:
    """What became of the items of one signal in this process."""

    __slots__ = ("delivered", "drops", "recorded", "signal")

    def __init__(self, signal: Signal) -> None:
        self.signal: Signal = signal
        self.recorded = 0  # hot paths add to it directly: `account.recorded += 1`
        self.delivered = 0
        self.drops: dict[str, list[int]] = {}

    @property
    def dropped(self) -> int:
        """How many items were dropped, for whatever reason."""
        return sum(cell[0] for cell in tuple(self.drops.values()))

    def drop(self, items: int, reason: str) -> None:
        """Count `items` as dropped; `reason` is one of a few constant texts."""
        cell = self.drops.setdefault(reason, [0])
        cell[0] += items

    def close(self, reason: str = AT_EXIT) -> None:
        """Count what is neither delivered nor dropped as dropped."""
        rest = self.recorded - self.delivered - self.dropped
        if rest > 0:
            self.drop(rest, reason)

    def reset(self) -> None:
        """Start from zero, as a forked child does."""
        self.recorded = self.delivered = 0
        self.drops.clear()


_watchers: list[Callable[[Signal, float, Outcome], None]] = []

ACCOUNTS: dict[Signal, Account] = {signal: Account(signal) for signal in SIGNALS}


def account(signal: Signal) -> Account:
    """Return the account of `signal`; the object stays the same for ever, also over forks."""
    return ACCOUNTS[signal]


def on_attempt(callback: Callable[[Signal, float, Outcome], None]) -> Callable[[], None]:
    """Call `callback(signal, seconds, outcome)` after each attempt to send; returns what takes that back."""
    _watchers.append(callback)
    return lambda: _watchers.remove(callback)


def send(sink: Sink, signal: Signal, payload: bytes, items: int, deadline: float) -> Outcome:
    """Send `payload` and book the outcome; one to be retried is not booked, the caller keeps or drops it."""
    start = originals.monotonic()
    outcome, rejected = sink.send(signal, payload, items, deadline)
    for watcher in _watchers:
        watcher(signal, originals.monotonic() - start, outcome)
    book = ACCOUNTS[signal]
    if outcome is Outcome.DELIVERED:
        book.delivered += items - rejected
        if rejected:
            book.drop(rejected, REJECTED)
        worker.progress()
    elif outcome is Outcome.REJECTED:
        book.drop(items, REJECTED)
    return outcome


def write_off() -> None:
    """Count what is under way as dropped: the process is switched off."""
    for book in ACCOUNTS.values():
        book.close(OFF)


def close() -> str:
    """Close the books; returns the line for the log, empty if nothing was lost."""
    for book in ACCOUNTS.values():
        book.close()
    if not any(book.dropped for book in ACCOUNTS.values()):
        return ""
    lost = ", ".join(f"{book.dropped} {ITEMS[book.signal]}" for book in ACCOUNTS.values() if book.recorded)
    whole = ", ".join(f"{book.recorded} {ITEMS[book.signal]}" for book in ACCOUNTS.values() if book.recorded)
    reasons = {reason: None for book in ACCOUNTS.values() for reason, cell in book.drops.items() if cell[0]}
    return f"{lost} dropped of {whole} recorded ({'; '.join(reasons)})"


def _reset() -> None:
    lost = ", ".join(f"{book.recorded} {ITEMS[book.signal]}" for book in ACCOUNTS.values() if book.recorded)
    if lost and process.held_back():
        notices.say("warning", f"{lost} of uWSGI's master, which exports nothing, are dropped; lazy-apps avoids that")
    for book in ACCOUNTS.values():
        book.reset()


process.on_child(_reset)
stop.on_end(close)
