# SPDX-License-Identifier: Apache-2.0
"""Beginnings that wait for their ends, bounded in number and age.

Shared by the threads of a service, green or not, without a lock: each step is one operation of a dict.
"""

from __future__ import annotations

from collections.abc import Hashable

MOST = 4096
"""Beginnings that wait, of one rule. The oldest goes first."""


class Pairs:
    """The beginnings of one rule."""

    def __init__(self, max_age: float) -> None:
        self._max_age = max_age
        self._begun: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def clear(self) -> None:
        """Forget them all, as a forked child does."""
        self._begun = {}

    def begin(self, key: Hashable, now: float) -> tuple[bool, int, int]:
        """Note a beginning.

        Returns:
            Whether the same had begun already, how many were given up for their age, and how many for their number.
        """
        begun = self._begun
        again = begun.pop(key, None) is not None
        expired = self.expire(now)
        begun[key] = now
        crowded = 0
        while len(begun) > MOST and self._drop_oldest():
            crowded += 1
        return again, expired, crowded

    def end(self, key: Hashable, now: float) -> float | None:
        """Return how many seconds ago it began; None if that is not known, or too long ago."""
        began = self._begun.pop(key, None)
        return None if began is None or now - began > self._max_age else now - began

    def expire(self, now: float) -> int:
        """Give up what is too old; return how many that were."""
        expired = 0
        while (oldest := self._oldest()) is not None and now - oldest > self._max_age and self._drop_oldest():
            expired += 1
        return expired

    def _oldest(self) -> float | None:
        try:
            return next(iter(self._begun.values()), None)
        except RuntimeError:  # another thread has just added one
            return None

    def _drop_oldest(self) -> bool:
        try:
            return self._begun.pop(next(iter(self._begun)), None) is not None
        except (RuntimeError, StopIteration):
            return False
