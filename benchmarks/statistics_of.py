# SPDX-License-Identifier: Apache-2.0
"""Medians with their spread. Rounds are interleaved, so a ratio or a difference is formed within each round."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

DRAWS = 1000
INSIDE = 0.95


class Figure(NamedTuple):
    """A median and the interval in which it lies with 95 % confidence (bootstrap)."""

    median: float
    low: float
    high: float


def figure(values: Sequence[float]) -> Figure:
    """Return the median of `values` with its interval."""
    if len(values) < 3:
        return Figure(statistics.median(values), min(values), max(values))
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(DRAWS))
    cut = int(DRAWS * (1 - INSIDE) / 2)
    return Figure(statistics.median(values), medians[cut], medians[-cut - 1])


def differences(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return how much more each round took than the bare one."""
    return [value - bare for value, bare in zip(values, base, strict=False)]


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return how many times the bare round each round took."""
    return [value / bare for value, bare in zip(values, base, strict=False)]
