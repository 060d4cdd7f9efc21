# SPDX-License-Identifier: Apache-2.0
"""A service on oslo.service whose level moves with its configuration file at SIGHUP.

python service.py CONFIGURATION DIRECTORY

It writes what it sees into DIRECTORY: `calls`, a line a turn with the decorated functions that were wrapped and active.
"""

import sys
from pathlib import Path

import otel_openstack.auto  # first, as the launcher would

assert otel_openstack.auto.active

from oslo_config import cfg
from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)
from oslo_log import log
from oslo_service import service

from otel_openstack import deep, levels, timed, use_registry

use_registry("../telemetry.yaml")
DIRECTORY = Path(sys.argv[2])


def plain():
    """Be the same three times."""


BASIC = timed("demo.build.duration")(plain)
DETAILED = timed("demo.steps.duration")(plain)
DEEP = timed("demo.inner.duration")(plain)


def measures(function):
    """Whether the wrapper does more than to pass the call on."""
    return function is not plain and "_otel_clock" in function.__code__.co_names


class Service(service.Service):
    def start(self):
        self.tg.add_timer(0.1, self.turn)

    def turn(self):
        state = {
            "level": levels.current().name,
            "basic": measures(BASIC),
            "detailed": measures(DETAILED),
            "deep is plain": DEEP is plain,
            "flag": bool(deep),
        }
        BASIC(), DETAILED(), DEEP()
        (DIRECTORY / "new").write_text(repr(state))
        (DIRECTORY / "new").rename(DIRECTORY / "state")


def main():
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf(["--config-file", sys.argv[1]])
    log.setup(conf, "demo")
    service.launch(conf, Service(), workers=1, restart_method="mutate").wait()


if __name__ == "__main__":
    main()
