# SPDX-License-Identifier: Apache-2.0
"""Periodic work of futurist (ironic, neutron's OVN maintenance): each run is a root span `periodic {name}`."""

from __future__ import annotations

from typing import Any

from otel_openstack.instrumentation.background import Turn, function_name
from otel_openstack.patching import Patch


class Run:
    """One run of a work item: the runner returns `(started, finished, failure)` and never raises."""

    def before(self, runner: Any, work: Any) -> Turn:
        function = function_name(work.callback)
        return Turn("periodic", function.rpartition(".")[2] or function, function)

    def finish(self, turn: Turn, result: Any, error: BaseException | None) -> None:
        failure = result[2] if error is None else None
        turn.finish(error if failure is None else _raised(failure))


def _raised(failure: Any) -> BaseException | None:
    from futurist.periodics import NeverAgain

    value = failure.exc_info[1] if failure.exc_info else None
    return None if isinstance(value, NeverAgain) else value


PATCHES: tuple[Patch, ...] = (
    Patch("futurist.periodics", "futurist.periodics", "_Runner.run", group="periodic", hook=Run),
)
