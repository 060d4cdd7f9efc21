# SPDX-License-Identifier: Apache-2.0
"""Attributes as a span keeps them: cleaned as the SDK cleans them, weighed for the queue.

Values of the exact types in `SCALARS` need no cleaning; everything else (sequences, mappings, subclasses, foreign
types, texts above the limit) goes through the SDK's own `BoundedAttributes`, which freezes it, converts it or warns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.attributes import BoundedAttributes

SCALARS = frozenset({str, int, float, bool, type(None)})
TEXTLESS = SCALARS - {str}

# Texts up to this many characters need no weighing: ENTRY_WEIGHT holds them.
SHORT = 64
# Estimated bytes of an entry with a short text, and of a number inside a sequence.
ENTRY_WEIGHT = 160
ITEM_WEIGHT = 32


def clean(
    attributes: Mapping[str, Any] | None, count_limit: int | None, length_limit: int | None
) -> tuple[dict[str, Any], int]:
    """Return the attributes as the SDK would keep them, and how many it drops."""
    if not attributes:
        return {}, 0
    bounded = BoundedAttributes(count_limit, attributes, immutable=False, max_value_len=length_limit)
    return dict(bounded.copy()), bounded.dropped


def weigh(attributes: Mapping[str, Any]) -> int:
    """Return the estimated bytes that `attributes` hold."""
    return ENTRY_WEIGHT * len(attributes) + weigh_values(attributes)


def weigh_values(attributes: Mapping[str, Any]) -> int:
    """Return the estimated bytes that the values of `attributes` hold beyond their entries."""
    return sum(weigh_value(value) for value in attributes.values())


def weigh_value(value: Any) -> int:
    """Return the estimated bytes of one cleaned value beyond its entry."""
    if isinstance(value, str | bytes):
        return len(value) if len(value) > SHORT else 0
    if isinstance(value, tuple):
        return sum(ITEM_WEIGHT + SHORT + weigh_value(item) for item in value)
    if isinstance(value, Mapping):
        return weigh(value)
    return 0
