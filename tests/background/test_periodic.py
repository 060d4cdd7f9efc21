# SPDX-License-Identifier: Apache-2.0
"""Periodic tasks of oslo.service and of futurist: a root span each run, duration, lag, errors."""

from __future__ import annotations

import pytest

from tests.background.service import run

BACKENDS = pytest.mark.parametrize("eventlet", [False, True], ids=["threading", "eventlet"])

MANAGER = """
from oslo_config import cfg
from oslo_service import periodic_task
class Manager(periodic_task.PeriodicTasks):
    ran = 0
    @periodic_task.periodic_task(spacing=1, run_immediately=True)
    def update_available_resource(self, context):
        Manager.ran += 1
        assert context == "ctxt"
        call()
    @periodic_task.periodic_task(spacing=1, run_immediately=True)
    def _sync_power_states(self, context):
        raise ValueError("bad")
    @periodic_task.periodic_task(spacing=100)
    def not_due(self, context):
        raise AssertionError
tasks = list(Manager._periodic_tasks)
manager = Manager(cfg.ConfigOpts())
"""


def script(body: str) -> str:
    import textwrap

    return MANAGER + textwrap.dedent(body)


@BACKENDS
def test_each_task_is_a_trace_of_its_own(eventlet: bool) -> None:
    tree, traces, errors, durations, untouched, idle = run(
        script(
            """
            request = tracing.root("test", "request", SpanKind.SERVER)  # a thread that a request started
            idle = manager.run_periodic_tasks("ctxt")
            request.finish()
            span = seen.span("periodic update_available_resource")
            assert span.attributes["code.function.name"] == "Manager.update_available_resource"
            assert seen.span("request").attributes.get("openstack.http.calls") is None
            show([tree(), traces(), [seen.span("periodic _sync_power_states").status,
                  seen.span("periodic _sync_power_states").attributes["error.type"]], durations(),
                  tasks == Manager._periodic_tasks == manager._periodic_tasks, idle])
            """
        ),
        eventlet=eventlet,
    )
    assert tree == [
        ["GET", "periodic update_available_resource"],
        ["periodic _sync_power_states", None],
        ["periodic update_available_resource", None],
        ["request", None],
    ]
    assert traces == 3
    assert errors == ["ERROR", "ValueError"]
    assert durations == {"_sync_power_states": 1, "update_available_resource": 1}
    assert untouched
    assert idle == 1


def test_the_lag_is_what_a_task_is_late() -> None:
    lags = run(
        script(
            """
            manager.run_periodic_tasks("ctxt")
            assert not seen.points("openstack.periodic_task.lag")  # the first run is never late
            manager._periodic_last_run["update_available_resource"] = periodic_task.now() - 6
            manager.run_periodic_tasks("ctxt")
            points = seen.points("openstack.periodic_task.lag")
            show({point.attributes["openstack.periodic_task.name"]: point.sum for point in points})
            """
        )
    )
    assert 5 <= lags["update_available_resource"] < 6
    assert set(lags) == {"update_available_resource"}


def test_an_error_that_is_to_be_raised_is_raised() -> None:
    assert run(
        script(
            """
            try:
                manager.run_periodic_tasks("ctxt", raise_on_error=True)
            except ValueError:
                show(["raised", tasks == manager._periodic_tasks])
            """
        )
    ) == ["raised", True]


def test_tasks_under_a_dynamic_timer_leave_no_empty_loop_spans() -> None:
    """As nova's services run them."""
    assert run(
        script(
            """
            from oslo_service import threadgroup
            class Service:
                def periodic_tasks(self):
                    return manager.run_periodic_tasks("ctxt")
            group = threadgroup.ThreadGroup()
            group.add_dynamic_timer(Service().periodic_tasks, periodic_interval_max=0.05)
            seen.wait(lambda: durations().get("Service.periodic_tasks", 0) >= 1)
            group.stop()
            show(names())
            """
        )
    ) == ["GET", "periodic _sync_power_states", "periodic update_available_resource"]


FUTURIST = """
import threading, futurist
from futurist import periodics
class Maintenance:
    done = 0
    @periodics.periodic(0.01, run_immediately=True)
    def check_ports(self):
        Maintenance.done += 1
        call()
    @periodics.periodic(0.01, run_immediately=True)
    def once(self):
        raise periodics.NeverAgain()
    @periodics.periodic(10, run_immediately=True)
    def broken(self):
        raise ValueError("bad")
worker = periodics.PeriodicWorker.create([Maintenance()])
thread = threading.Thread(target=worker.start, daemon=True)
request = tracing.root("test", "request", SpanKind.SERVER)
thread.start()
seen.wait(lambda: Maintenance.done >= 2)
request.finish()
worker.stop()
thread.join(10)
status = {span.name: span.status for span in seen.spans()}
show([sorted([name, parent] for name, parent in set(map(tuple, tree()))), status])
"""


def test_periodic_work_of_futurist() -> None:
    tree, status = run(FUTURIST)
    assert tree == [
        ["GET", "periodic check_ports"],
        ["periodic broken", None],
        ["periodic check_ports", None],
        ["periodic once", None],
        ["request", None],
    ]
    assert status["periodic broken"] == "ERROR"
    assert status["periodic once"] == "UNSET"
