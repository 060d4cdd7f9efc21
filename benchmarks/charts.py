# SPDX-License-Identifier: Apache-2.0
"""Bar charts as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log10
from typing import NamedTuple

WIDTH, ROW, LABEL, NUMBER = 760, 22, 250, 90
OURS, OTHERS, SPREAD = "#1f77b4", "#9aa5b1", "#d62728"


class Bar(NamedTuple):
    """A row: its value, the ends of its interval, and what stands beside it."""

    label: str
    value: float
    low: float
    high: float
    shown: str
    ours: bool


def bars(title: str, rows: Sequence[Bar], *, logarithmic: bool = False) -> str:
    """Return a chart with one bar for each row; a logarithmic one begins at a third of the smallest value."""
    room = WIDTH - LABEL - NUMBER
    top = max((row.high for row in rows), default=1.0) or 1.0
    least = min((row.value for row in rows if row.value > 0), default=1.0) / 3

    def length(value: float) -> float:
        if not logarithmic:
            return max(0.0, value) / top * room
        return max(0.0, log10(max(value, least) / least) / log10(top / least)) * room

    height = ROW * len(rows) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(title)}</title>",
        "<style>text{font:13px sans-serif;fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>",
        f'<text x="0" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for place, row in enumerate(rows):
        y = 34 + place * ROW
        end = LABEL + length(row.value)
        parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row.label)}</text>')
        parts.append(
            f'<rect x="{LABEL}" y="{y}" width="{max(1.0, end - LABEL):.1f}" height="15" '
            f'fill="{OURS if row.ours else OTHERS}"/>'
        )
        low, high = LABEL + length(row.low), LABEL + length(row.high)
        if high - low > 1:
            parts.append(f'<path d="M{low:.1f} {y + 7.5}H{high:.1f}" stroke="{SPREAD}" stroke-width="2"/>')
        parts.append(f'<text x="{max(end, high) + 6:.1f}" y="{y + 12}">{escape(row.shown)}</text>')
    return "\n".join([*parts, "</svg>", ""])
