# SPDX-License-Identifier: Apache-2.0
"""What a dotted name stands for in a module, looked up without running code of the service."""

from __future__ import annotations

import difflib
import functools
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from otel_openstack.patching.fitness import unfit

ABSENT: Any = object()
NEAR = 3
GETTERS: dict[type, str] = {property: "fget", functools.cached_property: "func"}

_mro: Any = type.__dict__["__mro__"].__get__
_namespace: Any = type.__dict__["__dict__"].__get__


class Found(NamedTuple):
    """A callable where it stands: `vars(owner)[name]`, or inherited from a base of the class `owner`."""

    owner: Any
    name: str
    original: Any
    inherited: bool


class MissingError(Exception):
    """There is no such thing; the text names what is near.

    may_come: what is missing may be a module that is not imported yet.
    """

    def __init__(self, text: str, *, may_come: bool) -> None:
        super().__init__(text)
        self.may_come = may_come


class UnfitError(Exception):
    """It is there, and cannot be patched; the text says why."""


def find(module: ModuleType, path: str) -> Found:
    """Return what `path`, dotted, is in a module.

    Raises:
        MissingError: it is not there.
        UnfitError: it cannot be measured.
    """
    owner: Any = module
    *way, last = path.split(".")
    for word in way:
        owner = _attribute(owner, word)[0]
        if not isinstance(owner, ModuleType | type):
            raise UnfitError(
                f"{word} is a {type(owner).__name__}; functions of modules and methods of classes can be patched"
            )
    original, inherited = _attribute(owner, last)
    reason = _unfit(owner, last, original)
    if reason:
        raise UnfitError(reason)
    return Found(owner, last, original, inherited)


def function_of(original: Any) -> Any:
    """Return the function in a class method, static method or property; anything else as it is."""
    if isinstance(original, staticmethod | classmethod):
        return original.__func__
    getter = GETTERS.get(type(original))
    return original if getter is None else getattr(original, getter)


def own(owner: Any, name: str) -> Any:
    """Return what stands in a module or class itself; ABSENT if nothing does."""
    return _namespaces(owner)[0].get(name, ABSENT)


def _attribute(owner: Any, name: str) -> tuple[Any, bool]:
    """Return the attribute as it stands in a module or class, and whether it is inherited."""
    for place, namespace in enumerate(_namespaces(owner)):
        found = namespace.get(name, ABSENT)
        if found is not ABSENT:
            return found, place > 0
    known = {key for namespace in _namespaces(owner) for key in namespace}
    near = difflib.get_close_matches(name, sorted(map(str, known)), NEAR)
    hint = f"; near: {', '.join(near)}" if near else ""
    package = isinstance(owner, ModuleType) and hasattr(owner, "__path__")
    raise MissingError(f"{_called(owner)} has no {name} in this release{hint}", may_come=package)


def _namespaces(owner: Any) -> list[Any]:
    return [vars(owner)] if isinstance(owner, ModuleType) else [_namespace(base) for base in _mro(owner)]


def _called(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _unfit(owner: Any, name: str, original: Any) -> str:
    if isinstance(original, ModuleType):
        return f"{name} is a module"
    if isinstance(original, type):
        return f"{name} is a class: name one of its methods, such as {name}.__init__"
    if isinstance(owner, type) and not owner.__flags__ & HEAP_TYPE:
        return f"{owner.__qualname__} is a class in C, whose methods cannot be exchanged"
    if type(original) in GETTERS:
        fit = isinstance(function_of(original), FunctionType)
        return "" if fit else f"{name} is a property without a function"
    return unfit(owner, name, original, asynchronous=True)


HEAP_TYPE = 1 << 9
"""Of `type.__flags__`: made by a `class` statement or like one."""


def in_the_way(found: Found) -> list[str]:
    """Return what of a patched class is not reached: subclasses with a method of their own under this name."""
    if not isinstance(found.owner, type):
        return []
    return sorted(f"{_called(kind)}.{found.name}" for kind in _below(found.owner) if found.name in _namespace(kind))


def _below(kind: Any) -> set[Any]:
    """Return the subclasses that are there now, those of subclasses included."""
    found: set[Any] = set()
    waiting = [kind]
    while waiting:
        for one in type.__subclasses__(waiting.pop()):
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found
