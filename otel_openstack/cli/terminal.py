# SPDX-License-Identifier: Apache-2.0
"""What stands between recorded text and a terminal: escaping, width, colours, glyphs, numbers with units.

Everything recorded is hostile: names and error texts come from the network.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from typing import TextIO

_LONGEST = 1000
_STYLES = {"bold": "1", "dim": "2", "red": "31", "head": "1;4"}
_SERVICE_COLOURS = ("36", "33", "35", "32", "34", "96", "93", "95", "92", "94")
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Terminal:
    """Width in columns, and what may be used."""

    width: int
    colour: bool
    unicode: bool

    def style(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES.get(style, style)}m{text}\x1b[0m" if self.colour and text else text


def terminal(stream: TextIO | None = None) -> Terminal:
    """Describe stdout: colours only on a terminal and without NO_COLOR; a file gets 160 columns."""
    stream = stream or sys.stdout
    tty = stream.isatty()
    columns = shutil.get_terminal_size((160, 50)).columns if tty or "COLUMNS" in os.environ else 160
    colour = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = (stream.encoding or "ascii").lower().replace("-", "")
    return Terminal(max(60, columns), colour, encoding.startswith("utf"))


def service_style(service: str, known: dict[str, str]) -> str:
    """Return the colour of a service, the same one all along; `known` remembers."""
    return known.setdefault(service, _SERVICE_COLOURS[len(known) % len(_SERVICE_COLOURS)])


def clean(value: object) -> str:
    """Return text in one line without what a terminal obeys: controls, bidi overrides, separators are escaped."""
    text = str(value)
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def columns_of(text: str) -> int:
    """Return the columns that cleaned text takes."""
    return len(text) if text.isascii() else sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return cleaned text cut or filled to exactly `width` columns."""
    size = columns_of(text)
    if size > width:
        kept, size = [], 0
        for char in text:
            size += _columns(char)
            if size > width - 1:
                break
            kept.append(char)
        text = "".join(kept) + "…" * (width > 0)
        size = columns_of(text)
    space = " " * (width - size)
    return space + text if right else text + space


def duration(nanoseconds: float) -> str:
    """Return a duration in three digits and its unit."""
    return seconds(nanoseconds / _SECOND)


def seconds(value: float) -> str:
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "µs"), (1, 1e3, "ms"), (120, 1, "s")):
        if abs(value) < limit:
            return f"{_digits(value * factor)} {unit}" if value else "0"
    minutes = value / 60
    return f"{_digits(minutes)} min" if minutes < 120 else f"{_digits(minutes / 60)} h"  # noqa: PLR2004


def quantity(value: float | None, unit: str) -> str:
    """Return a number with its OTLP unit: durations and bytes scaled, others grouped by thousands."""
    if value is None:
        return "-"
    if unit == "s":
        return seconds(value)
    if unit == "ms":
        return seconds(value / 1e3)
    if unit == "By":
        step = 0
        while abs(value) >= 1024 and step < len(_BYTES) - 1:  # noqa: PLR2004
            value, step = value / 1024, step + 1
        return f"{_digits(value) if step else count(value)} {_BYTES[step]}"
    return count(value)


def count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"


def _digits(value: float) -> str:
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004 - three digits
    return f"{value:.{places}f}"
