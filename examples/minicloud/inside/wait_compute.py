# SPDX-License-Identifier: Apache-2.0
"""Returns when nova's API sees the compute service up with a hypervisor, and neutron's API sees the agent alive."""

import sys
import time
from datetime import UTC, datetime
from typing import Any

import openstack

WITHIN = 90  # seconds
FRESH = 40  # seconds; from the run before one may be up for 60 s, and be down when the first server is created


def main() -> None:
    cloud = openstack.connect()
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        computes = [s for s in cloud.compute.services(binary="nova-compute") if s.state == "up" and fresh(s)]
        if computes and list(cloud.compute.hypervisors()) and any(a.is_alive for a in cloud.network.agents()):
            return
        time.sleep(0.3)
    sys.exit(f"nova-compute or the network agent is not up after {WITHIN} s")


def fresh(service: Any) -> bool:
    seen = service.updated_at  # UTC; none before its second report
    return not seen or (datetime.now(UTC) - datetime.fromisoformat(seen).replace(tzinfo=UTC)).total_seconds() < FRESH


main()
