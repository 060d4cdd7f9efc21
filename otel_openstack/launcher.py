# SPDX-License-Identifier: Apache-2.0
"""The entry points of `opentelemetry-instrument`.

It asks for a distro, then for a configurator, then has the distro load the instrumentors of other packages. They stand
apart from the steps themselves because the base class pulls in wrapt, which `auto` does not need.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]
from opentelemetry.util._importlib_metadata import entry_points  # the launcher's own, which reads once

from otel_openstack import configuration, distro, withheld
from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State

DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


class OpenStackDistro(BaseDistro):  # type: ignore[misc]
    """What the launcher configures first, and asks about each instrumentor of other packages."""

    def _configure(self, **kwargs: Any) -> None:
        """Do nothing: the configurator, which the launcher calls next, does all."""

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Load an instrumentor of another package and note it; those withheld do not come this far."""
        if configuration.disabled(os.environ):
            return
        super().load_instrumentor(entry_point, **kwargs)
        inventory.note(f"instrumentor {entry_point.name}", State.ACTIVE)


class OpenStackConfigurator:
    """What the launcher calls to have the SDK set up."""

    def configure(self, **kwargs: Any) -> None:
        """Set the distribution up, and have the launcher pass over the instrumentors that are withheld.

        It would find out itself by asking the distro, but only after it has logged errors about those whose library is
        of another version.
        """
        if distro.start():
            asked = os.environ.get(DISABLED, "")
            _before.append(asked)
            os.environ[DISABLED] = ",".join(filter(None, [asked, *withheld.names()]))
            for entry_point in entry_points(group="opentelemetry_instrumentor"):
                if reason := withheld.reason(entry_point.name):
                    inventory.note(f"instrumentor {entry_point.name}", State.SKIPPED, reason)


_before: list[str] = []


def instrumented() -> None:
    """Take what was added to the environment out again: the service's own subprocesses inherit it (post_instrument)."""
    while _before:
        asked = _before.pop()
        if asked:
            os.environ[DISABLED] = asked
        else:
            os.environ.pop(DISABLED, None)
