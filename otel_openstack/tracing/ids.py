# SPDX-License-Identifier: Apache-2.0
"""Trace and span ids from a random source of this process only.

The source is seeded from the system in every process: a random object that was made before a fork would hand the same
ids to every worker, and uWSGI forks without telling Python, so the fork hooks of `random` do not help there.
"""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Callable, Iterator

from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_openstack.runtime import process

STOCK = 256

# Rebound in every process: take them from this module at each use, never keep them.
# Called with a number of bits.
bits: Callable[[int], int]
# Numbers of 64 bits made in advance, half the price: `next(ids.numbers, 0) or ids.more()` is a span id.
numbers: Iterator[int]


def more() -> int:
    """Return a span id, never zero, and stock more of them."""
    global numbers
    fresh = iter(array("Q", os.urandom(8 * STOCK)))
    found = next(filter(None, fresh), 1)
    numbers = fresh
    return found


def reseed() -> None:
    """Start a random sequence that no other process has."""
    global bits, numbers
    bits = random.Random(os.urandom(32)).getrandbits  # noqa: S311 (ids are names, not secrets)
    numbers = iter(())


class ProcessIdGenerator(IdGenerator):
    """The same source behind the SDK's interface, for code that asks the provider for its id generator."""

    def generate_span_id(self) -> int:
        """Return a span id, never zero."""
        process.ensure()
        return bits(64) or 1

    def generate_trace_id(self) -> int:
        """Return a trace id, never zero."""
        process.ensure()
        return bits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Return True: all bits are random."""
        return True


reseed()
process.on_child(reseed)
