# SPDX-License-Identifier: Apache-2.0
"""The process that runs small cases: interleaved and timed, or counted under callgrind.

    python benchmarks/micro_run.py time ROUNDS MODULE...          prints a JSON object
    python benchmarks/micro_run.py count TURNS MODULE/OPERATION/VARIANT...   under callgrind (see callgrind.py)

Times are CPU time of the thread. A round runs every variant once, in an order of its own.
"""

from __future__ import annotations

import gc
import importlib
import json
import random
import sys
from typing import Any

from callgrind import Requests
from micro import Made, witness

TURN = 0.004  # seconds that one variant gets in a round
WARM_UP = 300


def load(module: str) -> dict[str, dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = importlib.import_module(module).CASES
    return cases


def timed(rounds: int, modules: list[str]) -> dict[str, Any]:
    """Return operation -> variant -> ns of one item in every round, witness and size."""
    found: dict[str, Any] = {}
    for module in modules:
        for operation, variants in load(module).items():
            made: dict[str, Made] = {}
            missing: dict[str, str] = {}
            for name, make in variants.items():
                try:
                    made[name] = make()
                except ImportError as error:
                    missing[name] = str(error)
            found[operation] = _interleaved(made, rounds) | {name: {"missing": why} for name, why in missing.items()}
    return found


def _interleaved(made: dict[str, Made], rounds: int) -> dict[str, Any]:
    # Each has its own context, since some leave a span current on purpose.
    import contextvars

    contexts = {name: contextvars.copy_context() for name in made}
    loops = {name: one.loop() for name, one in made.items()}
    turns = {}
    for name, loop in loops.items():
        contexts[name].run(loop, max(1, WARM_UP // made[name].share))
        start = made[name].clock()
        contexts[name].run(loop, max(1, WARM_UP // made[name].share))
        took = (made[name].clock() - start) / max(1, WARM_UP // made[name].share)
        turns[name] = max(1, min(100_000, int(TURN * 1e9 / max(took, 1.0))))
        made[name].collect()
    times: dict[str, list[float]] = {name: [] for name in made}
    order = list(made)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            gc.collect()
            gc.disable()
            start = made[name].clock()
            contexts[name].run(loops[name], turns[name])
            took = made[name].clock() - start
            gc.enable()
            times[name].append(took / turns[name] / made[name].share)
            made[name].collect()
    return {
        name: {
            "ns": times[name],
            "witness": contexts[name].run(witness, made[name]),
            "bytes": getattr(made[name].uses.get("sizes"), "last", 0) / made[name].share,
        }
        for name in made
    }


def counted(turns: int, cases: list[str]) -> None:
    requests = Requests()
    for case in cases:
        module, operation, variant = case.split("/")
        made = load(module)[operation][variant]()
        times = max(2, turns // made.share)
        loop = made.loop()
        loop(max(2, WARM_UP // made.share))
        made.collect()
        requests.count(f"{case}/{times * made.share}", lambda loop=loop, times=times: loop(times))
        made.collect()


if __name__ == "__main__":
    if sys.argv[1] == "time":
        json.dump(timed(int(sys.argv[2]), sys.argv[3:]), sys.stdout)
    else:
        counted(int(sys.argv[2]), sys.argv[3:])
