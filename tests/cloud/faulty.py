# SPDX-License-Identifier: Apache-2.0
"""A service in which everything goes wrong that the distribution can tell of, over and over; run under the launcher.

python tests/cloud/faulty.py threads SECONDS RABBIT-URL    a service of native threads
python tests/cloud/faulty.py green SECONDS                 one of eventlet, whose loop is blocked
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
import tempfile
import threading
import time
import warnings

warnings.simplefilter("ignore")
NOWHERE = 1  # a port on which nothing listens
KEPT: list[object] = []  # a queue that nobody accepts from, and who waits in it; a connection in use


def over_and_over(seconds, *faults):
    """Repeat each fault in a thread of its own; what it raises is its purpose."""
    end = time.monotonic() + seconds

    def repeat(fault):
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                fault()
            time.sleep(0.1)

    for fault in faults:
        threading.Thread(target=repeat, args=(fault,), daemon=True).start()
    time.sleep(seconds + 1)  # a fault may wait longer than that


def database():
    import pymysql  # noqa: F401
    import sqlalchemy as sa
    from oslo_context import context
    from oslo_db import api, exception
    from oslo_db.sqlalchemy import enginefacade

    # Not in memory: that has a pool without limits.
    file = tempfile.NamedTemporaryFile(suffix=".sqlite")  # noqa: SIM115 as long as the process
    small = sa.create_engine(
        f"sqlite:///{file.name}", poolclass=sa.QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.5
    )
    held = small.connect()
    nowhere = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{NOWHERE}/nova")
    manager = enginefacade.transaction_context()
    manager.configure(connection="sqlite://")

    @enginefacade.transaction_context_provider
    class Context(context.RequestContext):
        pass

    @manager.writer
    def fails(ctxt):
        ctxt.session.execute(sa.text("SELECT 1 FROM nothing"))

    @api.wrap_db_retry(max_retries=1, retry_interval=0, inc_retry_interval=False, retry_on_deadlock=True)
    def deadlocks():
        raise exception.DBDeadlock

    def no_connection():
        assert held
        small.connect()

    return no_connection, nowhere.connect, lambda: fails(Context()), deadlocks


def messages(url):
    import oslo_messaging as om
    from oslo_config import cfg

    conf = cfg.CONF
    conf([])
    transport = om.get_rpc_transport(conf, url)
    away = om.get_rpc_transport(conf, f"rabbit://guest:guest@127.0.0.1:{NOWHERE}/")
    notifications = om.get_notification_transport(conf, url)

    class Endpoint:
        def fails(self, ctxt):
            raise LookupError

        def slow(self, ctxt):
            time.sleep(1.2)

        def info(self, ctxt, publisher, event, payload, metadata):
            return None

    server = om.get_rpc_server(transport, om.Target(topic="faulty", server="here"), [Endpoint()])
    server.start(override_pool_size=2)
    listener = om.get_notification_listener(notifications, [om.Target(topic="told")], [Endpoint()])
    listener.start()
    client = om.get_rpc_client(transport, om.Target(topic="faulty"), timeout=5)
    nobody = om.get_rpc_client(transport, om.Target(topic="nobody"), timeout=0.3)
    unsent = om.get_rpc_client(away, om.Target(topic="faulty"), timeout=0.5, retry=0)
    # A message holds one for milliseconds, rarely when it is looked at.
    KEPT.append(transport._driver._get_connection())
    notifier = om.Notifier(notifications, driver="messagingv2", topics=["told"], publisher_id="faulty.here")
    return (
        lambda: client.call({}, "fails"),
        lambda: client.prepare(timeout=0.4).call({}, "slow"),  # its reply comes when nobody waits any more
        lambda: nobody.call({}, "anything"),
        lambda: unsent.call({}, "anything"),
        lambda: notifier.info({}, "faulty.event", {}),
    )


def requests():
    from cheroot import wsgi

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/slow":
            time.sleep(1.1)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Service Unavailable" if path == "/fails" else "200 OK", [("Content-Type", "text/plain")])
        return [b"x" * 1000]

    deaf = socket.create_server(("127.0.0.1", 0), backlog=4)
    KEPT.extend([deaf, *(socket.create_connection(deaf.getsockname()) for _ in range(4))])
    server = wsgi.Server(("127.0.0.1", 0), application, numthreads=8)
    server.timeout = 1
    server.prepare()
    threading.Thread(target=server.serve, daemon=True).start()
    port = server.bind_addr[1]

    def get(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection):
            connection.request("POST", path, b"body", {"X-Request-Start": f"t={time.time() - 0.2:.3f}"})
            connection.getresponse().read()

    def half(seconds):
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nhalf")
            time.sleep(seconds)

    def slow():
        get("/slow")

    # A client goes away; another is so slow that the server gives up.
    return lambda: get("/fails"), slow, slow, lambda: half(0), lambda: half(2), lambda: refused(port)


def refused(port):
    """A client of requests gets a 503."""
    import requests as client

    client.get(f"http://127.0.0.1:{port}/fails", timeout=5)


def background():
    from futurist import ThreadPoolExecutor
    from oslo_concurrency import lockutils
    from oslo_config import cfg
    from oslo_service import periodic_task

    class Tasks(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=0.2, run_immediately=True)
        def fails(self, ctxt):
            raise LookupError

    tasks = Tasks(cfg.CONF)
    pool = ThreadPoolExecutor(max_workers=1)

    def lock():
        with lockutils.lock("faulty"):
            time.sleep(0.3)

    def fill():
        for _ in range(4):
            pool.submit(time.sleep, 0.3)
        pool.submit(time.sleep, 0.3).result(timeout=0.5)

    return lambda: (time.sleep(0.5), tasks.run_periodic_tasks({})), lock, lock, fill


def hooks():
    from otel_openstack.patching import guard

    def fails():
        with guard("faulty.hook"):
            raise LookupError

    return (fails,)


def threads(seconds, url):
    over_and_over(seconds, *database(), *messages(url), *requests(), *background(), *hooks())


def green(seconds):
    import eventlet

    eventlet.monkey_patch()
    from eventlet import greenpool, patcher
    from opentelemetry import trace

    tracer = trace.get_tracer("faulty")
    blocking = patcher.original("time").sleep
    pool = greenpool.GreenPool(2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tracer.start_span("turn").end()
        pool.spawn(blocking, 0.15)
        with contextlib.suppress(eventlet.Timeout), eventlet.Timeout(0.05):
            eventlet.sleep(1)


if __name__ == "__main__":
    if sys.argv[1] == "green":
        green(float(sys.argv[2]))
    else:
        threads(float(sys.argv[2]), sys.argv[3])
        os._exit(0)  # its servers are still running
