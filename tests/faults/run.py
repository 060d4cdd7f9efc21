# SPDX-License-Identifier: Apache-2.0
"""Runs every workload, whole and with a fault at every point of our code that it passes; prints what went wrong.

    python -m tests.faults.run native|green [workload ...]

In a process of its own: concurrency and oslo.service's backend are chosen once in a process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

MODE = sys.argv[1]
LEVELS = ("basic", "deep")
ACTIVE = "http.server.active_requests"

if MODE == "green":
    import eventlet

    eventlet.monkey_patch()
    import greenlet

    class TimedOut(eventlet.Timeout):  # type: ignore[misc]
        """A timeout that has come, with a text."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.args = (text,)

    # A killed greenlet, and a timeout, are raised in one of them; signals only in the thread of the hub.
    OTHERS_RAISED: tuple[type[BaseException], ...] = (greenlet.GreenletExit, TimedOut)
    INTERRUPTS: tuple[type[BaseException], ...] = (greenlet.GreenletExit, TimedOut, KeyboardInterrupt)
else:
    OTHERS_RAISED = INTERRUPTS = (KeyboardInterrupt, SystemExit)

from otel_openstack import instrumentation, settings
from otel_openstack.metrics import catalog
from otel_openstack.patching import inventory
from otel_openstack.runtime import notices
from otel_openstack.testing import Telemetry, recording
from otel_openstack.tracing import operations
from otel_openstack.tracing.api_seam import get_context
from tests.faults import points
from tests.faults.bench import Bench
from tests.faults.points import Point, Step, Tracer
from tests.faults.work import RAISED

guards = sys.modules["otel_openstack.patching.guard"]  # the package has a function of this name


