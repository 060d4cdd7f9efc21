# SPDX-License-Identifier: Apache-2.0
"""A function of two arguments, called as it is and inside what would measure it."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from typing import Any

from micro import Cases, Made
from micro_metrics import BOUNDARIES, statsd


def _target(first: Any, second: Any) -> Any:
    return first


CALL = "f(1, 2)"


def plain() -> Made:
    return Made(CALL, {"f": _target})


def flag_check() -> Made:
    switch = {"on": False}

    @functools.wraps(_target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not switch["on"]:
            return _target(*args, **kwargs)
        raise AssertionError

    return Made(CALL, {"f": wrapper})


def empty_wrapt() -> Made:
    import wrapt

    @wrapt.decorator
    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return Made(CALL, {"f": wrapper(_target)})


def osprofiler_inactive() -> Made:
    from osprofiler import profiler

    return Made(CALL, {"f": profiler.trace("bench")(_target)})


def sdk_histogram() -> Made:
    from micro_metrics import sdk_points
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader], shutdown_on_exit=False).get_meter("bench")
    record = meter.create_histogram("bench", explicit_bucket_boundaries_advisory=BOUNDARIES).record

    @functools.wraps(_target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return _target(*args, **kwargs)
        finally:
            record(time.perf_counter() - start, {"code.function.name": "target"})

    return Made(CALL, {"f": wrapper}, lambda: sum(point.count for point in sdk_points(reader)))


def tach_like() -> Made:
    made = statsd("timing", "f('bench', 42)")
    timing: Any = made.uses["f"]

    @functools.wraps(_target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start = time.time()
        try:
            return _target(*args, **kwargs)
        finally:
            timing("bench", (time.time() - start) * 1000)

    return Made(CALL, {"f": wrapper}, made.found, collect=made.collect)


def ours(case: str) -> Made:
    """Return a case of `decorators.py`, which has declared its instruments."""
    import decorators

    from otel_openstack import use_registry

    if not _declared:
        file = tempfile.NamedTemporaryFile("w", suffix=".yaml")  # noqa: SIM115 read at the first use
        file.write(decorators.REGISTRY)
        file.flush()
        use_registry(file.name)
        _declared.append(file)
    return Made("f(thing, 1)", {"f": getattr(decorators, case)(), "thing": decorators.THING}, _found(case))


def _found(case: str) -> Callable[[], int] | None:
    from otel_openstack import metrics

    name = {"timed": "bench.duration", "counted": "bench.calls"}.get(case)
    if name is None:
        return None
    # Of a counter the value is the number of calls.
    return lambda: sum(getattr(point, "count", None) or int(point.value) for point in metrics.testing_points(name))


_declared: list[Any] = []

CASES: Cases = {
    "decorated function": {
        "nothing": plain,
        "ours, off": lambda: ours("off"),
        "ours, timed": lambda: ours("timed"),
        "ours, counted": lambda: ours("counted"),
        "a flag check": flag_check,
        "an empty wrapt wrapper": empty_wrapt,
        "osprofiler, inactive": osprofiler_inactive,
        "otel sdk": sdk_histogram,
        "Tach-like, statsd": tach_like,
    }
}
