# SPDX-License-Identifier: Apache-2.0
"""What a measurement costs through the log stream, beside the direct path: instructions and nanoseconds a call.

    python benchmarks/metric_logging.py

The blueprint's open question. Instructions are counted under callgrind (see callgrind.py), nanoseconds are the best of
several rounds. Every case checks that what it logged has arrived where it leads to.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import callgrind

N = 1000
CHUNK = 50  # calls that are timed in one go: short, so that some are not interrupted
ROUNDS = 20
ATTRIBUTES = {"flavor": "m1.tiny", "host": "compute-1"}


class Case:
    """One way of a measurement: `call` takes one, `arrived` says how many have come through, `reset` empties it."""

    chunk = CHUNK

    def __init__(self, call: Callable[[], object], arrived: Callable[[], int], reset: Callable[[], object]) -> None:
        self.call, self.arrived, self.reset = call, arrived, reset


def cases() -> dict[str, Case]:
    from otel_openstack import metric_logging, metrics, settings
    from otel_openstack.metrics import catalog
    from otel_openstack.runtime import originals, process, worker
    from otel_openstack.semconv.model import Instrument
    from otel_openstack.tracing import events

    settings.use(settings.Settings(switch_file=""))
    process.ensure()
    events.wanted = True
    worker.wake = lambda _="": None
    made: dict[str, Case] = {}

    model = Instrument(
        "bench.build", "histogram", "s", "", ("flavor", "host"), "basic", (0.1, 1.0, 10.0), False, 100, ""
    )
    catalog.describe(model)
    instrument = metrics.histogram("bench.build")

    def points() -> int:
        return sum(point.count or 0 for point in metrics.testing_points("bench.build"))

    bound = instrument.bind("m1.tiny", "compute-1")
    made["direct, bound"] = Case(lambda: bound(1.25), points, metrics.reset)
    made["direct, two attributes"] = Case(
        lambda: instrument.record(1.25, "m1.tiny", "compute-1"), points, metrics.reset
    )

    def logged(name: str, handler: logging.Handler | None, **more: Any) -> Callable[[], object]:
        log, target = metric_logging.get_logger(name), logging.getLogger(f"metrics.{name}")
        target.setLevel(metric_logging.METRIC if handler is not None else logging.WARNING)
        target.propagate = False
        if handler is not None:
            target.addHandler(handler)
        return lambda: log.metric("bench.build", 1.25, "histogram", "s", ATTRIBUTES)

    made["log, level off"] = Case(logged("off", None), lambda: N, lambda: None)
    counting = Counting()
    made["log, record made and thrown away"] = Case(logged("made", counting), lambda: counting.seen, counting.reset)
    for name, formatter in (
        ("line of statsd", metric_logging.StatsdFormatter()),
        ("line of DogStatsD", metric_logging.DogStatsdFormatter()),
        ("JSON", metric_logging.JSONFormatter()),
    ):
        handler = metric_logging.DatagramHandler(
            f"127.0.0.1:{receiver.getsockname()[1]}", queue_bytes=2**30, packets_per_second=0, interval=3600.0
        )
        handler.setFormatter(formatter)
        made[f"log, {name}, queued"] = Case(
            logged(name, handler), lambda h=handler: len(h.lines), lambda h=handler: h.begin()
        )
        made[f"export thread, {name}, packed and sent"] = Sending(handler, originals.monotonic)
    made["log, point of OTLP"] = Case(logged("points", metric_logging.OTLPHandler()), points, metrics.reset)
    made["log, event of OTLP, queued"] = Case(
        logged("events", metric_logging.OTLPHandler("logs")), lambda: len(events.queue), events.queue.clear
    )
    events.queue.most_bytes = 2**30
    made |= of_logging()
    return made


class Counting(logging.Handler):
    """Does nothing with a record."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def handle(self, record: logging.LogRecord) -> bool:
        self.seen += 1
        return True

    def reset(self) -> None:
        self.seen = 0


class Sending(Case):
    """The export thread's part for one line: packing and sending of a batch, divided by its lines."""

    chunk = N

    def __init__(self, handler: Any, clock: Callable[[], float]) -> None:
        self._handler, self._clock = handler, clock
        self._done = 0
        self._line = handler.format(record())
        super().__init__(self._run, lambda: self._done, self._begin)

    def _begin(self) -> None:
        self._handler.begin()
        self._handler.lines.extend([self._line] * N)
        self._done = 0

    def _run(self) -> None:
        if self._handler.lines:
            self._handler._job.run(self._clock() + 60, False)
            self._done = N


def record() -> logging.LogRecord:
    from otel_openstack import metric_logging

    made = logging.makeLogRecord({"levelno": metric_logging.METRIC, "levelname": "METRIC", "name": "bench"})
    made.metric = metric_logging.Measurement("bench.build", 1.25, "histogram", "s", ATTRIBUTES)
    return made


def of_logging() -> dict[str, Case]:
    """What `logging` itself offers."""
    text = io.StringIO()
    stream = logging.StreamHandler(text)
    stream.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"))
    pickled = logging.handlers.DatagramHandler("127.0.0.1", receiver.getsockname()[1])
    found = {}
    for name, handler in (("text to a stream", stream), ("pickled datagram, sent at once", pickled)):
        log = logging.getLogger(f"plain.{name}")
        log.propagate = False
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        found[f"logging's own: {name}"] = Case(
            lambda log=log: log.info("bench.build %s s flavor=%s host=%s", 1.25, "m1.tiny", "compute-1"),
            (lambda: text.getvalue().count("\n")) if handler is stream else lambda: N,
            (lambda: (text.seek(0), text.truncate())) if handler is stream else lambda: None,
        )
    return found


def repeat(case: Case, times: int = N) -> None:
    call = case.call
    for _ in range(times):
        call()


def checked(name: str, case: Case) -> None:
    case.reset()
    repeat(case)
    if case.arrived() != N:
        sys.exit(f"{name}: of {N} measurements {case.arrived()} arrived")
    case.reset()


def count() -> None:
    """Inside callgrind: count each case."""
    requests = callgrind.Requests()
    for name, case in cases().items():
        checked(name, case)
        requests.count(name, lambda case=case: repeat(case))
        case.reset()


def timed() -> dict[str, float]:
    """Return nanoseconds a call, the best of the rounds; cases take turns."""
    known = cases()
    best = dict.fromkeys(known, float("inf"))
    for name, case in known.items():
        checked(name, case)
    for _ in range(ROUNDS):
        for name, case in known.items():
            case.reset()
            for _ in range(N // case.chunk):
                before = time.perf_counter_ns()
                repeat(case, case.chunk)
                best[name] = min(best[name], (time.perf_counter_ns() - before) / case.chunk)
    return best


def main() -> None:
    if sys.argv[1:] == ["count"]:
        count()
        return
    times = timed()
    counted = {} if callgrind.missing() else callgrind.counts(Path(__file__), ["count"])
    print(f"{'instructions':>12} {'ns':>8}  a call")
    for name, nanoseconds in times.items():
        instructions = f"{counted[name] / N:,.0f}" if name in counted else "-"
        print(f"{instructions:>12} {nanoseconds:8,.0f}  {name}")


if __name__ == "__main__":
    os.environ.setdefault("OTEL_OPENSTACK_SWITCH_FILE", "")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        main()
    os._exit(0)
