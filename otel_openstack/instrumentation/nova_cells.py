# SPDX-License-Identifier: Apache-2.0
"""nova's scatter-gather: the work in the cells is waited for; how long, and what went wrong in one of them."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from otel_openstack import metrics
from otel_openstack.instrumentation.oslo_messaging_client import error_type
from otel_openstack.levels import Level
from otel_openstack.patching import Patch
from otel_openstack.tracing import tasks

WAIT = metrics.histogram("openstack.rpc.client.reply.wait.duration")

# A cell that did not answer is no exception in nova but a sentinel among the results.
NO_ANSWER = "nova.exception.CellTimeout"


class Awaited:
    """The tasks in the cells are part of the request that gathers them, also where that is a cast."""

    def before(self, *_args: Any, **_kwargs: Any) -> Any:
        return tasks.Awaited()

    def finish(self, waiting: tasks.Awaited, result: Any, error: BaseException | None) -> None:
        waiting.let_go()


class ScatterGather:
    """Times `scatter_gather_cells`, which returns a dict of results, exceptions and sentinels by cell."""

    def before(self, *_args: Any, **_kwargs: Any) -> float:
        return perf_counter()

    def finish(self, start: float, result: Any, error: BaseException | None) -> None:
        kind = error_type(error) if error is not None else _failure(result)
        WAIT.record(perf_counter() - start, "multicall", kind)


def _failure(results: dict[Any, Any]) -> str | None:
    silent = getattr(sys.modules.get("nova.context"), "did_not_respond_sentinel", None)
    failures = [value for value in results.values() if value is silent or isinstance(value, Exception)]
    if not failures:
        return None
    return NO_ANSWER if any(value is silent for value in failures) else error_type(failures[0])


PATCHES: tuple[Patch, ...] = (
    Patch("nova.scatter_gather.tasks", "nova.context", "scatter_gather_cells", group="rpc", hook=Awaited),
    Patch(
        "nova.scatter_gather",
        "nova.context",
        "scatter_gather_cells",
        level=Level.DETAILED,
        group="rpc",
        hook=ScatterGather,
    ),
)
