# SPDX-License-Identifier: Apache-2.0
"""What the distribution costs: the same cloud in turn without and with it, and a table of the difference.

Services start and stop one after another here, so that each is measured alone. Of several rounds the best counts:
what else runs on the machine only ever adds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bootstrap
import driver
import install
import lifecycle
import processes
import services
import witness
from progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layout import Cloud

AT_ONCE = 8  # servers
MIB = 2**20


class Allowed(NamedTuple):
    """How much more it may be with the distribution."""

    ready: float = 0.5  # seconds
    memory: float = 20.0  # MiB, of each process
    stop: float = 1.0  # seconds


ALLOWED = Allowed()


@dataclass
class Run:
    """One run of the cloud."""

    ready: dict[str, float] = field(default_factory=dict)  # service: seconds from start to serving
    stop: dict[str, float] = field(default_factory=dict)  # service: seconds from SIGTERM to gone
    memory: dict[str, float] = field(default_factory=dict)  # service: MiB (PSS) of its largest process
    creates: float = 0.0  # seconds until all servers are ACTIVE
    messages: Counter[str] = field(default_factory=Counter)


def run(cloud: Cloud, rounds: int) -> bool:
    """Measure and print; false when something is beyond what is allowed."""
    install.everything(cloud)
    cloud.prepare()
    bare: list[Run] = []
    ours: list[Run] = []
    try:
        lifecycle.base(cloud)
        for number in range(rounds):
            for instrumented, runs in ((False, bare), (True, ours)):
                say(f"round {number + 1} of {rounds}, {'with' if instrumented else 'without'} the distribution")
                cloud.options = replace(cloud.options, instrumented=instrumented)
                runs.append(_measure(cloud))
    finally:
        lifecycle.stop_all(cloud)
    return report(bare, ours)


def _measure(cloud: Cloud) -> Run:
    run = Run()
    lifecycle.forget_telemetry(cloud)
    for wave in services.WAVES:
        for service in (service for service in services.SERVICES if service.wave == wave):
            began = services.start(cloud, service)
            run.ready[service.name] = services.wait(cloud, service) - began
        lifecycle.after_wave(cloud, wave)
    bootstrap.inside(cloud, "wait_compute.py")
    with witness.firehose(cloud) as seen:
        driver.drive(cloud, 1)
    run.messages = witness.counts(witness.messages(seen))
    creates = [step for step in driver.drive(cloud, AT_ONCE) if step["name"] == "server create"]
    run.creates = max(s["began"] + s["seconds"] for s in creates) - min(s["began"] for s in creates)
    run.memory = {service.name: _largest(cloud, service.name) for service in services.SERVICES}
    for service in lifecycle.stop_order():
        run.stop[service.name] = processes.stop(cloud, [service.name])[0].seconds
    processes.stop(cloud, [services.WATCH])
    return run


def _largest(cloud: Cloud, name: str) -> float:
    return max(_pss(pid) for pid in processes.session(cloud, name))


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MIB
    return 0.0


def report(bare: list[Run], ours: list[Run]) -> bool:
    """Print the tables; whether all is within what is allowed."""
    fine = True
    print("\nbest of", len(bare), "rounds: without the distribution, with it, the difference (allowed)")
    print(f"{'service':<20}{'ready, s':>26}{'largest process, MiB PSS':>28}{'stop, s':>26}")
    for name in bare[0].ready:
        cells = [
            _cell(
                [getattr(run, what)[name] for run in bare],
                [getattr(run, what)[name] for run in ours],
                allowed,
                what == "stop",
            )
            for what, allowed in ALLOWED._asdict().items()
        ]
        fine = fine and all(good for _, good in cells)
        print(f"{name:<20}{cells[0][0]:>26}{cells[1][0]:>28}{cells[2][0]:>26}")
    print(
        f"allowed: {ALLOWED.ready} s later, {ALLOWED.memory:.0f} MiB more, {ALLOWED.stop:.0f} s longer "
        "(! = more; ~ = more, but no more than that service's stop varies without the distribution)"
    )
    print(f"\n{AT_ONCE} creates at once, s: without {_listed(bare)}; with {_listed(ours)}")
    return _messages(bare, ours) and fine


def _cell(bare: list[float], ours: list[float], allowed: float, erratic: bool) -> tuple[str, bool]:
    """Text, and whether it is within what is allowed.

    Args:
        bare: one figure a round.
        ours: the same with the distribution.
        allowed: how much more the best of ours may be.
        erratic: whether the figure varies by seconds of itself. A daemon's stop does, between 0 and 9 s for
            nova-compute: it waits for its timers, so a few rounds may be apart by that much.
    """
    without, having = min(bare), min(ours)
    more = having - without
    varies = erratic and more <= max(bare) - without
    mark = "" if more <= allowed else " ~" if varies else " !"
    return f"{without:.2f} {having:.2f} {more:+.2f}{mark}", mark != " !"


def _listed(runs: Iterable[Run]) -> str:
    return ", ".join(f"{run.creates:.1f}" for run in runs)


def _messages(bare: list[Run], ours: list[Run]) -> bool:
    """A kind's count varies from run to run where nova waits for events; what both had once counts as equal."""
    kinds = sorted(set().union(*(run.messages for run in bare + ours)))
    different = [kind for kind in kinds if not {r.messages[kind] for r in bare} & {r.messages[kind] for r in ours}]
    totals = [", ".join(str(run.messages.total()) for run in runs) for runs in (bare, ours)]
    print(
        f"\nRabbitMQ messages of one create, use and delete, {len(kinds)} kinds: without {totals[0]}; with {totals[1]}"
    )
    for kind in different:
        print(f"  ! {kind}: without {[r.messages[kind] for r in bare]}, with {[r.messages[kind] for r in ours]}")
    return not different
