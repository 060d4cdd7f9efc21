# SPDX-License-Identifier: Apache-2.0
"""Where a service hands a notification to oslo.messaging: rules make events of it, whatever the drivers do with it.

The patch is there only where rules are given. It stands above the serializer, so the payload is what the service made;
what a notifier with another publisher sends (`prepare`) comes through here too.
"""

from __future__ import annotations

from typing import Any

from otel_openstack import settings
from otel_openstack.notifications import rules
from otel_openstack.notifications.observing import Observer
from otel_openstack.patching import Patch, inventory
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import notices, process
from otel_openstack.tracing import events


class _Notify:
    """Looks at a notification before it goes its way; nothing is left to do after it."""

    def __init__(self) -> None:
        self.observer = Observer(())

    def before(
        self,
        notifier: Any,
        ctxt: Any,
        event_type: Any,
        payload: Any,
        priority: Any,
        publisher_id: Any = None,
        *_: Any,
        **__: Any,
    ) -> None:
        self.observer.observe(ctxt, event_type, payload, priority, publisher_id or notifier.publisher_id)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        """Do nothing: `before` leaves no state."""


_hook = _Notify()
_patch = Patch(
    "oslo_messaging.notifier.events", "oslo_messaging.notify.notifier", "Notifier._notify", group="rpc", hook=_hook
)


def install() -> None:
    """Read the rules, and patch if there are any; mistakes are told, and the other rules hold."""
    files = settings.get().notification_rules
    if not files:
        inventory.note(_patch.name, State.SKIPPED, "no notification rules are given")
        return
    found, problems = rules.load(files)
    for problem in problems:
        notices.say("error", problem)
    if not events.wanted:
        notices.say("warning", "notification rules are given, but OTEL_LOGS_EXPORTER sends events nowhere")
    _hook.observer = Observer(found)
    if found:
        _patch.install()
    else:
        inventory.note(_patch.name, State.SKIPPED, "the notification rules hold none that can be used")


def uninstall() -> None:
    """Put the notifier's own method back."""
    _patch.undo()


def _in_child() -> None:
    _hook.observer.in_child()


process.on_child(_in_child)
