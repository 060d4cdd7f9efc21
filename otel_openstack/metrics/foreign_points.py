# SPDX-License-Identifier: Apache-2.0
"""Points of the SDK's own instruments, which services and other packages make, without secrets in their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from otel_openstack import scrub


def scrubbed(data: MetricsData | None) -> MetricsData | None:
    """Return what a reader that is not ours gets; only a point that changes is made anew."""
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found: Any = metric.data.data_points
                clean = [_point(point) for point in found]
                if any(before is not after for before, after in zip(found, clean, strict=True)):
                    object.__setattr__(metric.data, "data_points", clean)  # frozen, but made for this collection
    return data


def _point(point: Any) -> Any:
    changes: dict[str, Any] = {}
    attributes = _changed(point.attributes)
    if attributes is not None:
        changes["attributes"] = attributes
    exemplars = [_changed(exemplar.filtered_attributes) for exemplar in point.exemplars]
    if any(exemplars):
        changes["exemplars"] = [
            exemplar if clean is None else replace(exemplar, filtered_attributes=clean)
            for exemplar, clean in zip(point.exemplars, exemplars, strict=True)
        ]
    return replace(point, **changes) if changes else point


def _changed(attributes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the scrubbed attributes, None where they are the same."""
    clean = scrub.attributes(attributes or {})
    return clean if any(clean[key] is not value for key, value in (attributes or {}).items()) else None
