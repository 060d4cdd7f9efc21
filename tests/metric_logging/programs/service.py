# SPDX-License-Identifier: Apache-2.0
"""A service with oslo.config, oslo.context and oslo.log that logs measurements; its logging.conf says where to."""

import os
import sys

import otel_openstack.auto  # noqa: F401

if "green" in sys.argv:
    import eventlet

    eventlet.monkey_patch()

from opentelemetry import trace
from oslo_config import cfg
from oslo_context import context
from oslo_log import log

from otel_openstack import metric_logging

CONF = cfg.CONF
log.register_options(CONF)
CONF([], project="nova", default_config_files=[sys.argv[1]])
log.setup(CONF, "nova")
LOG = metric_logging.MetricAdapter(log.getLogger("nova.compute.manager"))


def work(times):
    for _ in range(times):
        LOG.metric("compute.build", 1.25, "histogram", "s", {"flavor": "m1.tiny", "password": "canary-1"})
        LOG.metric("compute.builds", attributes={"flavor": "m1.tiny"})


context.RequestContext(request_id="req-1", project_id="p-1", overwrite=True)
with trace.get_tracer("service").start_as_current_span("build") as span:
    LOG.info("an ordinary line of %s", "the log")
    LOG.debug("below the level")
    work(5)
    LOG.metric("compute.free", -3, "gauge")
    print(f"{span.get_span_context().trace_id:032x}", flush=True)
child = os.fork()
if child == 0:
    work(2)
    sys.exit(0)
os.waitpid(child, 0)
