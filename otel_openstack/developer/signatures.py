# SPDX-License-Identifier: Apache-2.0
"""The parameters of a function, so that its wrapper can have the very same ones and find an argument by its name."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable
from inspect import CO_VARARGS, CO_VARKEYWORDS
from types import FunctionType
from typing import Any, NamedTuple

OURS = "_otel_"
"""How names of a wrapper's own begin."""


class Parameters(NamedTuple):
    """What stands in the wrapper's source.

    declared: between the parentheses of `def`, without defaults.
    passed: between those of the call.
    names: of all parameters that are local variables of the wrapper.
    star, double: the names of `*args` and `**kwargs`, empty where there is none.
    places: parameters of what is wrapped further down, and their places in `*args`.
    """

    declared: str
    passed: str
    names: tuple[str, ...]
    star: str
    double: str
    places: dict[str, int]

    def source(self, name: str) -> str | None:
        """Return the expression that gives the argument called `name`; None if there can be none."""
        if name in self.names:
            return name
        if name in self.places:
            star = (
                f"{self.star}[{self.places[name]}] if len({self.star}) > {self.places[name]} else " if self.star else ""
            )
            return f"({star}{f'{self.double}.get({name!r})' if self.double else 'None'})"
        return None


def of(function: Callable[..., Any]) -> Parameters:
    """Return the parameters of a function; for a callable of another type those of `*args, **kwargs`."""
    code = function.__code__ if isinstance(function, FunctionType) else None
    count = code.co_argcount + code.co_kwonlyargcount if code is not None else 0
    extra = bool(code and code.co_flags & CO_VARARGS) + bool(code and code.co_flags & CO_VARKEYWORDS)
    names = code.co_varnames[: count + extra] if code is not None else ()
    if code is None or not all(map(_usable, names)):
        names, star, double = (f"{OURS}args", f"{OURS}kwargs"), f"{OURS}args", f"{OURS}kwargs"
        return Parameters(f"*{star}, **{double}", f"*{star}, **{double}", names, star, double, _below(function, 0))
    positional, only = names[: code.co_argcount], names[code.co_argcount : count]
    rest = list(names[count:])
    star = rest.pop(0) if code.co_flags & CO_VARARGS else ""
    double = rest.pop(0) if rest else ""
    declared = list(positional)
    if code.co_posonlyargcount:
        declared.insert(code.co_posonlyargcount, "/")
    declared += [f"*{star}"] if star else (["*"] if only else [])
    declared += [*only, *([f"**{double}"] if double else [])]
    passed = [*positional, *([f"*{star}"] if star else []), *(f"{name}={name}" for name in only)]
    passed += [f"**{double}"] if double else []
    below = _below(function, len(positional)) if star or double else {}
    return Parameters(", ".join(declared), ", ".join(passed), names, star, double, below)


def _usable(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith(OURS)


def _below(function: Callable[..., Any], own: int) -> dict[str, int]:
    """Return the parameters that `inspect.signature` finds behind wrappers of others, which take `*args, **kwargs`."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = {p.name: place - own for place, p in enumerate(parameters) if p.kind in plain}
    found |= {p.name: len(parameters) for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: place for name, place in found.items() if place >= 0}
