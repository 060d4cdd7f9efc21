# SPDX-License-Identifier: Apache-2.0
"""A service that counts and measures, here and in a forked child, and says how late its own loop was meanwhile."""

import os
import sys
import time

import otel_openstack.auto  # noqa: F401

if "green" in sys.argv:
    import eventlet

    eventlet.monkey_patch()

from opentelemetry import metrics as api
from opentelemetry import trace

from otel_openstack import metrics
from otel_openstack.semconv import instruments

SECONDS = float(sys.argv[1])


def record(times):
    trace.get_tracer("demo").start_span("work").end()  # the first span of a process starts the export
    timeouts = metrics.counter(instruments.OPENSTACK_POOL_TIMEOUTS)
    waits = metrics.histogram(instruments.OPENSTACK_WSGI_REQUEST_TIME_IN_QUEUE)
    requests = api.get_meter("demo").create_counter("demo.requests")
    for _ in range(times):
        timeouts.add(1, "thread", "api")
        waits.record(0.25)
        requests.add(2, {"route": "/servers/{id}"})


def spend(seconds):
    """Return the longest that a sleep of 10 ms took."""
    latest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        time.sleep(0.01)
        latest = max(latest, time.monotonic() - before)
    return latest


record(10)
child = os.fork()
if child == 0:
    record(3)
    sys.exit(0)
record(5)
latest = spend(SECONDS)
os.waitpid(child, 0)
print(f"{latest:.3f} {time.time()}", flush=True)
