# SPDX-License-Identifier: Apache-2.0
"""osprofiler's OTLP driver (since 4.0) gets a tracer provider of its own.

Left alone it adds its exporter to the global provider, which is ours, so that every span of ours would be sent a second
time, to its collector; and it moves a root span that was started below ours into another trace. A root that our sampler
left out would even fail the service's request, since the driver expects a span of the SDK. So the driver sees another
`opentelemetry.trace`: the provider that it makes stays its own, records whatever it is asked for, and its roots are
roots. What osprofiler sends to its collector stays what it was.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context

from otel_openstack.patching import Patch, guard, inventory

NAME = "osprofiler's OTLP driver"
REASON = "has a tracer provider of its own; on ours its exporter would send every span a second time"

_watch = guard("osprofiler.otlp")


class Apart:
    """Stands for the module `opentelemetry.trace` in one driver: the same, but with a provider that is not global."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._provider: Any = None

    def set_tracer_provider(self, provider: Any) -> None:
        """Keep the provider; osprofiler is asked for request by request, so whatever it starts is recorded."""
        self._provider = provider
        with _watch:
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            provider.sampler = ALWAYS_ON

    def get_tracer_provider(self) -> Any:
        return self._provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return _Roots(self._provider.get_tracer(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)


class _Roots:
    """A tracer whose spans have the parent that they are given, and none from the context of our own spans."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def start_span(self, name: str, context: Context | None = None, **others: Any) -> Any:
        return self._tracer.start_span(name, context=Context() if context is None else context, **others)


def _own_provider(original: Callable[..., Any]) -> Callable[..., Any]:
    """Replace what the driver keeps as its `trace_api` on the way."""

    @functools.wraps(original)
    def set_attribute(*args: Any, **kwargs: Any) -> Any:
        if _watch.applies() and args[1:2] == ("trace_api",):
            with _watch:
                driver, name, value = args
                inventory.aside(NAME, REASON)
                args = driver, name, Apart(value)
        return original(*args, **kwargs)

    return set_attribute


PATCHES: tuple[Patch, ...] = (
    Patch("osprofiler.otlp", "osprofiler.drivers.otlp", "OTLP.__setattr__", replace=_own_provider),
)
