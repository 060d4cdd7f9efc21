# SPDX-License-Identifier: Apache-2.0
"""Workloads: threads, pools, loops, periodic tasks, start-up, locks, logs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import multiprocessing.pool
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack.metrics import catalog
from tests.faults.bench import Bench, until

Runs = Iterator[Callable[[], None]]


class Boom(Exception):  # noqa: N818
    """What a service raises."""


RAISED: list[type[BaseException]] = [Boom]
"""What the parts of a service that fail raise now."""


def fails(*_args: Any, **_kwargs: Any) -> Any:
    raise RAISED[-1]("service")


def threads(bench: Bench) -> Runs:
    def body(number: int) -> None:
        bench.did(("thread", number))

    class Worker(threading.Thread):
        def run(self) -> None:
            bench.did("worker")

    def run() -> None:
        for kind in (SpanKind.SERVER, SpanKind.CONSUMER):
            with bench.request(kind):
                thread = threading.Thread(target=body, args=(1,))
                bench.call("start", thread.start)
                bench.call("again", thread.start)
                worker, timer = Worker(), threading.Timer(0, functools.partial(body, 2))
                worker.start()
                timer.start()
                for each in (thread, worker, timer):
                    each.join(10)

    yield run


def thread_pool(bench: Bench) -> Runs:
    pool = multiprocessing.pool.ThreadPool(1)

    def item(number: int) -> int:
        bench.did(("item", number))
        return number * 2

    def run() -> None:
        with bench.request():
            bench.call("apply", pool.apply, item, (1,))
            bench.call("fails", pool.apply, fails)
            bench.call("map", pool.map, item, [2, 3])
            bench.call("imap", lambda: list(pool.imap(item, [4])))
            bench.call("unordered", lambda: list(pool.imap_unordered(item, [5])))

    yield run
    pool.terminate()
    pool.join()


def _submits(bench: Bench, pool: Any, result: Callable[[Any], Any]) -> None:
    def item(number: int, key: int = 0) -> int:
        bench.did(("item", number, key))
        return number * 2

    for kind in (SpanKind.SERVER, SpanKind.CONSUMER):
        with bench.request(kind):
            bench.call("submit", lambda: result(pool.submit(item, 1, key=2)))
            bench.call("partial", lambda: result(pool.submit(functools.partial(item, 3))))
            bench.call("fails", lambda: result(pool.submit(fails)))
    bench.call("alone", lambda: result(pool.submit(bench.current)))


def futures(bench: Bench) -> Runs:
    gate = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)

    def run() -> None:
        gate.clear()
        made = concurrent.futures.ThreadPoolExecutor(1, "named")
        bench.call("made", lambda: made.submit(int, "7").result())
        made.shutdown()
        _submits(bench, pool, lambda future: future.result(10))
        with bench.request():
            waits = pool.submit(gate.wait, 10)
            bench.call("result", waits.result, 0)
            bench.call("exception", waits.exception, 0)
            bench.call("wait", lambda: len(concurrent.futures.wait([waits], 0).not_done))
            gate.set()
            bench.call("done", waits.result, 10)

    yield run
    pool.shutdown()


def futurist_threads(bench: Bench) -> Runs:
    import futurist

    pool = futurist.ThreadPoolExecutor(max_workers=1)

    def run() -> None:
        made = futurist.ThreadPoolExecutor(max_workers=1)
        made.shutdown()
        _submits(bench, pool, lambda future: future.result(10))

    yield run
    pool.shutdown()


def futurist_periodics(bench: Bench) -> Runs:
    from futurist import periodics

    class Maintenance:
        @periodics.periodic(10)
        def works(self) -> None:
            bench.did("works")

        @periodics.periodic(10)
        def fails(self) -> None:
            fails()

    worker = periodics.PeriodicWorker.create([Maintenance()])

    def run() -> None:
        for work in worker._works:
            outcome = periodics._Runner(time.monotonic).run(work)
            bench.did(("failure", outcome[2] and outcome[2].exc_info[0].__name__))

    yield run


def periodic_tasks(bench: Bench) -> Runs:
    from oslo_config import cfg
    from oslo_service import periodic_task

    class Manager(periodic_task.PeriodicTasks):
        @periodic_task.periodic_task(spacing=1, run_immediately=True)
        def works(self, context: Any) -> None:
            bench.did(("works", context))

        @periodic_task.periodic_task(spacing=1, run_immediately=True)
        def fails(self, context: Any) -> None:
            fails()

    tasks = list(Manager._periodic_tasks)
    manager = Manager(cfg.ConfigOpts())

    def run() -> None:
        for name in manager._periodic_last_run:
            manager._periodic_last_run[name] = periodic_task.now() - 6
        bench.call("swallowed", lambda: bool(manager.run_periodic_tasks("ctxt")))
        for name in manager._periodic_last_run:
            manager._periodic_last_run[name] = periodic_task.now() - 6
        bench.call("raised", lambda: bool(manager.run_periodic_tasks("ctxt", raise_on_error=True)))
        bench.did(("class", tasks == manager._periodic_tasks, "_periodic_tasks" in vars(manager)))

    yield run


def loops(bench: Bench) -> Runs:
    from oslo_service import loopingcall

    def run() -> None:
        for kind in (None, SpanKind.SERVER):
            turns: list[int] = []

            def turn(turns: list[int] = turns) -> None:
                bench.did("turn")
                turns.append(1)
                if len(turns) == 2:
                    raise loopingcall.LoopingCallDone("kept")

            loop = loopingcall.FixedIntervalLoopingCall(turn)
            if kind is None:
                bench.call("loop", lambda loop=loop: loop.start(interval=0.001).wait())
                bench.call("breaks", lambda: loopingcall.FixedIntervalLoopingCall(fails).start(interval=1).wait())
            else:
                with bench.request(kind):
                    bench.call("loop", lambda loop=loop: loop.start(interval=0.001).wait())
            until(lambda loop=loop, turn=turn: loop.f is turn)

    yield run


def startup(bench: Bench) -> Runs:
    from oslo_service import service

    class Service(service.Service):
        def __init__(self, error: bool) -> None:
            super().__init__()
            self._error = error

        def start(self) -> None:
            bench.did("start")
            if self._error:
                fails()

    def wrapped(made: Any) -> None:
        wrapper = sys.modules["oslo_service.backend._threading.service"].ServiceWrapper(0, made)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            wrapper.run()

    def run() -> None:
        for error in (False, True):
            made, done = Service(error), threading.Event()
            done.set()
            bench.call("thread", service.Services.run_service, made, done)
            if "oslo_service.backend._threading.service" in sys.modules:
                unforked = SimpleNamespace(no_fork=True)
                bench.call("unforked", service.ProcessLauncher.launch_service, unforked, Service(error))
                bench.call("worker", wrapped, Service(error))
            bench.did("start" in vars(made))

    yield run


def locks(bench: Bench) -> Runs:
    from oslo_concurrency import lockutils

    @lockutils.synchronized("decorated")
    def inside() -> int:
        return 5

    def held(error: bool) -> str:
        with lockutils.lock("instance-123"):
            bench.did("held")
            return fails() if error else "left"

    def run() -> None:
        bench.call("held", held, False)
        bench.call("fails", held, True)
        bench.call("decorated", inside)
        bench.call("keyword", lambda: lockutils.lock(name="x", external=False).__enter__() is not None)

    yield run


def log_setup(bench: Bench) -> Runs:
    from oslo_config import cfg
    from oslo_log import log

    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf.register_opts([cfg.StrOpt("region_name", default="north")], group="nova")
    conf([])

    def run() -> None:
        import logging

        handlers, level = list(logging.root.handlers), logging.root.level
        bench.call("setup", log.setup, conf, "demo")
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)

    yield run


def subprocesses(bench: Bench) -> Runs:
    """Every way to make a process; what would replace this one finds no program."""

    def spawned(spawn: Callable[..., int], *command: str) -> int:
        return os.waitpid(spawn(command[0], command, dict(os.environ)), 0)[1]

    def run() -> None:
        bench.call("fork_exec", lambda: subprocess.run(["true"], check=False).returncode)
        bench.call("missing", lambda: subprocess.run(["/nowhere/at/all"], check=False).returncode)
        bench.call("spawn", spawned, os.posix_spawn, "/bin/true")
        bench.call("spawnp", spawned, os.posix_spawnp, "true")
        bench.call("system", os.system, "exit 3")
        bench.call("execv", os.execv, "/nowhere/at/all", ["nowhere"])
        bench.call("execve", os.execve, "/nowhere/at/all", ["nowhere"], {"A": "b"})

    yield run


def collected(bench: Bench) -> Runs:
    """Everything that is read at collection, as the export thread does."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(int).result(10)

    def run() -> None:
        for instrument in catalog.instruments():
            if isinstance(instrument, catalog.Observable):
                bench.call(
                    instrument.name, lambda instrument=instrument: (bool(instrument.snapshot()) and None) or None
                )
        catalog.complain()

    yield run
    pool.shutdown()