class Lines(logging.Handler):
    """What we said in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


LINES = Lines()
OPEN: list[operations.Operation] = []


def watch_operations() -> None:
    """Remember every operation that begins, to find those that never end."""
    begin = operations._begin

    def remembering(*args: Any, **kwargs: Any) -> operations.Operation:
        made = begin(*args, **kwargs)
        OPEN.append(made)
        return made

    operations._begin = remembering


def trace_everywhere() -> None:
    """Trace every thread; in a green process every green thread when it is switched to; and again after each fault."""
    points.everywhere()
    if MODE == "green":
        greenlet.settrace(points.rearm)
    notices._write = lambda _, text: LINES.lines.append(text)
    note = guards.Guard.note

    def noted(*args: Any) -> list[str]:
        points.rearm()
        return note(*args)

    guards.Guard.note = noted
    did = Bench.did

    def told(*args: Any) -> None:
        points.rearm()  # where our code has done without what failed, no guard was told
        did(*args)

    Bench.did = told


class Lab:
    """One workload, set up, at one level."""

    def __init__(self, name: str, workload: Any, telemetry: Telemetry, level: str) -> None:
        self.name, self.level, self.workload = f"{name} at {level}", level, name
        self.telemetry = telemetry
        self.bench = Bench()
        self.problems: list[str] = []
        self._runs = workload(self.bench)
        self.run = next(self._runs)
        self.tracer = Tracer()
        self.results = Counter[str]()
        self.first_of: dict[str, Point | Step] = {}
        self.inventory = {entry.name: entry for entry in inventory.entries()}

    def close(self) -> None:
        for _ in self._runs:
            pass

    def fresh(self) -> None:
        guards.reset()
        LINES.lines.clear()
        OPEN.clear()
        self.telemetry.clear()
        self.bench.story()

    def once(self, what: str, *, aborted: bool = False) -> list[str]:
        """Run, and tell what the service saw; what is left behind is a problem."""
        before = dict(get_context())
        self.aborted = False
        try:
            self.run()
        except BaseException as error:
            self.aborted = True
            if not aborted:
                said = traceback.format_exc()[-900:]
                self.problems.append(f"{self.name}: {what}: the workload raised {error!r} {said}")
        if dict(get_context()) != before:
            self.problems.append(f"{self.name}: {what}: the context is another than before")
            from opentelemetry import context

            context.attach(context.Context(before))
        still = [op for op in OPEN if hasattr(op, "_open") and op._token is not None]
        if still:
            self.problems.append(f"{self.name}: {what}: {len(still)} never ended, as {still[0].span}")
        active = sum(point.value or 0 for point in self.telemetry.points(ACTIVE))
        if active:
            self.problems.append(f"{self.name}: {what}: {active} requests stay active")
        return self.bench.story()

    def recorded(self) -> list[str]:
        return sorted(span.name for span in self.telemetry.spans())

    # -- the passes

    def clean(self) -> None:
        """What is to be expected; run twice, since first times differ."""
        self.once("warm")
        self.fresh()
        self.expected = self.once("clean")
        self.spans = self.recorded()
        if guards.failures():
            self.problems.append(f"{self.name}: failures without a fault: {guards.failures()} {LINES.lines}")
        self.fresh()
        again = self.once("clean again")
        if again != self.expected:
            self.problems.append(f"{self.name}: not the same twice: {difference(self.expected, again)}")
        self.fresh()
        self.tracer.collecting = True
        with self.tracer:
            story = self.once("traced")
        self.tracer.collecting = False
        if story != self.expected:
            self.problems.append(f"{self.name}: not the same traced: {difference(self.expected, story)}")

    def off(self) -> None:
        """With every guard off nothing is recorded."""
        self.fresh()
        for found in guards._guards.values():
            found.on = False
        story = self.once("off")
        if story != self.expected:
            self.problems.append(f"{self.name}: off: another outcome: {difference(self.expected, story)}")
        own = [span.name for span in self.telemetry.spans() if span.scope.startswith("otel_openstack")]
        if own:
            self.problems.append(f"{self.name}: off: spans {own}")
        series = [i.name for i in catalog.instruments() if i.snapshot()]
        if series:
            self.problems.append(f"{self.name}: off: points of {series}")
        if guards.failures():
            self.problems.append(f"{self.name}: off: failures {guards.failures()}")
        guards.reset()

    def inject(self, point: Point | Step, error: type[BaseException]) -> None:
        self.fresh()
        self.tracer.target, self.tracer.error, self.tracer.fired = point, error, 0
        with self.tracer:
            story = self.once(str(point))
        self.tracer.target = None
        if not self.tracer.fired:
            self.results["not passed"] += 1
            return
        self.results["fired"] += 1
        if story != self.expected:
            self.problems.append(f"{self.name}: {point}: another outcome: {difference(self.expected, story)}")
        failures = guards.failures()
        said = [line for line in LINES.lines if "not affected" in line or "cannot be read" in line]
        if sum(failures.values()) != len(said):
            self.problems.append(f"{self.name}: {point}: {failures} counted, {said} said")
        if not failures:
            self.results["swallowed"] += 1
            SWALLOWED.add(point)
        PATCHES.update(failures)
        for name in failures:
            self.first_of.setdefault(name, point)

    def own(self) -> None:
        """What is no Exception passes as it does without us where the service's own parts raise it."""
        if self.workload in NO_OTHERS:
            return
        for kind in OTHERS_RAISED:
            RAISED.append(kind)
            self.fresh()
            for found in guards._guards.values():
                found.on = False
            expected = [*self.once(f"{kind.__name__} raised without us", aborted=True), str(self.aborted)]
            self.fresh()
            story = [*self.once(f"{kind.__name__} raised", aborted=True), str(self.aborted)]
            RAISED.pop()
            if story != expected:
                self.problems.append(f"{self.name}: raises {kind.__name__}: {difference(expected, story)}")
            if guards.failures():
                self.problems.append(f"{self.name}: raises {kind.__name__}: {guards.failures()} {LINES.lines}")

    def limits(self) -> None:
        """Where a patch fails at each pass it is off in the end, said so once, and the others go on."""
        for name, point in self.first_of.items():
            if name in LIMITED:
                continue
            LIMITED.add(name)
            self.fresh()
            self.tracer.target, self.tracer.error, self.tracer.fired = point, points.Injected, 0
            self.tracer.most = sys.maxsize
            with self.tracer:
                for _ in range(guards.LIMIT + 1):
                    story = self.once(f"{point} at each pass")
                    if story != self.expected:
                        self.problems.append(f"{self.name}: {point} always: {difference(self.expected, story)}")
            self.tracer.target, self.tracer.most = None, 1
            watch = guards.guard(name)
            said = [line for line in LINES.lines if f"hook {name} failed" in line]
            if watch.on or len(said) != 2 or watch.failures > guards.LIMIT + FINISHING:
                self.problems.append(f"{self.name}: {point} always: {name} {watch.on} {watch.failures} {said}")
            if inventory.State.OFF not in {e.state for e in inventory.entries() if e.name == name}:
                self.problems.append(f"{self.name}: {name} is not off in the inventory")
            inventory._entries.update(self.inventory)
            LINES.lines.clear()
            story = self.once(f"{name} off")
            if story != self.expected or LINES.lines:
                self.problems.append(f"{self.name}: {name} off alone: {difference(self.expected, story)} {LINES.lines}")

    def interrupts(self) -> None:
        """What comes from outside in the middle of our code goes on to the service, and leaves nothing either.

        A signal's handler raises, a green thread is killed or its time is up; without us it would be raised as well.
        Signals come to the main thread, the others to any.
        """
        for number, point in enumerate(self.tracer.seen):
            if not isinstance(point, Point) or not point.line or point in INTERRUPTED:
                continue
            kind = INTERRUPTS[number % len(INTERRUPTS)]
            if not self.interrupt(point, kind, main_only=True) and self.workload in ELSEWHERE:
                self.interrupt(point, SystemExit, main_only=False)
        self.tracer.target, self.tracer.main_only = None, False
        self.once("set right", aborted=True)  # what the last one has cut off halfway in the service

    def interrupt(self, point: Point, kind: type[BaseException], *, main_only: bool) -> bool:
        """Raise once at a point; returns whether it was passed."""
        self.fresh()
        self.tracer.target, self.tracer.error, self.tracer.fired, self.tracer.main_only = point, kind, 0, main_only
        points.rearm()  # an interrupt passes no guard that would
        what = f"{kind.__name__} at {point}"
        with self.tracer:
            story = self.once(what, aborted=True)
        if not self.tracer.fired:
            return False
        INTERRUPTED.add(point)
        self.results["interrupted" if main_only else "interrupted elsewhere"] += 1
        swallows = self.workload in SWALLOWS or not main_only  # a thread ends without a word
        if not swallows and not self.aborted and not any(kind.__name__ in told for told in story):
            self.problems.append(f"{self.name}: {what}: the service never got it")
        if guards.failures():
            self.problems.append(f"{self.name}: {what}: counted as a failure of ours: {guards.failures()}")
        return True

    def all_points(self) -> None:
        for point in list(self.tracer.seen):
            # A line and a step of a patch once in all, the machinery beneath once for each workload.
            machinery = isinstance(point, Point) and not point.line
            key = (AS.get(self.workload, self.workload), point) if machinery else point
            if key not in FIRED:
                FIRED.add(key)
                self.inject(point, AttributeError if point.line else points.Injected)
        self.limits()
        self.interrupts()
        self.fresh()
        if self.once("afterwards") != self.expected or self.recorded() != self.spans:
            self.problems.append(f"{self.name}: afterwards: not as before: {self.spans} {self.recorded()}")


