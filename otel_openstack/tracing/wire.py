# SPDX-License-Identifier: Apache-2.0
"""Protobuf by hand: the few forms of field that OTLP needs, and attributes with a bounded cache of their encodings.

Here secrets are taken out of attributes: a key knows its rule, and only a value that is not in the cache is looked at.

A message is its fields one after the other, each a tag (number << 3 | wire type) and a value. Numbers below 16 make one
byte of tag; they are written as byte constants where they are used, with the field's name beside them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from otel_openstack import scrub
from otel_openstack.tracing.limits import MOST_NAME

Rule = Callable[[str], Callable[[Any], Any]]
"""Returns for a key what makes of a value the one that may leave."""

# Texts above this are not cached, nor are more distinct values of one key, nor more keys.
MOST_TEXT = 128
MOST_VALUES = 256
MOST_KEYS = 1024

INT64_LOW, INT64_HIGH = -(2**63), 2**63 - 1
_SMALL = tuple(bytes((number,)) for number in range(128))
_double = struct.Struct("<d").pack


def varint(number: int) -> bytes:
    """Return an unsigned number of at most 64 bits in base 128, the lowest digit first."""
    if number < len(_SMALL):
        return _SMALL[number]
    digits = bytearray()
    while number >= len(_SMALL):
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def field(tag: bytes, body: bytes) -> bytes:
    """Return a field of bytes, text or message."""
    return tag + varint(len(body)) + body


def text(value: str) -> bytes:
    """Return UTF-8; what has no UTF-8 (a lone surrogate) becomes a question mark."""
    return value.encode("utf-8", "replace")


def any_value(value: Any) -> bytes:  # noqa: PLR0911 (one return a type)
    """Return the AnyValue message of a cleaned attribute value.

    Raises:
        ValueError: an integer beyond 64 bits.
        TypeError: no attribute value.
    """
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"  # bool_value = 2
    if isinstance(value, str):
        return field(b"\x0a", text(value))  # string_value = 1
    if isinstance(value, int):
        if not INT64_LOW <= value <= INT64_HIGH:
            raise ValueError("integer beyond 64 bits")
        return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)  # int_value = 3
    if isinstance(value, float):
        return b"\x21" + _double(value)  # double_value = 4
    if isinstance(value, bytes):
        return field(b"\x3a", value)  # bytes_value = 7
    if isinstance(value, Mapping):  # kvlist_value = 6, its values = 1
        return field(b"\x32", b"".join(field(b"\x0a", key_value(str(key), item)) for key, item in value.items()))
    if isinstance(value, tuple | list):  # array_value = 5, its values = 1
        return field(b"\x2a", b"".join(field(b"\x0a", any_value(item)) for item in value))
    raise TypeError(f"no attribute value: {type(value)}")


def key_value(key: str, value: Any) -> bytes:
    """Return the KeyValue message; raises as `any_value`."""
    return field(b"\x0a", text(str(key))) + field(b"\x12", any_value(value))  # key = 1, value = 2


def as_it_is(key: str) -> Callable[[Any], Any]:
    """Return a rule that changes nothing."""
    return _same


def _same(value: Any) -> Any:
    return value


class _Key:
    """What is known of one attribute key: the field up to a double's bytes, and encodings of its usual values."""

    __slots__ = ("clean", "double", "integers", "texts")

    def __init__(self, tag: bytes, key: str, rule: Rule) -> None:
        name = field(b"\x0a", text(str(key)[:MOST_NAME]))  # a key that is no text is converted, as the SDK does
        self.clean = rule(str(key)[:MOST_NAME])
        self.double = tag + varint(len(name) + 11) + name + b"\x12\x09\x21"
        self.texts: dict[str, bytes] = {}
        self.integers: dict[int, bytes] = {}


class Attributes:
    """Encodes attributes as repeated KeyValue fields under one tag. For one thread.

    Values that recur (methods, routes, status codes) come from a cache per key; a key whose values do not recur is
    found out by their number and no longer cached.

    Args:
        tag: of the field.
        rule: how values are scrubbed; `as_it_is` for those that were when they were recorded.
    """

    def __init__(self, tag: bytes, rule: Rule = scrub.rule) -> None:
        self._tag = tag
        self._rule = rule
        self._keys: dict[str, _Key] = {}

    def encode(self, attributes: Mapping[str, Any]) -> bytes:
        """Return the fields of all attributes; one that cannot be encoded is left out, as the SDK does."""
        keys = self._keys
        parts: list[bytes] = []
        for key, value in tuple(attributes.items()):
            known = keys.get(key)
            if known is None:
                known = self._learn(key)
            kind = type(value)
            if kind is str:
                found = known.texts.get(value)
                parts.append(found if found is not None else self._encode(key, value, known, known.texts))
            elif kind is int:
                found = known.integers.get(value)
                parts.append(found if found is not None else self._encode(key, value, known, known.integers))
            elif kind is float:
                parts.append(known.double + _double(value))
            else:
                parts.append(self._encode(key, value, known, None))
        return b"".join(parts)

    def _learn(self, key: str) -> _Key:
        if len(self._keys) >= MOST_KEYS:
            self._keys.clear()
        known = self._keys[key] = _Key(self._tag, key, self._rule)
        return known

    def _encode(self, key: str, value: Any, known: _Key, cache: dict[Any, bytes] | None) -> bytes:
        try:
            clean = known.clean(value)
            made = field(self._tag, key_value(str(key)[:MOST_NAME], clean))
        except (TypeError, ValueError, RecursionError):
            return b""
        # A secret is not kept as the key of what it became.
        if cache is not None and clean is value and len(cache) < MOST_VALUES and len(made) <= MOST_TEXT:
            cache[value] = made
        return made
