# SPDX-License-Identifier: Apache-2.0
"""What the registry says about one instrument."""

from __future__ import annotations

from typing import NamedTuple


class Instrument(NamedTuple):
    """One row of the registry."""

    name: str
    kind: str
    """histogram, counter, updowncounter or gauge"""
    unit: str
    """UCUM: s, By, or an annotation such as {error}"""
    description: str
    attributes: tuple[str, ...]
    """Names of attributes, in the order of the positional labels of a bound instrument."""
    level: str
    """basic, detailed or deep"""
    boundaries: tuple[float, ...] | None
    """Upper bounds of a histogram's buckets, in the unit; None for other kinds."""
    observable: bool
    """Read at collection by a callback, instead of being recorded."""
    limit: int
    """The most series a process keeps; what comes beyond is added up in one overflow series."""
    stability: str
    """stable, release_candidate or development"""
    dimensions: tuple[str, ...] = ()
    """Attributes of the request that stand behind the others where an operator chose them (`metric_dimensions`)."""