FIRED: set[object] = set()
# Workloads that are the same to the machinery beneath the hooks.
AS = {"messages_by_rabbitmq": "messages", "identity": "edge", "other_servers": "loaders"}
LIMITED: set[str] = set()
FINISHING = 20  # what was under way when the patch went off still fails in its end
# Where the library waits for ever or long, without us too, when its part of a thread raises what is no Exception.
NO_OTHERS = ("futurist_threads", "thread_pool", "loops", "messages", "messages_by_rabbitmq")
SWALLOWS = ("periodic_tasks",)  # the library catches BaseException round each task
INTERRUPTED: set[Point] = set()
# Whose threads nobody waits for in vain, with or without us, when one ends in the middle. Green threads are ended from
# outside while they are switched out, and our code never switches.
ELSEWHERE = () if MODE == "green" else ("threads",)
SWALLOWED: set[Point | Step] = set()
PATCHES: set[str] = set()
BARE: set[Point] = set()


def difference(expected: list[str], found: list[str]) -> str:
    a, b = Counter(expected), Counter(found)
    return f"missing {list((a - b).elements())[:3]}, more {list((b - a).elements())[:3]}"


def workloads() -> dict[str, Any]:
    from tests.faults import cloud, data, developers, web, work

    directory = Path(tempfile.mkdtemp())
    found = [*work.ALL, web.edge, web.loaders, web.services_of(directory), web.scripts, web.routers,
             web.middleware_of_oslo, web.clients, *data.ALL, *cloud.ALL, *developers.ALL]  # fmt: skip
    if "FAULTS_RABBITMQ" in os.environ:
        found.append(data.messages_by_rabbitmq)
    if MODE == "green":
        from tests.faults import green

        found = [w for w in found if w not in (work.thread_pool, work.subprocesses)] + list(green.ALL)
    return {workload.__name__: workload for workload in found}


@contextmanager
def installed(level: str) -> Iterator[Telemetry]:
    with recording(settings.Settings(level=level, strict=False, slow_call_threshold=60.0)) as telemetry:
        instrumentation.install()
        try:
            yield telemetry
        finally:
            instrumentation.uninstall()


def main() -> None:
    from tests.faults import cloud, work

    work.stand_ins()
    cloud.stand_ins()
    logging.getLogger("otel_openstack").addHandler(LINES)
    logging.getLogger("otel_openstack").propagate = False
    logging.root.addHandler(logging.NullHandler())  # what the services say of their own errors
    watch_operations()
    trace_everywhere()
    from oslo_service import backend

    backend.init_backend(backend.BackendType.EVENTLET if MODE == "green" else backend.BackendType.THREADING)
    chosen = sys.argv[2:]
    problems: list[str] = []
    results: dict[str, Any] = {}
    active: set[str] = set()
    for level in LEVELS:
        with installed(level) as telemetry:
            for name, workload in workloads().items():
                if chosen and name not in chosen:
                    continue
                began = time.monotonic()
                lab = Lab(name, workload, telemetry, level)
                try:
                    lab.clean()
                    lab.off()
                    lab.own()
                    lab.all_points()
                finally:
                    lab.close()
                problems += lab.problems
                BARE.update(lab.tracer.bare)
                results[lab.name] = [len(lab.tracer.seen), dict(lab.results), round(time.monotonic() - began, 2)]
            active |= set(inventory.names(inventory.State.ACTIVE))
    print("OUT:" + json.dumps({
        "problems": problems,
        "results": results,
        "swallowed": sorted(map(str, SWALLOWED)),

        "failed": sorted(PATCHES),
        "active": sorted(active),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
