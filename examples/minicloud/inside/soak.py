# SPDX-License-Identifier: Apache-2.0
"""Creates and deletes servers, a few at a time, until there were SERVERS or SECONDS are over.

    soak.py SERVERS SECONDS AT_ONCE

It prints a line for each server that is gone again: `done NUMBER SECONDS-SINCE-THE-EPOCH`, and `failed WHY` for others.
"""

import itertools
import secrets
import sys
import threading
import time

import openstack

MICROVERSION = "2.96"
POLL = 0.5  # seconds between two looks at a server
WITHIN = 180  # seconds for a server to reach a state


def main():
    servers, seconds, at_once = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    cloud = openstack.connect(compute_api_version=MICROVERSION, compute_default_microversion=MICROVERSION)
    flavor = cloud.compute.find_flavor("tiny") or cloud.compute.create_flavor(name="tiny", ram=64, vcpus=1, disk=1)
    image = cloud.image.create_image(
        name=f"soak-{secrets.token_hex(4)}", container_format="bare", disk_format="raw", data=b"\0" * 1024
    )
    network = cloud.network.find_network("demo") or cloud.network.create_network(name="demo")
    if not network.subnet_ids:
        cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/16", name="demo")
    numbers, finished, until = itertools.count(), itertools.count(1), time.monotonic() + seconds

    def work():
        while next(numbers) < servers and time.monotonic() < until:
            try:
                once(cloud, flavor, image, network)
                print("done", next(finished), time.time(), flush=True)
            except Exception as error:
                print("failed", repr(error)[:300], flush=True)

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cloud.image.delete_image(image)


def once(cloud, flavor, image, network):
    server = cloud.compute.create_server(
        name=f"soak-{secrets.token_hex(4)}", flavor_id=flavor.id, image_id=image.id, networks=[{"uuid": network.id}]
    )
    try:
        cloud.compute.wait_for_server(server, status="ACTIVE", failures=["ERROR"], interval=POLL, wait=WITHIN)
    finally:
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=POLL, wait=WITHIN)


main()
