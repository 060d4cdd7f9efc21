# SPDX-License-Identifier: Apache-2.0
"""Small cases: one statement, repeated; what it stands for, and how to find out that it did something.

A case is `operation/variant`. The variant `nothing` is the turn of the loop itself and is taken off the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Made:
    """A case, ready to run."""

    statement: str
    """Python that is repeated; it may use the names in `uses`."""
    uses: Mapping[str, Any]
    found: Callable[[], int] | None = None
    """Counts the spans or points that the case has produced so far, where they end up; None where none are wanted."""
    share: int = 1
    """How many items one turn handles."""
    collect: Callable[[], object] = lambda: None
    """Runs after a round, outside the measurement: empties what would grow."""

    clock: Callable[[], int] = time.thread_time_ns

    def loop(self) -> Callable[[int], None]:
        """Return a function that repeats the statement."""
        names: dict[str, Any] = {"uses": self.uses}
        given = ", ".join(f"{name}=uses[{name!r}]" for name in self.uses)
        exec(f"def loop(times, {given}):\n for _ in range(times):\n  {self.statement}", names)
        function: Callable[[int], None] = names["loop"]
        return function


Make = Callable[[], Made]
Cases = dict[str, dict[str, Make]]
"""Operation -> variant -> what makes it."""

WITNESSED = 100
"""Items, at least, that are made once more at the end and have to be found."""


def witness(made: Made) -> tuple[int, int] | None:
    """Run the case once more; returns how many items were expected and how many were found; None if it makes none."""
    if made.found is None:
        return None
    before = made.found()
    turns = max(2, WITNESSED // made.share)
    made.loop()(turns)
    return turns * made.share, made.found() - before


def nothing() -> Made:
    """Return the turn of the loop."""
    return Made("pass", {})
