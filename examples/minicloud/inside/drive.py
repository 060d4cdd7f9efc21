# SPDX-License-Identifier: Apache-2.0
"""Uses the cloud as a client would, with openstacksdk: each step is one root span of its own.

    drive.py SERVERS REPORT

REPORT becomes a JSON list of the steps: name, seconds, trace id, the HTTP requests that left this process, as seen
below every library (a witness that owes nothing to the distribution), and with the last step what secrets were planted.
"""

import contextlib
import contextvars
import http.client
import json
import os
import sys
import threading
import time

import canaries
import openstack
from opentelemetry import trace

PROFILER_KEY = os.environ.get("MINICLOUD_PROFILER_KEY")  # asks osprofiler for a trace of every request

MICROVERSION = "2.96"
POLL = 0.2  # seconds between two looks at a server
WITHIN = 120  # seconds for a server to reach a state
IMAGE_BYTES = 65536

tracer = trace.get_tracer("minicloud.drive")
steps = []
nest = canaries.Nest()
current = contextvars.ContextVar("current step", default=None)


def main():
    servers, report = int(sys.argv[1]), sys.argv[2]
    count_requests()
    profile()
    cloud = openstack.connect(compute_api_version=MICROVERSION, compute_default_microversion=MICROVERSION)
    try:
        drive(cloud, servers)
    finally:
        if steps:
            steps[-1]["planted"] = nest.planted
        with open(report, "w") as output:
            json.dump(steps, output, indent=1)


def drive(cloud, servers):
    with step("token issue"):
        nest.keep("token", cloud.authorize())
    with step("flavor create"):
        flavor = cloud.compute.find_flavor("tiny") or cloud.compute.create_flavor(name="tiny", ram=64, vcpus=1, disk=1)
    with step("image upload"):
        image = cloud.image.create_image(
            name="tiny", container_format="bare", disk_format="raw", data=canaries.image(nest, IMAGE_BYTES),
            allow_duplicates=True, note=nest.egg("image metadata"),
        )  # fmt: skip
    with step("network create"):
        network = cloud.network.find_network("demo") or cloud.network.create_network(name="demo")
        if not network.subnet_ids:
            cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.9.0.0/16", name="demo")
    with step("keypair create"):
        key = canaries.keypair(nest, cloud)
    began = time.monotonic()
    made = at_once(servers, lambda number: create(cloud, number, flavor, image, network, key))
    if servers > 1:
        print(f"{time.monotonic() - began:7.2f} s  all {servers} ACTIVE", flush=True)
    server = made[0]
    with step("server list"):
        list(cloud.compute.servers())
    with step("server show"):
        cloud.compute.get_server(server.id)
    with step("server reboot"):
        cloud.compute.reboot_server(server, "SOFT")
        settle(cloud, server, "ACTIVE")
    with step("server stop"):
        cloud.compute.stop_server(server)
        settle(cloud, server, "SHUTOFF")
    with step("server show, absent"), contextlib.suppress(openstack.exceptions.NotFoundException):
        cloud.compute.get_server("00000000-0000-0000-0000-000000000000")
    with step("secrets misused"):
        canaries.misuse(nest, cloud, server, image, network)
    at_once(servers, lambda number: delete(cloud, made[number]))
    with step("image delete"):
        cloud.image.delete_image(image)
        cloud.compute.delete_keypair(key)


def create(cloud, number, flavor, image, network, key):
    with step("server create"):
        server = cloud.compute.create_server(
            name=f"demo-{number}", flavor_id=flavor.id, image_id=image.id, networks=[{"uuid": network.id}],
            **canaries.of_a_server(nest, number, key),
        )  # fmt: skip
        return cloud.compute.wait_for_server(server, status="ACTIVE", failures=["ERROR"], interval=POLL, wait=WITHIN)


def delete(cloud, server):
    with step("server delete"):
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, interval=POLL, wait=WITHIN)


def settle(cloud, server, status):
    """Wait until the server has `status` and nova does nothing with it any more."""
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        now = cloud.compute.get_server(server.id)
        if now.status == status and not now.task_state:
            return
        time.sleep(POLL)
    raise TimeoutError(f"server {server.id} is not {status} after {WITHIN} s")


@contextlib.contextmanager
def step(name):
    with tracer.start_as_current_span(name) as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        entry = {"name": name, "trace_id": trace_id, "requests": []}
        steps.append(entry)
        token = current.set(entry)
        entry["began"] = time.time()
        start = time.perf_counter()
        try:
            yield
        finally:
            entry["seconds"] = time.perf_counter() - start
            current.reset(token)
            print(f"{entry['seconds']:7.2f} s  {name}", flush=True)


def at_once(count, work):
    """`work(0)` to `work(count - 1)`, each in a thread; the results in order; the first error is raised."""
    results, errors = [None] * count, []

    def run(number):
        profile()
        try:
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def profile():
    """Have keystoneauth sign what this thread asks for, so that services of the same key profile it."""
    if PROFILER_KEY:
        from osprofiler import profiler

        profiler.init(PROFILER_KEY)


def count_requests():
    """Note every request where it is written to its connection."""
    put = http.client.HTTPConnection.putrequest

    def noted(self, method, url, *args, **kwargs):
        entry = current.get()
        if entry is not None:
            entry["requests"].append([method, self.port, url])
        return put(self, method, url, *args, **kwargs)

    http.client.HTTPConnection.putrequest = noted


main()
