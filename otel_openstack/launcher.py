# SPDX-License-Identifier: Apache-2.0
"""The entry points of `opentelemetry-instrument`, for processes in which its own sitecustomize runs.

That is where the launcher was not there to choose ours (`launched.py`), as where an operator of Kubernetes puts the
directory into PYTHONPATH. It asks for a distro, then for a configurator, then runs the hooks and loads the
instrumentors of other packages. The latter is what we need of it too, where there are any. They stand apart from the
steps themselves because the base class pulls in wrapt, which no process has to pay for.
"""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.instrumentation.auto_instrumentation import _load
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]

from otel_openstack import distro, withheld
from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import notices

NAME = "otel_openstack"
CONFIGURATOR = "OTEL_PYTHON_CONFIGURATOR"

loader: Any = _load


class OpenStackDistro(BaseDistro):  # type: ignore[misc]
    """What the launcher configures first, and asks to load each instrumentor of other packages."""

    def _configure(self, **kwargs: Any) -> None:
        """Sort out what the launcher is going to load; our configurator, which it calls next, does all the rest.

        Beside another one, which an operator has to name, this is no more than the launcher's own distro.
        """
        if os.environ.get(CONFIGURATOR, NAME) == NAME:
            _sorting.install()

    def load_instrumentor(self, entry_point: Any, **kwargs: Any) -> None:
        """Load an instrumentor of another package and note it. One that fails keeps neither the others nor us away.

        Raises:
            ImportError, DependencyConflictError: its library is not there; the launcher knows what to say.

        """
        name = f"instrumentor {entry_point.name}"
        try:
            super().load_instrumentor(entry_point, **kwargs)
        except (ImportError, DependencyConflictError):
            raise
        except Exception as error:
            inventory.note(name, State.FAILED, repr(error))
            notices.say("warning", f"{name} of another package failed and is left out: {error!r}")
        else:
            inventory.note(name, State.ACTIVE)


class OpenStackConfigurator:
    """What the launcher calls to have the SDK set up."""

    def configure(self, **kwargs: Any) -> None:
        """Set the distribution up."""
        distro.start()


def load_others() -> None:
    """Load what other packages have, as the launcher does after it has configured us."""
    _sorting.install()
    try:
        loader._load_instrumentors(OpenStackDistro())
    finally:
        _sorting.undo()


def instrumented() -> None:
    """Let the launcher's loader go as it was (post_instrument)."""
    _sorting.undo()


class _Sorting:
    """Keeps entry points of other packages from the launcher's loader, by the place where it asks for them.

    The loader runs every pre_instrument hook whatever its options say, warns of every configurator that it does not
    use, and logs errors about instrumentors whose library is of another version before it asks the distro.
    """

    def __init__(self) -> None:
        self._original: Any = None

    def install(self) -> None:
        """Take the loader's place to ask."""
        if self._original is None:
            self._original = loader.entry_points
            loader.entry_points = self.entry_points

    def undo(self) -> None:
        """Give it back."""
        if self._original is not None:
            loader.entry_points, self._original = self._original, None

    def entry_points(self, **params: Any) -> list[Any]:
        """Return the entry points that the loader asks for, but for those that are withheld."""
        group = params.get("group", "")
        found = list(self._original(**params))
        if group == "opentelemetry_configurator":
            return [entry_point for entry_point in found if entry_point.name == NAME]
        kind = KINDS.get(group)
        return found if kind is None else [entry_point for entry_point in found if not _withheld(kind, entry_point)]


KINDS = {"opentelemetry_pre_instrument": "hook", "opentelemetry_instrumentor": "instrumentor"}


def _withheld(kind: str, entry_point: Any) -> bool:
    """Whether an entry point of another package is left out; noted with the reason."""
    # Where nothing is measured, nothing may be changed either.
    return not distro.active() or withheld.noted(kind, entry_point.name)


_sorting = _Sorting()
