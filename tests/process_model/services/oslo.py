# SPDX-License-Identifier: Apache-2.0
"""A service under oslo.service: `oslo.py eventlet|threading WORKERS [no_fork]`.

It works in its start(), while it runs, and in its stop().
"""

import sys

import telemetry

telemetry.start()
BACKEND, WORKERS, NO_FORK = sys.argv[1], int(sys.argv[2]), "no_fork" in sys.argv
if BACKEND == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import threading
import time

from oslo_config import cfg
from oslo_service import backend

backend.init_backend(backend.BackendType.EVENTLET if BACKEND == "eventlet" else backend.BackendType.THREADING)
from oslo_service import service


class Service(service.Service):
    def __init__(self):
        super().__init__()
        self.stopped = threading.Event()

    def start(self):
        telemetry.work(7)
        tick, self.stop_tick = telemetry.ticker(time.sleep)
        threading.Thread(target=tick, daemon=True).start()
        threading.Thread(target=self.later, daemon=True).start()

    def later(self):
        time.sleep(1.2)  # the first export has happened, or is hanging
        telemetry.work(3)
        telemetry.witness("ready")

    def wait(self):
        self.stopped.wait()

    def stop(self, graceful=False):
        if hasattr(self, "stop_tick"):  # oslo.service's parents stop services that they never started
            self.stop_tick()
            telemetry.work(5)
        self.stopped.set()


conf = cfg.ConfigOpts()
conf([], project="test")
launcher = service.launch(conf, Service(), workers=WORKERS, **({"no_fork": True} if NO_FORK else {}))
launcher.wait()
