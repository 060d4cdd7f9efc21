# SPDX-License-Identifier: Apache-2.0
"""Reads attributes and items of a service's objects without running any of its code.

An attribute of an object can be a call in disguise: nova's `instance.flavor` loads over RPC, an expired column of
SQLAlchemy sends a query, a property does anything. So nothing here asks an object for its attribute. What the object
holds is looked at where it is held (`__dict__`, slots, the items of a tuple), once its class says that there is no code
in between; whatever cannot be read so is absent.

    versioned objects     fields that are set
    SQLAlchemy's models   columns and relations that are loaded and not expired
    everything else       the instance's `__dict__`, slots, fields of named tuples, plain values of the class,
                          name and value of an enum
    never                 properties and other descriptors, `__getattr__`, `__getitem__` and `__len__` of the service
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

ABSENT: Any = object()
LONGEST_VALUE = 256
"""Characters of a text; what is longer is cut."""
INT64 = 63
MOST_KNOWN = 4096

Getter = Callable[[Any], Any]
Plain = str | int | float | bool | None

_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], Any] = type.__dict__["__dict__"].__get__
_OF_CLASSES = {name: type.__dict__[name].__get__ for name in ("__name__", "__qualname__", "__module__")}

# By the id of the class, since its metaclass may have an `__eq__`; the class is kept, so that its id is.
_getters: dict[tuple[int, str], tuple[type, Getter]] = {}
_containers: dict[tuple[int, str], tuple[type, Any]] = {}


def attribute(owner: Any, name: str) -> Any:
    """Return the attribute `name` of `owner`, or ABSENT."""
    kind = type(owner)
    known = _getters.get((id(kind), name))
    if known is None:
        if len(_getters) >= MOST_KNOWN:
            _getters.clear()
        known = _getters[id(kind), name] = (kind, _getter(kind, name))
    return known[1](owner)


def item(owner: Any, key: str | int) -> Any:
    """Return `owner[key]` of a dict, list or tuple, or ABSENT."""
    base = _container(type(owner), "__getitem__", (dict, list, tuple))
    if base is dict:
        return dict.get(owner, key, ABSENT)
    if base is None or type(key) is not int:
        return ABSENT
    try:
        return base.__getitem__(owner, key)
    except IndexError:
        return ABSENT


def length(owner: Any) -> int | None:
    """Return the number of items of a container of Python's own; None for everything else."""
    base = _container(type(owner), "__len__", (list, tuple, dict, str, bytes, set, frozenset))
    return None if base is None else int(base.__len__(owner))


def bounded(value: Any) -> Plain:
    """Return a value that may be an attribute: text (cut), integer of 64 bits, finite number, flag; else None."""
    kind = type(value)
    if kind is str:
        return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE]  # type: ignore[no-any-return]
    if kind is bool:
        return value  # type: ignore[no-any-return]
    bases = _mro(kind)
    if _among(str, bases):
        return str.__getitem__(value, slice(LONGEST_VALUE))
    if _among(int, bases):
        number = int.__add__(value, 0)
        return number if int.bit_length(number) <= INT64 else None
    if _among(float, bases):
        real = float.__add__(value, 0.0)
        return real if math.isfinite(real) else None
    return None


def request_context() -> Any:
    """Return the request context of this thread or green thread, as oslo.context keeps it; None if there is none."""
    module: Any = sys.modules.get("oslo_context.context")
    return None if module is None else module.get_current()


# How a class keeps the attribute: found once for each class and name.


def _getter(kind: type, name: str) -> Getter:
    bases = _mro(kind)
    if name == "__class__":
        return type
    if _among(type, bases):
        return _of_class(name)
    found, base = _lookup(bases, name)
    if type(found) is MemberDescriptorType or _is(type(found), "_collections", "_tuplegetter"):
        return _slot(found, kind)
    key = _key(found, bases, name)
    if key is None:
        return _absent
    return _held(bases, key, ABSENT if base is None or _has(found, "__get__") else found)


