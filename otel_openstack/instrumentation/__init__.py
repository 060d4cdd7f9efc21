# SPDX-License-Identifier: Apache-2.0
"""One module a library, each of which opens with its table of patches.

    PATCHES: tuple[Patch, ...] = (Patch(name=..., module=..., attribute=..., hook=...), ...)

What is no plain patch (class-level events of SQLAlchemy, callbacks that read gauges) goes into the optional functions
`install()` and `uninstall()` of the same module. Importing a module of this package imports no library that it hooks.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

from otel_openstack.patching import guard, inventory
from otel_openstack.patching.inventory import State

# Stop hooks first: whatever is recorded later can then leave.
MODULES: tuple[str, ...] = (
    "oslo_service_stop",
    "oslo_log",
    "oslo_config",
    # Helpers are left alone.
    "subprocesses",
    "privsep",
    # Context follows the work; pools and event loops.
    "threads",
    "threads_pool",
    "futures",
    "futures_pools",
    "futurist",
    "eventlet",
    "event_loop",
    "event_loop_native",
    # Work that no request asked for.
    "oslo_service_startup",
    "oslo_service_periodic",
    "oslo_service_loops",
    "futurist_periodics",
    # Requests in.
    "wsgi",
    "wsgi_apps",
    "wsgi_scripts",
    "routes",
    "backlog",
    "oslo_middleware",
    "service_tokens",
    # Calls out.
    "http_client",
    "cloud_endpoints",
    "memcache",
    "db_engines",
    "db_statements",
    "db_pool",
    "db_functions",
    "oslo_messaging_client",
    "oslo_messaging_server",
    "oslo_messaging_notify",
    "oslo_messaging_notifier",
    "oslo_messaging_pool",
    "oslo_concurrency",
    "nova_cells",
    "neutron_batches",
    # Other tools that measure.
    "osprofiler",
)


def install(names: Iterable[str] = MODULES) -> None:
    """Install the patches of the modules called `names`; one that fails does not keep the others from it."""
    for name in names:
        with _Isolation(name):
            module = _load(name)
            for patch in getattr(module, "PATCHES", ()):
                patch.install()
            getattr(module, "install", _nothing)()


def uninstall(names: Iterable[str] = MODULES) -> None:
    """Undo what `install` did, in the reverse order."""
    for name in reversed(tuple(names)):
        with _Isolation(name):
            module = _load(name)
            getattr(module, "uninstall", _nothing)()
            for patch in reversed(getattr(module, "PATCHES", ())):
                patch.undo()


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _nothing() -> None:
    pass


class _Isolation:
    """Notes a module of ours that cannot be installed, and goes on."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        inventory.note(self._name, State.FAILED, repr(error))
        guard(self._name).failed("install", error)
        return True
