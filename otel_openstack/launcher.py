# SPDX-License-Identifier: Apache-2.0
"""The entry points of `opentelemetry-instrument`.

It asks for a distro, then for a configurator, then has the distro load the instrumentors of other packages. They stand
apart from the steps themselves because the base class pulls in wrapt, which `auto` does not need.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]

from otel_openstack import configuration, distro, withheld
from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State


class OpenStackDistro(BaseDistro):  # type: ignore[misc]
    """What the launcher configures first, and asks about each instrumentor of other packages."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: the configurator, which the launcher calls next, does all."""

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Load an instrumentor of another package, unless it would stop the service or measure the same twice."""
        if configuration.disabled(os.environ):
            return
        reason = withheld.reason(entry_point.name)
        if reason:
            inventory.note(f"instrumentor {entry_point.name}", State.SKIPPED, reason)
            return
        super().load_instrumentor(entry_point, **kwargs)
        inventory.note(f"instrumentor {entry_point.name}", State.ACTIVE)


class OpenStackConfigurator:
    """What the launcher calls to have the SDK set up."""

    def configure(self, **kwargs: Any) -> None:
        """Set the distribution up."""
        distro.start()