def _key(found: Any, bases: tuple[type, ...], name: str) -> str | None:
    """Return under which key an instance holds `name` in its `__dict__`; None where code stands in between."""
    if name in ("name", "value") and any(_is(base, "enum", "Enum") for base in bases):
        return f"_{name}_"
    if _is_field(found, bases):
        return f"_obj_{name}"
    if not _is_mapped(found) and (_has(found, "__set__") or _has(found, "__delete__")):
        return None
    return name


def _lookup(bases: tuple[type, ...], name: str) -> tuple[Any, type | None]:
    """Return what the class says of `name`, and which of its bases; ABSENT and None where it says nothing."""
    for base in bases:
        namespace = _namespace(base)
        if name in namespace:
            return namespace[name], base
    return ABSENT, None


def _among(kind: type, bases: tuple[type, ...]) -> bool:
    """Whether `kind` itself is there; `in` would ask metaclasses, as `isinstance` asks an object for its class."""
    return any(base is kind for base in bases)


def _has(value: Any, method: str) -> bool:
    return value is not ABSENT and _lookup(_mro(type(value)), method)[1] is not None


def _is(kind: type, module: str, name: str) -> bool:
    return bool(_OF_CLASSES["__name__"](kind) == name and _OF_CLASSES["__module__"](kind) == module)


def _is_field(found: Any, bases: tuple[type, ...]) -> bool:
    """Whether this is the property that oslo.versionedobjects makes of a field, which loads what is not set."""
    return (
        type(found) is property
        and type(found.fget) is FunctionType
        and found.fget.__module__ == "oslo_versionedobjects.base"
        and any(_is(base, "oslo_versionedobjects.base", "VersionedObject") for base in bases)
    )


def _is_mapped(found: Any) -> bool:
    """Whether this is SQLAlchemy's descriptor of a column or relation, whose value stands in the instance once loaded.

    `expire` takes it out again.
    """
    return any(_is(base, "sqlalchemy.orm.attributes", "QueryableAttribute") for base in _mro(type(found)))


def _held(bases: tuple[type, ...], name: str, default: Any = ABSENT) -> Getter:
    """Return what takes `name` out of the instance's `__dict__`, if that is the interpreter's own."""
    descriptor, _ = _lookup(bases, "__dict__")
    if not _among(type(descriptor), (GetSetDescriptorType, MemberDescriptorType)):
        return _absent if default is ABSENT else lambda _: default
    holder = descriptor.__get__

    def get(owner: Any) -> Any:
        held = holder(owner)
        return default if held is None else dict.get(held, name, default)

    return get


def _slot(descriptor: Any, kind: type) -> Getter:
    def get(owner: Any) -> Any:
        try:
            return descriptor.__get__(owner, kind)
        except (AttributeError, TypeError):  # empty
            return ABSENT

    return get


def _of_class(name: str) -> Getter:
    """Return what reads a plain value of a class that is itself the owner."""
    special = _OF_CLASSES.get(name)

    def get(owner: Any) -> Any:
        if special is not None:
            return special(owner)
        found, _ = _lookup(_mro(owner), name)
        return ABSENT if _has(found, "__get__") else found

    return get


def _absent(_: Any) -> Any:
    return ABSENT


def _container(kind: type, method: str, bases: tuple[type, ...]) -> Any:
    """Return which of Python's own containers `kind` is, if its `method` is that one's."""
    known = _containers.get((id(kind), method))
    if known is None:
        if len(_containers) >= MOST_KNOWN:
            _containers.clear()
        lineage = _mro(kind)
        base = next((base for base in bases if _among(base, lineage)), None)
        own = base is not None and _lookup(lineage, method)[0] is _namespace(base).get(method)
        known = _containers[id(kind), method] = (kind, base if own else None)
    return known[1]
