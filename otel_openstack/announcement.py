# SPDX-License-Identifier: Apache-2.0
"""The start-up line: one line in the service's log that says what is measured, what made room, and where it goes.

It is written when the service has its log, or at the first record of one that has no oslo.log. What the configuration
of the service switches on (osprofiler, oslo.middleware's filter) steps aside only when the service gets to it; the line
is written again then, complete: a process has no later moment of its own at which nothing of that can come any more,
and waiting for one would leave a service that nobody asks anything without its line.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from otel_openstack import __version__, resource, settings
from otel_openstack.exporters.choose import Choices
from otel_openstack.instrumentation import oslo_log
from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import Entry, State
from otel_openstack.runtime import notices, process

INSTRUMENTOR = "instrumentor "  # of another package; there may be many


def announce(choices: Choices) -> None:
    """Have the line written at its moment, once in a process and what it forks, and again where it was incomplete."""
    said: list[bool] = []

    def once(_conf: Any = None) -> None:
        if said:
            return
        said.append(True)
        notices.say("info", line(choices))
        inventory.when_aside(lambda: notices.say("info", line(choices)))
        for text in inventory.text().splitlines():
            notices.say("debug", text)

    oslo_log.after_setup(once)
    process.on_start(lambda: None if "oslo_log.log" in sys.modules else once())


def line(choices: Choices) -> str:
    """Return the line as of now."""
    failed, aside = inventory.names(State.FAILED), [e for e in inventory.entries() if e.state is State.ASIDE]
    return (
        f"version {__version__} measures {resource.service_name()} at level {settings.get().level}; "
        f"active: {', '.join(_libraries(inventory.names(State.ACTIVE))) or 'nothing yet'}; "
        + (f"failed: {', '.join(failed)}; " if failed else "")
        + (f"stepped aside: {stepped_aside(aside)}; " if aside else "")
        + f"exports {choices.describe()}"
    )


def stepped_aside(entries: Iterable[Entry]) -> str:
    """Return who made room and why; instrumentors of other packages stand together under their reason."""
    alone: list[str] = []
    together: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry.name.startswith(INSTRUMENTOR):
            together[entry.reason].append(entry.name.removeprefix(INSTRUMENTOR))
        else:
            alone.append(f"{entry.name} ({entry.reason})")
    return ", ".join([*alone, *(f"instrumentors {' '.join(names)} ({why})" for why, names in together.items())])


def _libraries(names: list[str]) -> list[str]:
    """Shorten the names of patches to those of the libraries."""
    return sorted({name.partition(".")[0] for name in names})
