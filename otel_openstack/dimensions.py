# SPDX-License-Identifier: Apache-2.0
"""Whom the work is for that runs now: project, domain, user, instance and request ids.

    from otel_openstack import dimensions

    dimensions.current()                      # {"openstack.project_id": "d8f5...", "openstack.request_id": "req-..."}
    dimensions.add(instance=instance.uuid)    # known from here on, below this request

They are set by the edge: of an API once its middleware has identified the caller, of an RPC server before the method is
called. All that works for the request sees them, in threads, pools and green threads too. On the metrics that allow it
they go where `OTEL_OPENSTACK_METRIC_DIMENSIONS` says so; with calls to other services they travel where
`OTEL_OPENSTACK_BAGGAGE_DIMENSIONS` does.
"""

from __future__ import annotations

from opentelemetry import trace

from otel_openstack.tracing import asking

__all__ = ["add", "current"]


def current() -> dict[str, str]:
    """Return what is known, by the names of attributes; empty outside every request."""
    return asking.current()


def add(
    *,
    project: str = "",
    domain: str = "",
    user: str = "",
    instance: str = "",
    request: str = "",
    global_request: str = "",
) -> bool:
    """Say more of the request that is served here, for all that works for it from now on, and on the current span.

    Returns:
        Whether there is a request; outside one nothing is kept.
    """
    given = {
        "project": project, "domain": domain, "user": user, "instance": instance, "request": request,
        "global_request": global_request,
    }  # fmt: skip
    known = {asking.NAMES[name]: value for name, value in given.items() if asking.fits(value)}
    if not known or not asking.add(known):
        return False
    trace.get_current_span().set_attributes(known)
    return True
