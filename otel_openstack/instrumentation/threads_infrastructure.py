# SPDX-License-Identifier: Apache-2.0
"""Which threads serve a library for long, and so must not keep the context of the request that happened to start them.

A thread that a service starts for a piece of work carries the context of that work. A poller, heartbeat or pool worker
is started by whichever request comes first, and would file everything it ever does under that one.
"""

from __future__ import annotations

import functools
from typing import Any

# Top-level packages whose functions, run as a thread of their own, are infrastructure.
PACKAGES = frozenset({
    "amqp",
    "cheroot",
    "concurrent",
    "confluent_kafka",
    "cotyledon",
    "eventlet",
    "futurist",
    "gunicorn",
    "http",
    "kazoo",
    "kombu",
    "logging",
    "multiprocessing",
    "opentelemetry",
    "os_ken",
    "oslo_concurrency",
    "oslo_log",
    "oslo_messaging",
    "oslo_metrics",
    "oslo_privsep",
    "oslo_reports",
    "oslo_rootwrap",
    "oslo_service",
    "otel_openstack",
    "ovs",
    "ovsdbapp",
    "prometheus_client",
    "socketserver",
    "sqlalchemy",
    "tooz",
    "urllib3",
    "werkzeug",
    "wsgiref",
})  # fmt: skip

# Modules of services that keep a thread of their own, begun at the first use.
MODULES = frozenset({
    "neutron.agent.common.async_process",
    "neutron.agent.linux.external_process",
    "neutron.agent.linux.ip_conntrack",
    "neutron.agent.linux.nl_dispatcher",
    "nova.thread_pool_factory",
})  # fmt: skip

# Packages that submit endless loops to executors; whatever else is submitted is an item of work.
LOOPS = frozenset({"futurist", "oslo_service"})


def serves(function: Any) -> bool:
    """Return whether a thread or green thread that runs `function` is infrastructure."""
    module = module_of(function)
    return module.partition(".")[0] in PACKAGES or module in MODULES


def loops(function: Any) -> bool:
    """Return whether `function`, submitted to an executor, is a loop of a library and no item of work."""
    return module_of(function).partition(".")[0] in LOOPS


def module_of(function: Any) -> str:
    """Return the name of the module that defines `function`; a method's is that of its class's author."""
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return module if isinstance(module, str) else ""
