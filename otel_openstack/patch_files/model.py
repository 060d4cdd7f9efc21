# SPDX-License-Identifier: Apache-2.0
"""What a patch file says, whatever its format."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_openstack.developer.parts import Part

SHORTEST = 2
OURS = ("otel_openstack", "opentelemetry")


class PatchFileError(Exception):
    """A mistake in a patch file, told with file, line and key."""


class Place(NamedTuple):
    """Where something stands, lines from 1; without a line it is about the file."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    def fail(self, key: str, message: str) -> PatchFileError:
        """Return the error to raise."""
        return PatchFileError(f"{self}: {key}: {message}" if key else f"{self}: {message}")


class Wanted(NamedTuple):
    """One entry of a file: what to measure of one callable.

    target: dotted, `package.module.Class.method`; a colon after the module says where it ends.
    load: what is loaded at the first call, and raises what is wrong with it; for `patch check`.
    """

    place: Place
    target: str
    parts: tuple[Part, ...]
    load: Callable[[], Any] | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.target}"


class Contents(NamedTuple):
    """A file as it was read.

    problems: what is wrong, one line each, with file, line and key; such an entry is not among `wanted`.
    notes: what the file says and is not done, and need not be.
    """

    file: str
    wanted: tuple[Wanted, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def modules(target: str) -> tuple[str, ...]:
    """Return the modules that a target may be in, the longest name first."""
    module, colon, _ = target.partition(":")
    if colon:
        return (module,)
    words = target.split(".")
    return tuple(".".join(words[:count]) for count in range(len(words) - 1, 0, -1))


def attribute(target: str, module: str) -> str:
    """Return what a target is called within a module."""
    return target[len(module) + 1 :]


def refusal(target: Any) -> str:
    """Return why this can be no target; nothing if it can name a function or method."""
    words = target.replace(":", ".").split(".") if isinstance(target, str) and target.count(":") <= 1 else []
    if len(words) < SHORTEST or not all(word.isidentifier() and not keyword.iskeyword(word) for word in words):
        return f"{target!r} is no dotted name such as package.module.Class.method"
    if words[0] in OURS:
        return f"{target} is what measures: it would measure itself"
    return ""
