# SPDX-License-Identifier: Apache-2.0
"""Templates of names, and patterns of metrics that have something of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

METRIC, ATTRIBUTES = "metric", "attributes"
UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]")

T = TypeVar("T")


class Part(NamedTuple):
    """A text, or a placeholder."""

    literal: str = ""
    placeholder: str = ""


class Template(NamedTuple):
    """A name with placeholders: {metric}, {attributes} (all that no other took), or the key of an attribute."""

    parts: tuple[Part, ...]

    def takes(self, key: str) -> bool:
        """Whether a placeholder of its own names the attribute."""
        return any(part.placeholder == key for part in self.parts)


def parse(text: str, *, tagged: bool) -> Template:
    """Read a template.

    Args:
        text: such as `{service.name}.{metric}`.
        tagged: whether attributes are tags, so that `{attributes}` has no meaning.

    Raises:
        ValueError: it is none; the message says why.
    """
    parts: list[Part] = []
    rest = text
    while rest:
        literal, opened, after = rest.partition("{")
        if "}" in literal:
            raise ValueError(f"{text!r} has a }} without {{")
        for _, problem in text_problem("", literal):
            raise ValueError(f"text between placeholders: {problem}")
        if literal:
            parts.append(Part(literal=literal))
        if not opened:
            break
        placeholder, closed, rest = after.partition("}")
        if not closed or not placeholder or "{" in placeholder:
            raise ValueError(f"{text!r} has a {{ without a name and }}")
        if tagged and placeholder == ATTRIBUTES:
            raise ValueError(f"{text!r}: {{attributes}} is for flavor etsy only; here they are tags")
        parts.append(Part(placeholder=placeholder))
    if not parts:
        raise ValueError("an empty template names nothing")
    return Template(tuple(parts))


def text_problem(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Refuse what would be replaced on its way, so that a name is what its configuration says."""
    if UNSAFE.search(value):
        yield key, f"{value!r} must consist of letters, digits, '_', '-' and '.'"


class Patterns(Generic[T]):
    """What is configured for metrics: the exact name wins, then the longest pattern that matches."""

    def __init__(self, by_pattern: Mapping[str, T]) -> None:
        self._exact = {pattern: value for pattern, value in by_pattern.items() if "*" not in pattern}
        globs = sorted((p for p in by_pattern if "*" in p), key=lambda pattern: (-len(pattern.encode()), pattern))
        self._globs = [(_compiled(pattern), by_pattern[pattern]) for pattern in globs]

    def find(self, name: str, otherwise: T) -> T:
        """Return what holds for the metric `name`."""
        if name in self._exact:
            return self._exact[name]
        return next((value for pattern, value in self._globs if pattern.fullmatch(name)), otherwise)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
