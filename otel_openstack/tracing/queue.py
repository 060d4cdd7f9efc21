# SPDX-License-Identifier: Apache-2.0
"""The bounded queue between the code that ends spans and the export thread.

Bounded in estimated bytes, and so in number, since every record has a least weight. Shared with green threads, so: a
deque and ints, never a lock. The ints change without a call between reading and writing, which the interpreter does not
interrupt. What does not fit is dropped and booked.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from otel_openstack.exporters.accounting import OFF, Account
from otel_openstack.runtime import process

# The export thread is woken when this share of the room is taken, else it comes at its interval.
WAKE_SHARE = 0.1
FULL = "queue full"
UNBOUNDED = sys.maxsize
ASLEEP = sys.maxsize
"""More than there is ever room: the first record of a process has to start it."""


class Weighed(Protocol):
    """What can be queued."""

    _weight: int

    def reweigh(self) -> None:
        """Set `_weight` to what the record truly holds."""


class Queue:
    """Finished records of one signal.

    Args:
        account: the books of the signal.
        most_bytes: bound of the estimated bytes that wait.
        wake: called, cheaply, when a batch is full.

    """

    def __init__(self, account: Account, most_bytes: int, wake: Callable[[], Any]) -> None:
        self.account = account
        self.most_bytes = most_bytes
        self._wake = wake
        self._closed = False
        self.clear()

    def clear(self) -> None:
        """Start at zero, as a forked child must: what waits belongs to the parent."""
        self._items: deque[Any] = deque()
        self._weighed = 0
        self.append = self._items.append
        self.room = 0 if self._closed else self.most_bytes
        self.low = ASLEEP

    def close(self) -> None:
        """Let go of what waits, and drop and count whatever comes."""
        self._closed = True
        self.clear()

    def reopen(self) -> None:
        """Take records again."""
        self._closed = False
        self.clear()

    def _rearm(self) -> None:
        self.low = int(self.most_bytes * (1 - WAKE_SHARE))

    def _first(self) -> None:
        """Start the process; a forked child, which has a queue of its own, too."""
        process.ensure()
        if process.started():
            self._rearm()

    def put(self, item: Weighed) -> None:
        """Add a finished record, or drop and count it."""
        if self.low == ASLEEP:
            self._first()
        self.account.recorded += 1
        room = self.room - item._weight
        if room < self.low:
            if room < 0:
                self.account.drop(1, OFF if self._closed else FULL)
                return
            if self.low != ASLEEP:
                self.low = 0  # woken once; armed again when the export thread takes
                self._wake()
        self.room -= item._weight
        self.append(item)

    def take(self, most: int, most_bytes: int = UNBOUNDED) -> list[Any]:
        """Take up to `most` records of about `most_bytes`, oldest first. The export thread only."""
        items: list[Any] = []
        pop = self._items.popleft
        weight = 0
        try:
            while len(items) < most and weight < most_bytes:
                item = pop()
                items.append(item)
                weight += item._weight
        except IndexError:
            pass
        self.room += weight
        self._weighed = max(0, self._weighed - len(items))
        self._rearm()
        return items

    def weigh(self) -> None:
        """Weigh truly what came since the last look, and drop the newest above the bound. The export thread only.

        For as long as nothing is taken, since the collector takes nothing: code that ends spans only estimates.
        """
        items = self._items
        for place in range(self._weighed, len(items)):
            item = items[place]
            before = item._weight
            item.reweigh()
            self.room -= item._weight - before
        self._weighed = len(items)
        while self.room < 0 and items:
            self.room += items.pop()._weight
            self._weighed = len(items)
            self.account.drop(1, FULL)
        self._rearm()

    def __len__(self) -> int:
        return len(self._items)


class Nowhere(Queue):
    """The queue of a provider whose spans go to processors alone, or nowhere: it holds nothing and books nothing."""

    def put(self, item: Any) -> None:
        """Let the record go."""
