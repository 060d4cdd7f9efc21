# SPDX-License-Identifier: Apache-2.0
"""What tests look at: the points of an instrument, cumulative, by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otel_openstack.metrics import catalog, cells
from otel_openstack.metrics.instruments import Instrument


@dataclass(frozen=True)
class Point:
    """One series at one moment. A sum or a gauge has a value, a histogram all the rest."""

    attributes: dict[str, Any]
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bucket_counts: tuple[int, ...] | None = None
    boundaries: tuple[float, ...] | None = None


def points(name: str) -> list[Point]:
    """Return the points of the instrument `name`; none if it was not used."""
    instrument = next((found for found in catalog.instruments() if found.name == name), None)
    if instrument is None:
        return []
    return [_point(instrument, instrument.attributes(labels), cell) for labels, cell in instrument.snapshot()]


def _point(instrument: Instrument, attributes: dict[str, Any], cell: cells.Cell) -> Point:
    if not isinstance(instrument.kind, cells.Histogram):
        return Point(attributes, value=cell[cells.VALUE])
    return Point(
        attributes,
        count=instrument.kind.times(cell),
        sum=cell[cells.SUM],
        min=cell[cells.LOW],
        max=cell[cells.HIGH],
        bucket_counts=tuple(cell[cells.FIRST_BUCKET :]),
        boundaries=tuple(instrument.bounds[cells.FIRST_BUCKET :]),
    )
