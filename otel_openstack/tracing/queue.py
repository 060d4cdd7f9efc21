# SPDX-License-Identifier: Apache-2.0
"""The bounded queue between the code that ends spans and the export thread.

Bounded in estimated bytes and in number. Shared with green threads, so: a deque and ints, never a lock. Callers only
add to `added`, the export thread only to `taken`, so neither overwrites the other's figure. What does not fit is dropped
and booked, per reason and exactly.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from otel_openstack.exporters.accounting import Account

MOST_ITEMS = 16384
# The export thread is woken when this many wait, else it comes at its interval.
WAKE_AT = 512
FULL = "queue full"
UNBOUNDED = sys.maxsize


class Weighed(Protocol):
    """What can be queued."""

    _weight: int


class Queue:
    """Finished records of one signal.

    Args:
        account: the books of the signal.
        most_bytes: bound of the estimated bytes that wait.
        wake: called, cheaply, when a batch is full.

    """

    def __init__(
        self, account: Account, most_bytes: int, wake: Callable[[], Any], most_items: int = MOST_ITEMS
    ) -> None:
        self.account = account
        self.most_bytes = most_bytes
        self.most_items = most_items
        self._wake = wake
        self.clear()

    def clear(self) -> None:
        """Start at zero, as a forked child must: what waits belongs to the parent."""
        self._items: deque[Any] = deque()
        self.append = self._items.append
        self.added = 0
        self.taken = 0

    def put(self, item: Any) -> None:
        """Add a finished record, or drop and count it."""
        weight = item._weight
        account = self.account
        account.recorded += 1
        if self.added - self.taken + weight > self.most_bytes or len(self._items) >= self.most_items:
            account.drop(1, FULL)
            return
        self.added += weight
        self.append(item)
        if not len(self._items) % WAKE_AT:
            self._wake()

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
        self.taken += weight
        return items

    def __len__(self) -> int:
        return len(self._items)