def scatter_gather(bench: Bench) -> Runs:
    """nova's, by a stand-in: nova is not installed here."""
    module = sys.modules["nova.context"]

    def run() -> None:
        bench.call("gathers", module.scatter_gather_cells, None, [], 60, lambda: {"cell0": 1})
        bench.call("partly", lambda: len(module.scatter_gather_cells(None, [], 60, lambda: {"cell0": Boom()})))
        bench.call("fails", module.scatter_gather_cells, None, [], 60, fails)

    yield run


def batches(bench: Bench) -> Runs:
    """neutron's batch notifier, by a stand-in."""
    module = sys.modules["neutron.notifiers.batch_notifier"]

    def run() -> None:
        made = module.BatchNotifier(1, lambda events: bench.did(("sent", len(events))))
        with bench.request():
            made.queue_event({"event": 1})
        bench.call("one", made.flush)
        for number in range(2):
            with bench.request():
                made.queue_event({"event": number})
        bench.call("several", made.flush)
        broken = module.BatchNotifier(1, callback=fails)
        with bench.request():
            broken.queue_event({"event": 1})
        bench.call("fails", broken.flush)

    yield run


def delayed(bench: Bench) -> Runs:
    """nova's delaying executor, by a stand-in."""
    module = sys.modules["nova.thread_pool_factory"]

    def run() -> None:
        with bench.request():
            bench.call("delayed", module.StaticallyDelayingCancellableTaskExecutorWrapper().submit_with_delay, abs, -1)

    yield run


