# SPDX-License-Identifier: Apache-2.0
"""Looping calls on both backends of oslo.service: whose work a turn is, and what it leaves."""

from __future__ import annotations

import pytest

from tests.background.service import run

BACKENDS = pytest.mark.parametrize("eventlet", [False, True], ids=["threading", "eventlet"])


@BACKENDS
def test_each_turn_is_a_trace_of_its_own(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import loopingcall
        class Driver:
            turns = 0
            def _report_state(self):
                self.turns += 1
                call()
                if self.turns == 3:
                    raise loopingcall.LoopingCallDone("kept")
        driver = Driver()
        loop = loopingcall.FixedIntervalLoopingCall(driver._report_state)
        returned = loop.start(interval=0.01).wait()
        span = seen.spans("loop Driver._report_state")[0]
        show([tree(), traces(), durations(), returned, loop.f == driver._report_state,
              {s.status for s in seen.spans()} == {"UNSET"}, dict(span.attributes)])
        """,
        eventlet=eventlet,
    )
    tree, traces, durations, returned, restored, unset, attributes = result
    name = "loop Driver._report_state"
    assert tree == [["GET", name]] * 3 + [[name, None]] * 3
    assert traces == 3
    assert durations == {"Driver._report_state": 3}
    assert returned == "kept"
    assert restored
    assert unset
    assert attributes.pop("openstack.http.duration") >= 0
    assert attributes == {"openstack.periodic_task.name": "Driver._report_state", "openstack.http.calls": 1}


@BACKENDS
def test_an_idle_turn_leaves_its_duration_only(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import loopingcall
        from opentelemetry import trace
        turns = []
        def idle():
            turns.append(trace.get_current_span().get_span_context().is_valid)
            if len(turns) == 4:
                raise loopingcall.LoopingCallDone()
        loopingcall.DynamicLoopingCall(idle).start(periodic_interval_max=0.01).wait()
        show([names(), durations(), turns, trace.get_current_span().get_span_context().is_valid])
        """,
        eventlet=eventlet,
    )
    assert result == [[], {"idle": 4}, [True] * 4, False]


@BACKENDS
def test_a_turn_under_which_others_traced_is_kept(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import loopingcall
        from opentelemetry import trace
        turns = []
        def otherwise_idle():
            turns.append(1)
            if len(turns) == 2:
                with trace.get_tracer("someone's").start_as_current_span("foreign"):
                    pass
            if len(turns) == 3:
                raise loopingcall.LoopingCallDone()
        loopingcall.FixedIntervalLoopingCall(otherwise_idle).start(interval=0.01).wait()
        show([tree(), durations()])
        """,
        eventlet=eventlet,
    )
    name = "loop otherwise_idle"
    assert result == [[["foreign", name], [name, None]], {"otherwise_idle": 3}]


@BACKENDS
def test_an_error_ends_the_loop_and_marks_the_turn(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import loopingcall
        def breaks():
            raise ValueError("bad")
        try:
            loopingcall.FixedIntervalLoopingCall(breaks).start(interval=0.01).wait()
        except ValueError as error:
            raised = str(error)
        span = seen.span("loop breaks")
        (point,) = seen.points("openstack.periodic_task.duration")
        show([raised, span.status, span.attributes["error.type"], point.attributes["error.type"]])
        """,
        eventlet=eventlet,
    )
    assert result == ["bad", "ERROR", "ValueError", "ValueError"]


@BACKENDS
def test_a_loop_that_a_request_waits_for_is_its_work(eventlet: bool) -> None:
    """A driver that polls until an instance runs, or a retry decorator: the calls belong to the request's trace."""
    result = run(
        """
        from oslo_service import loopingcall
        turns = []
        def poll():
            turns.append(1)
            call()
            if len(turns) == 3:
                raise loopingcall.LoopingCallDone()
        @loopingcall.RetryDecorator(max_retry_count=1, exceptions=(ValueError,))
        def retried():
            call("retried")
        request = tracing.root("test", "request", SpanKind.SERVER)
        loopingcall.FixedIntervalLoopingCall(poll).start(interval=0.01).wait()
        retried()
        request.finish()
        show([tree(), seen.span("request").attributes["openstack.http.calls"]])
        """,
        eventlet=eventlet,
    )
    assert result == [[*[["GET", "request"]] * 3, ["request", None], ["retried", "request"]], 4]


@BACKENDS
def test_a_loop_that_a_request_leaves_behind_has_its_own_traces(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import loopingcall
        turns = []
        def beat():
            turns.append(1)
            call()
            if len(turns) == 2:
                raise loopingcall.LoopingCallDone()
        request = tracing.root("test", "request", SpanKind.SERVER)
        done = loopingcall.FixedIntervalLoopingCall(beat).start(interval=0.01, initial_delay=0.1)
        request.finish()
        done.wait()
        show([tree(), traces()])
        """,
        eventlet=eventlet,
    )
    assert result == [[["GET", "loop beat"]] * 2 + [["loop beat", None]] * 2 + [["request", None]], 3]


@BACKENDS
def test_timers_of_a_thread_group_are_loops(eventlet: bool) -> None:
    result = run(
        """
        from oslo_service import threadgroup
        class Service:
            beats = 0
            def report_state(self, member):
                Service.beats += 1
                call()
        group = threadgroup.ThreadGroup()
        group.add_timer_args(0.02, Service().report_state, args=["me"])
        seen.wait(lambda: Service.beats >= 2)
        group.stop()
        seen.wait(lambda: len(seen.spans("loop Service.report_state")) >= 2)
        show(set(names()) == {"GET", "loop Service.report_state"})
        """,
        eventlet=eventlet,
    )
    assert result is True


def test_functions_have_names_without_addresses() -> None:
    import functools

    from otel_openstack.instrumentation.background import function_name

    class Callable:
        def __call__(self) -> None: ...

    def inner() -> None: ...

    prefix = "test_functions_have_names_without_addresses"
    assert function_name(inner) == f"{prefix}.inner"
    assert function_name(functools.partial(functools.partial(inner))) == f"{prefix}.inner"
    assert function_name(Callable()) == f"{prefix}.Callable"
    assert function_name(lambda: None) == f"{prefix}.<lambda>"
