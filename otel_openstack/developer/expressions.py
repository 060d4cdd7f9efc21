# SPDX-License-Identifier: Apache-2.0
"""Attribute expressions: `instance.flavor.name`, `instance.info_cache['network']`, `args[0]`, `len(result)`.

    expression = path | "len(" path ")"
    path       = root { "." name | "[" integer "]" | "[" quoted text "]" }

The root is a parameter of the function, `result`, or `context`: the parameter of that name, or else the request context
that oslo.context holds. An expression is parsed once and never evaluated as code; `reading` says how it is followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_openstack.developer import reading

LONGEST = 256
MOST_STEPS = 16
RESULT = "result"
CONTEXT = "context"

_NAME = re.compile(r"[^\W\d]\w*")
_KEY = re.compile(r"\[\s*(?:(-?\d{1,9})|'([^'\\\]]*)'|\"([^\"\\\]]*)\")\s*\]")
_LENGTH = re.compile(r"len\(\s*(.*?)\s*\)", re.DOTALL)


class ExpressionError(ValueError):
    """An expression cannot be understood; the text says where."""


class Step(NamedTuple):
    """One step of a path: `attribute`, a name, or `item`, a key."""

    kind: str
    key: str | int


class Expression(NamedTuple):
    """A parsed expression."""

    text: str
    root: str
    steps: tuple[Step, ...] = ()
    length: bool = False
    """The number of items is wanted, not the value."""


class Call(NamedTuple):
    """In the place of an expression: a function of ours that is given the call's own arguments."""

    text: str
    function: Callable[..., Any]
    root: str = ""


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises:
        ExpressionError: it is none.
    """
    if not isinstance(text, str) or not 0 < len(text.strip()) <= LONGEST:
        raise ExpressionError(f"an expression is a text of up to {LONGEST} characters such as instance.flavor.name")
    path = text.strip()
    length = _LENGTH.fullmatch(path)
    if length is not None:
        path = length.group(1)
    root = _NAME.match(path)
    if root is None or not root.group().isidentifier():
        raise ExpressionError(f"{text!r} does not begin with a name")
    steps, place = [], root.end()
    while place < len(path):
        step, place = _step(path, place, text)
        steps.append(step)
    if len(steps) > MOST_STEPS:
        raise ExpressionError(f"{text!r} has more than {MOST_STEPS} steps")
    return Expression(text, root.group(), tuple(steps), length is not None)


def _step(path: str, place: int, text: str) -> tuple[Step, int]:
    if path[place] == ".":
        name = _NAME.match(path, place + 1)
        if name is not None and name.group().isidentifier():
            return Step("attribute", name.group()), name.end()
    elif path[place] == "[":
        key = _KEY.match(path, place)
        if key is not None:
            number, single, double = key.groups()
            return Step(
                "item", int(number) if number is not None else (double if single is None else single)
            ), key.end()
    raise ExpressionError(
        f"{text!r} cannot be understood from {path[place:][:20]!r} on: after the root come .name, [0] and ['key'] only"
    )


def reader(expression: Expression) -> Callable[[Any], str | int | float | bool | None]:
    """Return a function that takes the root's value, follows the path and returns a bounded value; None if absent."""
    ways: dict[str, Callable[[Any, Any], Any]] = {"attribute": reading.attribute, "item": reading.item}
    steps = tuple((ways[kind], key) for kind, key in expression.steps)
    last: Callable[[Any], Any] = reading.length if expression.length else reading.bounded
    absent = reading.ABSENT

    def read(value: Any) -> Any:
        for step, key in steps:
            value = step(value, key)
            if value is absent:
                return None
        return last(value)

    return read
