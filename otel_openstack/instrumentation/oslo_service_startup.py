# SPDX-License-Identifier: Apache-2.0
"""What a service does in its `start()` before it serves: one root span `startup {service}`.

Every service overrides `Service.start`, so it is wrapped on the instance, at the three places where oslo.service calls
it, for that one call.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import resource, tracing
from otel_openstack.instrumentation.background import SCOPE, function_name, starting
from otel_openstack.patching import Patch, finished, guard

START = "oslo_service.start"


def trace_start(service: Any) -> None:
    """Shadow `service.start` with a call that takes itself away, opens the root and starts the service."""
    watch = guard(START)
    own = vars(service)
    if "start" in own:
        return

    def start(*args: Any, **kwargs: Any) -> Any:
        own.pop("start", None)
        operation = None
        if watch.on:
            with watch:
                if tracing.totals() is None:
                    attributes = {"code.function.name": function_name(service.start)}
                    name = f"startup {resource.service_name()}"
                    operation = tracing.root(SCOPE, name, SpanKind.INTERNAL, attributes)
                    try:
                        starting(operation)
                    except BaseException:
                        operation.let_go()
                        raise
        try:
            result = service.start(*args, **kwargs)
        except BaseException as error:
            if operation is not None:
                finished(watch, operation, operation.finish, error)
            raise
        if operation is not None:
            finished(watch, operation, operation.finish)
        return result

    own["start"] = start


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Trace the start of the service that is the first argument."""
    trace_start(args[0] if args else kwargs["service"])
    return args, kwargs


def _wrapped(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Trace the start of the service inside cotyledon's wrapper (a worker of the threading backend)."""
    trace_start(args[0].service_instance)
    return args, kwargs


def _unforked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """Trace the start of a service that runs in the launcher's own process."""
    if args[0].no_fork:
        trace_start(args[1] if len(args) > 1 else kwargs["service"])
    return args, kwargs


_THREADING = "oslo_service.backend._threading.service"
_EVENTLET = "oslo_service.backend._eventlet.service"

PATCHES: tuple[Patch, ...] = (
    Patch(f"{START}.worker", _THREADING, "ServiceWrapper.run", group="periodic", rewrite=_wrapped),
    Patch(f"{START}.unforked", _THREADING, "ProcessLauncher.launch_service", group="periodic", rewrite=_unforked),
    Patch(f"{START}.thread", _THREADING, "Services.run_service", group="periodic", rewrite=_given),
    Patch(f"{START}.green", _EVENTLET, "Services.run_service", group="periodic", rewrite=_given),
    # Before 4.2; since then the same class as one of those above, where a second shadow changes nothing.
    Patch(f"{START}.before_4.2", "oslo_service.service", "Services.run_service", group="periodic", rewrite=_given),
)
