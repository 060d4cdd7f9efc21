# SPDX-License-Identifier: Apache-2.0
"""The hook before privsep's daemon, which takes everything of ours out of the process: each line fails in a child.

    python -m tests.faults.ends

Of the daemon only its loop is left out, which needs privileges. Prints what went wrong, and how many lines failed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import warnings
from types import FrameType

from oslo_privsep import daemon as privsep

from otel_openstack import instrumentation, settings
from otel_openstack.testing import recording
from tests.faults import points
from tests.faults.points import Point, Step, Tracer

warnings.simplefilter("ignore")

LOOPED = "looped"


def loop(_: object) -> None:
    """Stand for the daemon's loop."""
    print(LOOPED, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)


class Telling(Tracer):
    """Tells at once: what it is in has no end of its own."""

    def _passed(self, frame: FrameType, point: Point | Step) -> None:
        if isinstance(point, Point) and points.under_guard(frame):
            if self.collecting:
                print(*point, flush=True)
            elif point == self.target:
                print("raised", flush=True)
        super()._passed(frame, point)


def child(tracer: Tracer) -> tuple[int, list[str]]:
    """Run the daemon in a child; return how it ended, and what was told."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 1)
        with tracer:
            privsep.Daemon.run(object.__new__(privsep.Daemon))
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    return os.waitpid(pid, 0)[1], text.splitlines()


def faults() -> tuple[int, list[str]]:
    """Return the number of lines that failed, and what was not as without a fault."""
    tracer = Telling()
    tracer.collecting = True
    found, told = child(tracer)
    problems = [] if (found, told[-1:]) == (signal.SIGTERM, [LOOPED]) else [f"without a fault: {found}, {told}"]
    seen = {Point(file, function, int(line)) for file, function, line in map(str.split, set(told[:-1]))}
    tracer.collecting = False
    raised = 0
    for point in sorted(seen):
        if point.line in points.untouched_lines(point.file):
            continue
        tracer.target, tracer.error, tracer.fired = point, points.Injected, 0
        found, told = child(tracer)
        raised += told[:1] == ["raised"]
        if found != signal.SIGTERM or told.count(LOOPED) != 1:
            problems.append(f"{point}: {found}, {told}")
    return raised, problems


def main() -> None:
    privsep.Daemon.run = loop
    logging.getLogger("otel_openstack").addHandler(logging.NullHandler())
    logging.getLogger("otel_openstack").propagate = False
    with recording(settings.Settings(strict=False)):
        instrumentation.install()
        found = faults()
    print("OUT:" + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
