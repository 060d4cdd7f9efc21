# SPDX-License-Identifier: Apache-2.0
"""Returns when nova's API sees the compute service up with a hypervisor, and neutron's API sees the agent alive."""

import sys
import time

import openstack

WITHIN = 90  # seconds


def main() -> None:
    cloud = openstack.connect()
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        computes = [s for s in cloud.compute.services(binary="nova-compute") if s.state == "up"]
        if computes and list(cloud.compute.hypervisors()) and any(a.is_alive for a in cloud.network.agents()):
            return
        time.sleep(0.3)
    sys.exit(f"nova-compute or the network agent is not up after {WITHIN} s")


main()
