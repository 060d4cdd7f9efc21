# SPDX-License-Identifier: Apache-2.0
"""The moment at which a service has parsed its configuration and set up its log.

Now region and zone can be read from its options, and what is to be said reaches the service's own log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_openstack import resource
from otel_openstack.patching import Patch, guard

# Resource attribute, and the options that say it, the first that is set counts: (group, option).
FACTS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "cloud.region",
        (
            ("keystone_authtoken", "region_name"),
            ("service_user", "region_name"),
            ("placement", "region_name"),
            ("neutron", "region_name"),
            ("nova", "region_name"),
            ("glance", "region_name"),
            ("cinder", "os_region_name"),
            ("service_catalog", "region_name"),
        ),
    ),
    (
        "cloud.availability_zone",
        (
            ("agent", "availability_zone"),
            ("AGENT", "availability_zone"),
            ("", "storage_availability_zone"),
            ("", "default_availability_zone"),
        ),
    ),
)

Callback = Callable[[Any], None]

_callbacks: list[Callback] = []


def after_setup(callback: Callback) -> None:
    """Call `callback` when the service has set up its log, with its configuration."""
    _callbacks.append(callback)


def forget(callback: Callback) -> None:
    """Call `callback` no longer."""
    if callback in _callbacks:
        _callbacks.remove(callback)


class _LogSetup:
    def before(self, conf: Any, *args: Any, **kwargs: Any) -> Any:
        return conf

    def finish(self, conf: Any, result: Any, error: BaseException | None) -> None:
        resource.learn(read_facts(conf))
        for callback in tuple(_callbacks):
            with guard("oslo_log.setup"):
                callback(conf)


def read_facts(conf: Any) -> dict[str, str]:
    """Return what `conf`, an oslo.config object, says of the place of this process in the cloud."""
    found = {}
    for attribute, options in FACTS:
        value = next(filter(None, (_option(conf, group, name) for group, name in options)), None)
        if value:
            found[attribute] = value
    return found


def _option(conf: Any, group: str, name: str) -> str | None:
    try:
        value = getattr(getattr(conf, group) if group else conf, name)
    except Exception:  # not registered in this service, or not parsed yet
        return None
    return value if isinstance(value, str) else None


PATCHES: tuple[Patch, ...] = (Patch("oslo_log.setup", "oslo_log.log", "setup", hook=_LogSetup, always=True),)
