# SPDX-License-Identifier: Apache-2.0
"""Attributes as a span keeps them: cleaned as the SDK cleans them, bounded, weighed for the queue.

Values of the exact types in `SCALARS` need no cleaning; everything else (sequences, mappings, subclasses, foreign
types, texts above the limit) goes through the SDK's own `BoundedAttributes`, which freezes it, converts it or warns.
What the SDK would follow without an end (a list in itself, a million items) is not handed to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes

from otel_openstack.tracing.limits import MOST_NAME

SCALARS = frozenset({str, int, float, bool, type(None)})
TEXTLESS = SCALARS - {str}

# Texts up to this many characters need no weighing: ENTRY_WEIGHT holds them.
SHORT = 64
# Estimated bytes of an entry with a short text, and of a number inside a sequence.
ENTRY_WEIGHT = 160
ITEM_WEIGHT = 32

# Of one value: items in it, those of what is inside included, how deep they are nested, and bytes of a `bytes`.
MOST_ITEMS = 4096
DEEPEST = 16
MOST_BYTES = 16384
TOO_LARGE = "<too large to be an attribute>"
UNREADABLE = "<cannot be read>"

INT64 = 64


def clean(
    attributes: Mapping[str, Any] | None, count_limit: int | None, length_limit: int | None
) -> tuple[dict[str, Any], int]:
    """Return the attributes as the SDK would keep them, and how many it drops. Never raises."""
    if not attributes:
        return {}, 0
    if type(attributes) is dict and count_limit is None and are_plain(attributes, length_limit):
        return attributes.copy(), 0
    try:
        return _clean(attributes, count_limit, length_limit)
    except Exception:  # a mapping or a value that is broken itself
        return {}, 1


def are_plain(attributes: dict[Any, Any], length_limit: int | None) -> bool:
    """Return whether the SDK would keep these attributes just as they are."""
    most = SHORT if length_limit is None else min(SHORT, length_limit)
    for key, value in attributes.items():
        kind = type(value)
        if kind not in TEXTLESS if kind is not str else len(value) > most:
            return False
        if type(key) is not str or not 0 < len(key) <= MOST_NAME:
            return False
    return True


def clean_value(value: Any, length_limit: int | None) -> Any:
    """Return one value as the SDK would keep it. Never raises."""
    try:
        return _clean({"value": value}, None, length_limit)[0]["value"]
    except Exception:
        return UNREADABLE


def _clean(
    attributes: Mapping[str, Any], count_limit: int | None, length_limit: int | None
) -> tuple[dict[str, Any], int]:
    fitting = {_key(key): _fitting(value, length_limit) for key, value in attributes.items()}
    bounded = BoundedAttributes(count_limit, fitting, immutable=False, max_value_len=length_limit)
    kept = {key: _fitting(value, length_limit) for key, value in bounded.copy().items()}
    return kept, bounded.dropped + len(attributes) - len(fitting)


def _key(key: Any) -> Any:
    return key[:MOST_NAME] if isinstance(key, str) and len(key) > MOST_NAME else key


def _fitting(value: Any, length_limit: int | None) -> Any:
    """Return `value`, or what of it can be handed to the SDK; texts are cut here, where nobody is warned each time."""
    if isinstance(value, str):
        return value if length_limit is None or len(value) <= length_limit else value[:length_limit]
    if isinstance(value, bytes):
        return value if length_limit is None else value[: max(length_limit, MOST_BYTES)]
    if isinstance(value, Sequence | Mapping) and not _follows(value, [MOST_ITEMS], DEEPEST):
        return TOO_LARGE
    return value


def _follows(value: Any, room: list[int], depth: int) -> bool:
    """Whether everything inside `value` is within the bounds; `room` is what is left of them."""
    if depth == 0:
        return False
    for item in _items(value):
        room[0] -= 1
        if room[0] < 0:
            return False
        if isinstance(item, str | bytes):
            room[0] -= len(item) // 256
        elif isinstance(item, Sequence | Mapping) and not _follows(item, room, depth - 1):
            return False
    return True


def _items(value: Any) -> Iterator[Any]:
    return iter(value.values() if isinstance(value, Mapping) else value)


def weigh(attributes: Mapping[str, Any]) -> int:
    """Return the estimated bytes that `attributes` hold."""
    return ENTRY_WEIGHT * len(attributes) + weigh_values(attributes)


def weigh_values(attributes: Mapping[str, Any]) -> int:
    """Return the estimated bytes that the values of `attributes` hold beyond their entries."""
    return sum(weigh_value(value) for value in attributes.values())


def weigh_truly(attributes: Mapping[str, Any]) -> int:
    """Return the bytes with what the quick path does not look at: keys, short texts, integers beyond 64 bits."""
    weight = weigh(attributes)
    for key, value in attributes.items():
        weight += weigh_text(key) if isinstance(key, str) and len(key) > SHORT else 0
        if isinstance(value, int):
            weight += value.bit_length() // 7 if value.bit_length() > INT64 else 0
        elif isinstance(value, str) and len(value) <= SHORT and not value.isascii():
            weight += weigh_text(value)
    return weight


def weigh_value(value: Any) -> int:
    """Return the estimated bytes of one cleaned value beyond its entry."""
    if isinstance(value, str):
        return weigh_text(value) if len(value) > SHORT else 0
    if isinstance(value, bytes):
        return len(value) if len(value) > SHORT else 0
    if isinstance(value, tuple):
        return sum(ITEM_WEIGHT + SHORT + weigh_value(item) for item in value)
    if isinstance(value, Mapping):
        return weigh(value)
    return 0


def weigh_text(value: str | None) -> int:
    """Return the bytes of a text in memory: up to four a character, if one of them is wide."""
    if not value:
        return 0
    return len(value) if value.isascii() else value.__sizeof__()
