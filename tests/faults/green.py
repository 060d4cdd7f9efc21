# SPDX-License-Identifier: Apache-2.0
"""Workloads of processes that eventlet has monkey-patched."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator

from opentelemetry.trace import SpanKind

from tests.faults.bench import Bench
from tests.faults.web import answers
from tests.faults.work import RAISED, fails

Runs = Iterator[Callable[[], None]]


def green_threads(bench: Bench) -> Runs:
    import eventlet
    from eventlet import greenpool, greenthread, timeout, tpool

    def work(number: int) -> int:
        bench.did(("green", number))
        return number * 2

    def noted(number: int) -> None:
        bench.did(("noted", number))

    def run() -> None:
        for kind in (SpanKind.SERVER, SpanKind.CONSUMER):
            with bench.request(kind):
                bench.call("spawn", eventlet.spawn(work, 1).wait)
                bench.call("fails", eventlet.spawn(fails).wait)
                eventlet.spawn_n(noted, 2)
                bench.call("after", eventlet.spawn_after(0, work, 3).wait)
                bench.call("module", greenthread.spawn(work, 4).wait)
                greenthread.spawn_n(noted, 5)
                bench.call("module after", greenthread.spawn_after(0, work, 6).wait)
                bench.call("local", greenthread.spawn_after_local(0, work, 7).wait)
                pool = greenpool.GreenPool(2)
                bench.call("pool", pool.spawn(work, 8).wait)
                pool.spawn_n(noted, 9)
                bench.call("starmap", lambda pool=pool: list(pool.starmap(work, [(1,), (2,)])))
                pool.waitall()
                bench.call("native", tpool.execute, abs, -3)
                if issubclass(RAISED[-1], Exception):  # of anything else its thread dies, and eventlet waits for ever
                    bench.call("native fails", tpool.execute, fails)
                with timeout.Timeout(0.001, False):
                    eventlet.sleep(5)
                bench.did("timed out")
        eventlet.sleep(0)

    yield run


def futurist_green(bench: Bench) -> Runs:
    import futurist
    from futurist import waiters

    pool = futurist.GreenThreadPoolExecutor(max_workers=2)

    def item(number: int) -> int:
        bench.did(("item", number))
        return number * 2

    def run() -> None:
        import eventlet

        made = futurist.GreenThreadPoolExecutor(max_workers=1)
        made.shutdown()
        with bench.request():
            bench.call("submit", pool.submit(item, 1).result)
            bench.call("fails", pool.submit(fails).result)
            gate = eventlet.event.Event()
            waits = [pool.submit(gate.wait)]
            bench.call("all", lambda: len(waiters.wait_for_all(waits, timeout=0.001).not_done))
            bench.call("any", lambda: len(waiters.wait_for_any(waits, timeout=0.001).not_done))
            gate.send(None)
            waits[0].result()

    yield run
    pool.shutdown()


def hub(bench: Bench) -> Runs:
    """The turns of the hub, its timers, and a hub that is made anew."""
    import eventlet
    from eventlet import hubs

    def run() -> None:
        eventlet.sleep(0.001)
        bench.did(type(hubs.get_hub()).__name__)
        made = type(hubs.get_hub())()
        if hasattr(made, "_post_initialize"):  # the asyncio hub
            made._post_initialize()
        made.schedule_call_global(0, bench.did, "timer")
        made.fire_timers(made.clock() + 1)
        bench.did("fired")

    yield run


def green_server(bench: Bench) -> Runs:
    """eventlet.wsgi, with a client of plain sockets."""
    import eventlet.wsgi

    def run() -> None:
        listener = eventlet.listen(("127.0.0.1", 0))
        server = eventlet.spawn(
            eventlet.wsgi.server, listener, answers(bench), io.StringIO(), keepalive=False, log_output=False
        )

        def asked(path: str) -> bytes:
            with socket.create_connection(listener.getsockname()) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
                answer = b""
                while more := connection.recv(65536):
                    answer += more
            return answer.partition(b"\r\n")[0]

        for path in ("/", "/raises"):
            bench.call("asked", asked, path)
        server.kill()
        listener.close()

    yield run


ALL = (green_threads, futurist_green, hub, green_server)
