# SPDX-License-Identifier: Apache-2.0
"""SQL without its literals."""

from __future__ import annotations

import re

from otel_openstack.pattern import Pattern

_LITERAL = Pattern(
    r"(?P<name>`[^`]*(?:`|\Z))|/\*.*?(?:\*/|\Z)|--[^\n]*"
    r"|'(?:[^']|'')*(?:'|\Z)|\"(?:[^\"]|\"\")*(?:\"|\Z)|\$(\w{0,40})\$.*?(?:\$\2\$|\Z)|(?<![\w.$:@%])\d[\w.]*",
    re.DOTALL,
)


def _literal(match: re.Match[str]) -> str:
    return match.group() if match.group("name") else "?"


def without_literals(value: str) -> str:
    """Return SQL with a question mark for each text and number in it, and without comments."""
    if "\\'" in value or '\\"' in value:  # an escape in one dialect, the end of a literal in another
        first = min(place for place in map(value.find, "'\"") if place >= 0)
        last = max(value.rfind("'"), value.rfind('"'))
        value = f"{value[:first]}?{value[last + 1 :]}"
    return _LITERAL.sub(_literal, value)
