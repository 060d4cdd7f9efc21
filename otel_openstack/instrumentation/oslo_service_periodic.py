# SPDX-License-Identifier: Apache-2.0
"""Periodic tasks of oslo.service: each run of each task is a root span `periodic {task}`, with its duration and lag.

`run_periodic_tasks` is one loop over the manager's tasks, so the tasks themselves are wrapped, in a list that hides the
class's for the time of the call: the class stays as it is (its tasks are pickled by reference for parallel runs).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from otel_openstack.instrumentation.background import LAG, Turn, function_name
from otel_openstack.patching import Guard, Patch, finished, guard

RUN = "oslo_service.periodic_task"

Tasks = list[tuple[str, Callable[..., Any]]]


def _wrapped(name: str, task: Callable[..., Any], due: float | None, watch: Guard) -> Callable[..., Any]:
    @functools.wraps(task)  # with the _periodic_* attributes that the loop reads
    def run(*args: Any, **kwargs: Any) -> Any:
        turn = None
        if watch.on:
            with watch:
                _record_lag(name, due)
                turn = Turn("periodic", name, function_name(task))
        try:
            result = task(*args, **kwargs)
        except BaseException as error:
            if turn is not None:
                finished(watch, turn, turn.finish, error)
            raise
        if turn is not None:
            finished(watch, turn, turn.finish)
        return result

    return run


def _record_lag(name: str, due: float | None) -> None:
    from oslo_service import periodic_task

    if due is not None:
        LAG.record(max(0.0, periodic_task.now() - due), name)


def _tasks(manager: Any, watch: Guard) -> Tasks:
    last, spacing = manager._periodic_last_run, manager._periodic_spacing
    return [
        (name, _wrapped(name, task, last[name] + spacing[name] if last.get(name) is not None else None, watch))
        for name, task in manager._periodic_tasks
    ]


def replace_run(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `PeriodicTasks.run_periodic_tasks(context, raise_on_error=False)`."""
    watch = guard(RUN)

    @functools.wraps(original)
    def run_periodic_tasks(*args: Any, **kwargs: Any) -> Any:
        tasks: Tasks | None = None
        if watch.on:
            with watch:
                manager = args[0]
                if "_periodic_tasks" not in vars(manager):
                    manager._periodic_tasks = tasks = _tasks(manager, watch)
        if tasks is None:
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            vars(manager).pop("_periodic_tasks", None)

    return run_periodic_tasks


PATCHES: tuple[Patch, ...] = (
    Patch(
        RUN,
        "oslo_service.periodic_task",
        "PeriodicTasks.run_periodic_tasks",
        group="periodic",
        replace=replace_run,
    ),
)
