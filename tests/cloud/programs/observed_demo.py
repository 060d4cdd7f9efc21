# SPDX-License-Identifier: Apache-2.0
"""`make demo OBSERVE=1` with a recorded run in the place of the cloud: python observed_demo.py RECORDED OPTION...

All else is the demo itself. It takes the terminal that it is given.
"""

from __future__ import annotations

import fcntl
import http.client
import runpy
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
MINICLOUD = ROOT / "examples" / "minicloud"
SECONDS = 4  # of the replay
sys.path[:0] = [str(MINICLOUD), str(ROOT)]

import demo
import install
import lifecycle
import observe

from tests.cloud.recorded import Run
from tests.collector.replay import Recording


class Receiver:
    def __init__(self, port):
        self.port = port

    def post(self, body, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status


def replayed(recorded):
    """What the demo calls to start, use and stop the cloud."""

    def use(cloud, _servers, _observed):
        run = Run(recorded)
        cloud.prepare()
        lifecycle.sweep(cloud)
        cloud.choose_ports()
        lifecycle.forget_telemetry(cloud)
        observe.start(cloud)
        time.sleep(1)  # counters that began before the collector did would be baselines
        Recording(run.otlp).send(Receiver(cloud.ports["otlp_http"]), SECONDS)
        return [step for drive in run.drives for step in drive.steps]

    return use


if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    demo._use = replayed(Path(sys.argv[1]))
    install.everything = lambda _cloud: None
    sys.argv[:2] = ["minicloud", "demo", "--observe"]
    sys.exit(runpy.run_path(str(MINICLOUD / "__main__.py"))["main"]())
