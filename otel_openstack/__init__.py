# SPDX-License-Identifier: Apache-2.0
"""An OpenTelemetry distribution for OpenStack: unchanged services measure and trace themselves.

For developers of services there are decorators, instruments and a flag here; docs/developers.md shows them. They are
imported when they are asked for, so that importing this package costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; typing itself would be half of what this import costs
if TYPE_CHECKING:
    from typing import Any

    from otel_openstack.developer.decorators import counted, event, timed, traced
    from otel_openstack.developer.handles import counter, gauge, histogram, up_down_counter, use_registry

    deep: bool

__version__ = "0.1.0"

__all__ = [
    "counted",
    "counter",
    "deep",
    "event",
    "gauge",
    "histogram",
    "timed",
    "traced",
    "up_down_counter",
    "use_registry",
]

_HOMES = {
    **dict.fromkeys(("counted", "event", "timed", "traced"), "otel_openstack.developer.decorators"),
    **dict.fromkeys(
        ("counter", "gauge", "histogram", "up_down_counter", "use_registry"), "otel_openstack.developer.handles"
    ),
}


def __getattr__(name: str) -> Any:
    if name != "deep" and name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if name == "deep":
        return importlib.import_module("otel_openstack.developer.handles").deep()
    found = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
