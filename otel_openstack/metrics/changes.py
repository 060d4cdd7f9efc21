# SPDX-License-Identifier: Apache-2.0
"""Which points of the SDK's own instruments are other than at the last collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import AggregationTemporality, Metric, MetricsData, ScopeMetrics


class Changes:
    """The memory of one reader."""

    def __init__(self) -> None:
        self._marks: dict[tuple[Any, ...], float] = {}

    def scopes(self, data: MetricsData | None, *, changed_only: bool) -> Sequence[ScopeMetrics]:
        """Return what a collection has by scope; with `changed_only` without the points that are as they were."""
        found = data.resource_metrics[0].scope_metrics if data is not None else ()
        changed = [self._scope(scope) for scope in found]
        return [scope for scope in changed if scope.metrics] if changed_only else found

    def _scope(self, scope: ScopeMetrics) -> ScopeMetrics:
        metrics = [self._metric(scope, metric) for metric in scope.metrics]
        return replace(scope, metrics=[metric for metric in metrics if metric.data.data_points])

    def _metric(self, scope: ScopeMetrics, metric: Metric) -> Metric:
        data: Any = metric.data
        if getattr(data, "aggregation_temporality", None) == AggregationTemporality.DELTA:
            return metric
        points = [point for point in data.data_points if self._is_new((scope.scope, metric.name), point)]
        return replace(metric, data=replace(data, data_points=points))

    def _is_new(self, of: tuple[Any, ...], point: Any) -> bool:
        # Values may be lists, which have no hash; their text tells them apart as well.
        key = (*of, repr(sorted((point.attributes or {}).items())))
        mark = point.value if hasattr(point, "value") else point.count
        if self._marks.get(key) == mark:
            return False
        self._marks[key] = mark
        return True
