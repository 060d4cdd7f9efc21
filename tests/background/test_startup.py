# SPDX-License-Identifier: Apache-2.0
"""Start-up of a service: one root span, in every way that oslo.service starts one."""

from __future__ import annotations

import pytest

from tests.background.service import run

SERVICE = """
import os, sys, threading
from oslo_config import cfg
from oslo_service import service
from otel_openstack import resource
resource.learn({"service.name": "nova-compute"})
class Compute(service.Service):
    def start(self):
        super().start()
        call("register")
        call("list")
        if self.fails:
            raise ValueError("bad")
    fails = False
"""


def script(body: str) -> str:
    import textwrap

    return SERVICE + textwrap.dedent(body)


EXPECTED = [["list", "startup nova-compute"], ["register", "startup nova-compute"], ["startup nova-compute", None]]


def test_a_service_in_the_launchers_own_process() -> None:
    """As nova-compute: no_fork."""
    tree, kept = run(
        script(
            """
            compute = Compute()
            launcher = service.launch(cfg.ConfigOpts(), compute, workers=1, no_fork=True)
            show([tree(), "start" in vars(compute)])
            """
        )
    )
    assert tree == EXPECTED
    assert not kept


def test_a_service_in_a_forked_worker() -> None:
    """As nova-conductor: the worker writes what it recorded into a pipe."""
    tree = run(
        script(
            """
            import json, signal
            read, write = os.pipe()
            class Reporting(Compute):
                def wait(self):
                    os.write(write, json.dumps(tree()).encode() + b"\\n")
                    os._exit(0)
            parent = os.getpid()
            def launch():
                launcher = service.launch(cfg.ConfigOpts(), Reporting(), workers=1)
                launcher.wait()
            pid = os.fork()
            if not pid:
                launch()
                os._exit(0)
            with os.fdopen(read) as pipe:
                show(json.loads(pipe.readline()))
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            """
        )
    )
    assert tree == EXPECTED


@pytest.mark.parametrize("eventlet", [False, True], ids=["threading", "eventlet"])
def test_a_service_in_a_thread_of_the_process(eventlet: bool) -> None:
    """As neutron starts several services in one worker."""
    tree = run(
        script(
            """
            compute = Compute()
            launcher = service.Launcher(cfg.CONF)
            launcher.launch_service(compute)
            seen.wait(lambda: seen.spans("startup nova-compute"))
            show(tree())
            sys.stdout.flush()
            os._exit(0)
            """
        ),
        eventlet=eventlet,
    )
    assert tree == EXPECTED


def test_a_start_that_fails() -> None:
    status = run(
        script(
            """
            compute = Compute()
            compute.fails = True
            try:
                service.launch(cfg.ConfigOpts(), compute, workers=1, no_fork=True)
            except ValueError:
                show(seen.span("startup nova-compute").status)
            """
        )
    )
    assert status == "ERROR"


def test_a_loop_that_is_started_at_start_up_is_not_its_work() -> None:
    parents = run(
        script(
            """
            from oslo_service import loopingcall
            class Beating(Compute):
                def start(self):
                    super().start()
                    self.tg.add_timer(0.01, self.beat)
                    seen.wait(lambda: len(seen.spans("beat")) >= 1)
                def beat(self):
                    call("beat")
            compute = Beating()
            threading.Timer(0.5, compute.stop).start()  # launch waits for the service
            service.launch(cfg.ConfigOpts(), compute, workers=1, no_fork=True)
            show(sorted({parent for name, parent in tree() if name == "beat"}))
            """
        )
    )
    assert parents == ["loop Beating.beat"]
