# SPDX-License-Identifier: Apache-2.0
"""Trace and span ids from a random source of this process only.

The source is seeded from the system in every process: a random object that was made before a fork would hand the same
ids to every worker, and uWSGI forks without telling Python, so the fork hooks of `random` do not help there.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from opentelemetry.sdk.trace.id_generator import IdGenerator

from otel_openstack.runtime import process

# Called with a number of bits. Rebound in every process: take it from this module at each call, never keep it.
bits: Callable[[int], int]


def reseed() -> None:
    """Start a random sequence that no other process has."""
    global bits
    bits = random.Random(os.urandom(32)).getrandbits  # noqa: S311 (ids are names, not secrets)


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
