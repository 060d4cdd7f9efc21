# SPDX-License-Identifier: Apache-2.0
"""How many gateways a cloud needs, from figures.json, which measure.py wrote.

    python collector/capacity/gateways.py --hosts 500 --requests 200

Without arguments it writes docs/gateways.md; with --check it compares it instead, and exits with 1 if it differs.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "gateways.md"
FIGURES = json.loads((HERE / "figures.json").read_text())
GATEWAY = (ROOT / "collector" / "config" / "gateway.yaml").read_text()
# The digits that to-two-gateways.yaml shares out.
DIGITS = 16
MOST = 10_000
EXAMPLES = ((10, 5), (100, 50), (500, 200), (1000, 500), (5000, 2000))


def configured(pattern: str) -> int:
    """Return a number of gateway.yaml, so that the page cannot say another one."""
    found = re.search(pattern, GATEWAY)
    if not found:
        sys.exit(f"collector/config/gateway.yaml has no {pattern}")
    return int(found[1])


MEMORY = configured(r"MEMORY_MIB:-(\d+)") - configured(r"SPIKE_MIB:-(\d+)")
"""MiB that a gateway may use before it refuses."""
TRACES = configured(r"num_traces: (\d+)")
"""Traces that a gateway holds before it decides on the oldest too early."""
WAIT = configured(r"DECISION_WAIT:-(\d+)s")


@dataclass(frozen=True)
class Cloud:
    """`requests` are API requests and periodic tasks a second in the whole cloud: each is a trace.

    A gateway has `cores`, of which it is to use the share `busy` at most.
    """

    hosts: int
    requests: float
    processes: int = 20
    cores: float = 2
    busy: float = 0.5

    @property
    def spans(self) -> float:
        """Spans a second."""
        return self.requests * float(FIGURES["spans_per_trace"])

    @property
    def points(self) -> float:
        """Points a second."""
        return self.hosts * self.processes * float(FIGURES["points_per_process_second"])

    @property
    def megabits(self) -> float:
        """Mbit a second that all gateways take in together."""
        spans, points = self.spans * FIGURES["bytes_per_span"], self.points * FIGURES["bytes_per_point"]
        return float(spans + points) * 8 / 1e6


def needs(cloud: Cloud) -> dict[str, int]:
    """How many gateways each of the limits asks for; the largest is how many there have to be."""
    return {
        "processor": fewest(
            lambda share: (
                cloud.spans * share / FIGURES["spans_per_core_second"]
                + cloud.points * share / FIGURES["points_per_core_second"]
            ) <= cloud.cores * cloud.busy
        ),
        "memory": fewest(
            lambda share: FIGURES["mebibytes_empty"]
            + cloud.requests * WAIT * share / 1000 * FIGURES["mebibytes_per_thousand_traces"] <= MEMORY
        ),
        "traces held": fewest(lambda share: cloud.requests * WAIT * share <= TRACES),
    }  # fmt: skip


def fewest(fits: Callable[[float], bool]) -> int:
    """Return of how many gateways the one with the largest share fits; SystemExit if no number of them does."""
    for gateways in range(1, MOST):
        if fits(largest_share(gateways)):
            return gateways
    sys.exit("no number of gateways takes this")


def largest_share(gateways: int) -> float:
    """Return what the gateway with the most digits gets; beyond sixteen, load balancing shares evenly."""
    return math.ceil(DIGITS / gateways) / DIGITS if gateways <= DIGITS else 1 / gateways


def row(cloud: Cloud) -> str:
    found = needs(cloud)
    return (
        f"| {cloud.hosts:,} | {cloud.requests:,g} | {cloud.spans:,.0f} | {cloud.points:,.0f} | {cloud.megabits:,.1f} | "
        f"{' | '.join(str(count) for count in found.values())} | **{max(found.values())}** |"
    )


def page() -> str:
    """Return the page."""
    usual = Cloud(1, 1)
    figures = {name: f"{value:,g}" if isinstance(value, float) else value for name, value in FIGURES.items()}
    return (HERE / "page.md").read_text().format(
        **figures | {"outputs": " and ".join(f"`{name}`" for name in FIGURES["outputs"])},
        processes=usual.processes, cores=f"{usual.cores:g}", wait=WAIT, memory=f"{MEMORY:,}", traces=f"{TRACES:,}",
        digits=DIGITS, rows="\n".join(row(Cloud(hosts, requests)) for hosts, requests in EXAMPLES),
    )  # fmt: skip


def main() -> int:
    """Answer, write or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int)
    parser.add_argument("--requests", type=float, help="API requests and periodic tasks a second in the whole cloud")
    parser.add_argument("--processes", type=int, default=Cloud.processes, help="of services on a host")
    parser.add_argument("--cores", type=float, default=Cloud.cores, help="of a gateway")
    parser.add_argument("--busy", type=float, default=Cloud.busy, help="the share of them to use at most")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.hosts is not None or given.requests is not None:
        if given.hosts is None or given.requests is None:
            parser.error("--hosts and --requests belong together")
        found = needs(Cloud(given.hosts, given.requests, given.processes, given.cores, given.busy))
        print(max(found.values()), *(f"({name}: {count})" for name, count in found.items()))
        return 0
    if not given.check:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    sys.stderr.write(f"{PAGE.name} is not what collector/capacity/gateways.py writes: run it and commit the result\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
