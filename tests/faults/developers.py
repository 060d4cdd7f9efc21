# SPDX-License-Identifier: Apache-2.0
"""Workloads: what developers of services measure themselves, by decorators and in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from otel_openstack import counted, event, timed, traced
from otel_openstack.developer import blocks, names
from tests.faults.bench import Bench
from tests.faults.work import Runs, fails

FILE = Path(__file__).parents[1] / "developer" / "telemetry.yaml"
DURATION, BUILDS, BUILD = "demo.build.duration", "demo.builds", "demo.build"
FLAVOR = {"demo.flavor": "server.flavor"}
SIZED = FLAVOR | {"demo.size": "result[0]"}
SERVER = SimpleNamespace(flavor="tiny")


def measured(function: Any) -> Any:
    for measure in (event(BUILD, SIZED), counted(BUILDS, FLAVOR), timed(DURATION, FLAVOR)):
        function = measure(function)
    return traced(BUILD, SIZED)(function)


def decorated(bench: Bench) -> Runs:
    names.add(str(FILE))

    @measured
    def build(server: Any, fail: bool = False) -> list[int]:
        bench.did("build")
        return fails() if fail else [3]  # type: ignore[no-any-return]

    @timed(DURATION)
    def quick(server: Any) -> str:
        bench.did("quick")
        return "done"

    class Manager:
        @classmethod
        @measured
        def of_class(cls, server: Any) -> list[int]:
            bench.did(cls.__name__)
            return [1]

        @property
        @counted(BUILDS)
        def state(self) -> str:
            bench.did("state")
            return "active"

    def run() -> None:
        bench.call("build", build, SERVER)
        bench.call("build fails", build, SERVER, fail=True)
        bench.call("quick", quick, SERVER)
        bench.call("of class", Manager.of_class, SERVER)
        bench.call("state", lambda: Manager().state)
        bench.call("afterwards", bench.current)

    yield run
    names.forget()


def resumed(bench: Bench) -> Runs:
    names.add(str(FILE))

    @measured
    def steps(server: Any, fail: bool = False) -> Iterator[int]:
        for number in range(3):
            bench.did(("step", number))
            yield number
        if fail:
            fails()

    @measured
    async def rebuild(server: Any, fail: bool = False) -> list[int]:
        bench.did("rebuild")
        return fails() if fail else [3]  # type: ignore[no-any-return]

    def run() -> None:
        bench.call("steps", lambda: list(steps(SERVER)))
        bench.call("steps fail", lambda: list(steps(SERVER, fail=True)))
        bench.call("a step", _left, steps(SERVER))
        bench.call("rebuild", _driven, rebuild(SERVER))
        bench.call("rebuild fails", _driven, rebuild(SERVER, fail=True))
        bench.call("afterwards", bench.current)

    yield run
    names.forget()


def blocked(bench: Bench) -> Runs:
    names.add(str(FILE))

    def work(fail: bool) -> str:
        with traced(BUILD, values={"demo.flavor": "tiny"}) as span, timed(DURATION), event(BUILD), counted(BUILDS):
            bench.did("block")
            span.set("demo.size", 3)
            return fails() if fail else "done"  # type: ignore[no-any-return]

    def run() -> None:
        bench.call("block", work, False)
        bench.call("block fails", work, True)
        bench.call("afterwards", bench.current)

    yield run
    blocks.forget()
    names.forget()


def _left(steps: Iterator[int]) -> int:
    """Take one step, and have enough."""
    first = next(steps)
    steps.close()  # type: ignore[attr-defined]
    return first


def _driven(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for nothing")


ALL = (decorated, resumed, blocked)