def stand_ins() -> None:
    """Put modules of services that cannot run here into their places, before the patches look for them."""

    def scatter_gather_cells(context: Any, cell_mappings: Any, timeout: int, fn: Any) -> Any:
        return fn()

    class BatchNotifier:
        def __init__(self, batch_interval: int, callback: Any) -> None:
            self.callback = callback
            self._pending: list[Any] = []

        def queue_event(self, event: Any) -> None:
            self._pending.append(event)

        def flush(self) -> Any:
            events, self._pending = self._pending, []
            return self.callback(events)

    class StaticallyDelayingCancellableTaskExecutorWrapper:
        def submit_with_delay(self, fn: Any, *args: Any) -> Any:
            return fn(*args)

    found: dict[str, dict[str, Any]] = {
        "nova": {},
        "nova.context": {"scatter_gather_cells": scatter_gather_cells},
        "nova.thread_pool_factory": {
            "StaticallyDelayingCancellableTaskExecutorWrapper": StaticallyDelayingCancellableTaskExecutorWrapper
        },
        "neutron": {},
        "neutron.notifiers": {},
        "neutron.notifiers.batch_notifier": {"BatchNotifier": BatchNotifier},
    }
    for name, content in found.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(content)


ALL = (
    threads, thread_pool, futures, futurist_threads, futurist_periodics, periodic_tasks, loops, startup, locks,
    log_setup, subprocesses, collected, scatter_gather, batches, delayed,
)  # fmt: skip
