# SPDX-License-Identifier: Apache-2.0
"""Recording a histogram from 8 threads, and from 1,000 green threads. CPU time of the whole process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import micro_metrics
from micro import Cases, Made

THREADS, EACH = 8, 1000
GREEN, FEW = 1000, 20


def _body(made: Made, times: int, pause: Callable[[], object] | None = None) -> Callable[[], None]:
    loop = made.loop()

    def body() -> None:
        loop(times)
        if pause is not None:
            pause()
            loop(times)

    return body


def threads(made: Made) -> Made:
    body = _body(made, EACH)

    def run() -> None:
        workers = [threading.Thread(target=body) for _ in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return _whole(made, run, THREADS * EACH)


def green(made: Made) -> Made:
    import eventlet

    body = _body(made, FEW // 2, lambda: eventlet.sleep(0))

    def run() -> None:
        workers = [eventlet.spawn(body) for _ in range(GREEN)]
        for worker in workers:
            worker.wait()

    return _whole(made, run, GREEN * FEW)


def _whole(made: Made, run: Any, share: int) -> Made:
    return replace(made, statement="run()", uses={"run": run}, share=share, clock=time.process_time_ns)


def _cases(wrap: Callable[[Made], Made]) -> dict[str, Any]:
    def lazily(make: Callable[[], Made]) -> Callable[[], Made]:
        return lambda: wrap(make())

    bound = micro_metrics.CASES["histogram, bound"]
    return {name: lazily(make) for name, make in bound.items() if name != "statsd"}


CASES: Cases = {
    "histogram, bound, 8 threads": _cases(threads),
    "histogram, bound, 1,000 green threads": _cases(green),
}
