# SPDX-License-Identifier: Apache-2.0
"""A service that is switched off and on: WSGI with a database call a request, on threads or on eventlet.

    python switched.py threading|eventlet PORT

`/` works; `/slow` works until the file TEST_GATE is there; `/state` tells what the distribution holds in memory.
"""

import json
import logging
import os
import sys
import threading
import time

logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
import otel_openstack.auto  # noqa: F401

CONCURRENCY, PORT = sys.argv[1], int(sys.argv[2])
if CONCURRENCY == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import sqlalchemy
from opentelemetry import trace

engine = sqlalchemy.create_engine(
    "sqlite://", poolclass=sqlalchemy.StaticPool, connect_args={"check_same_thread": False}
)


def application(environ, start_response):
    answer = PATHS[environ["PATH_INFO"]]()
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(answer).encode()]


def work():
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("select 1"))
    with trace.get_tracer("test").start_as_current_span("inner") as span:
        recording = span.is_recording()
    return {"recording": recording}


def slow():
    while not os.path.exists(os.environ["TEST_GATE"]):
        time.sleep(0.02)
    return work()


def state():
    from otel_openstack.exporters.accounting import account
    from otel_openstack.metrics import catalog
    from otel_openstack.patching import guard as guards  # the package's function; its module holds the table
    from otel_openstack.tracing.span import Span

    books = account("traces")
    table, kept = (getattr(sys.modules[guards.__module__], name) for name in ("_guards", "_kept"))
    active = catalog.find("http.server.active_requests", "updowncounter").snapshot()
    return {
        "series": sum(len(instrument.series) for instrument in catalog.instruments()),
        "queued": len(trace.get_tracer_provider().queue),
        "on": sorted(name for name, guard in table.items() if guard.on and name not in kept),
        "failures": {name: guard.failures for name, guard in table.items() if guard.failures},
        "active": [cell[0] for _, cell in active],
        "books": [books.recorded, books.delivered, books.dropped],
        "threads": len(os.listdir("/proc/self/task")) - own_threads(),
        "current": isinstance(trace.get_current_span(), Span),
    }


def own_threads():
    """Threads of the service; one that was not started through `threading` is known there once it has logged."""
    if CONCURRENCY == "eventlet":
        return 1
    return sum(not isinstance(thread, threading._DummyThread) for thread in threading.enumerate())


PATHS = {"/": work, "/slow": slow, "/state": state}

if CONCURRENCY == "eventlet":
    from eventlet import wsgi

    wsgi.server(eventlet.listen(("127.0.0.1", PORT)), application, log_output=False)
else:
    from cheroot import wsgi

    wsgi.Server(("127.0.0.1", PORT), application, numthreads=4).safe_start()
