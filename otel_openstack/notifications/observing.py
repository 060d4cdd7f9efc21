# SPDX-License-Identifier: Apache-2.0
"""What happens to one notification: the first rule that fits makes an event of it; every verdict is counted."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from opentelemetry import trace

from otel_openstack import metrics
from otel_openstack.developer import reading
from otel_openstack.notifications.pairs import Pairs
from otel_openstack.notifications.reading import reader
from otel_openstack.notifications.rules import Pairing, Rule
from otel_openstack.semconv import instruments
from otel_openstack.tracing import events

LONGEST = 256
IDENTITY = tuple(
    (attribute, reader(f"context.{name}"))
    for name, attribute in (
        ("request_id", "openstack.request_id"),
        ("global_request_id", "openstack.global_request_id"),
        ("project_id", "openstack.project_id"),
        ("user_id", "openstack.user_id"),
    )
)

RESULTS = metrics.counter(instruments.OTEL_OPENSTACK_NOTIFICATION_RULE_RESULTS)
PAIRS = metrics.counter(instruments.OTEL_OPENSTACK_NOTIFICATION_PAIRS)


class Observer:
    """The rules of a process, and what waits for its end."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._pairs = {rule.name: Pairs(rule.pair.max_age) for rule in rules if rule.pair is not None}

    def in_child(self) -> None:
        """Begin anew: what the parent began ends there."""
        for pairs in self._pairs.values():
            pairs.clear()

    def observe(self, context: Any, event_type: Any, payload: Any, priority: Any, publisher: Any) -> str:
        """Look at a notification.

        Args:
            context: the request context, an object or a dict.
            event_type: such as compute.instance.create.start.
            payload: what it says.
            priority: such as INFO.
            publisher: who says it, such as compute.host1.

        Returns:
            The name of the rule that made an event of it; empty if none did.
        """
        kind, level = str(event_type)[:LONGEST], str(priority).lower()[:LONGEST]
        who = str(publisher or "")[:LONGEST]
        for rule in self.rules:
            reason = _refusal(rule, kind, who, level, payload, context)
            RESULTS.add(1, rule.name, reason or "matched")
            if not reason:
                self._emit(rule, kind, level, who, payload, context)
                return rule.name
        return ""

    def _emit(self, rule: Rule, kind: str, level: str, who: str, payload: Any, context: Any) -> None:
        told: dict[str, Any] = {
            "openstack.notification.event_type": kind,
            "openstack.notification.publisher": who,
            "openstack.notification.priority": level,
        }
        if rule.pair is not None:
            told |= self._paired(rule, rule.pair, kind, payload, context)
        given = context or reading.request_context()
        for name, read in IDENTITY:
            value = read(None, given)
            if value:
                told[name] = value
        for name, read in rule.attributes:
            value = read(payload, context)
            if value is not None:
                told[name] = value
        events.emit(rule.event or kind, told, trace.get_current_span().get_span_context())

    def _paired(self, rule: Rule, pair: Pairing, kind: str, payload: Any, context: Any) -> dict[str, Any]:
        """Note a beginning, or find it for its end."""
        suffixes = {"start": pair.start, "end": pair.end, "error": pair.error}
        phase = next((phase for phase, suffix in suffixes.items() if kind.endswith(suffix)), None)
        if phase is None:
            return {}
        told: dict[str, Any] = {"openstack.notification.phase": phase}
        values = [read(payload, context) for read in pair.key]
        if None in values:
            PAIRS.add(1, rule.name, "no key")
            return told
        key = (kind[: -len(suffixes[phase])], *((type(value), value) for value in values))
        pairs, now = self._pairs[rule.name], perf_counter()
        if phase == "start":
            again, expired, crowded = pairs.begin(key, now)
            for outcome, number in (("begun again", again), ("expired", expired), ("too many", crowded)):
                if number:
                    PAIRS.add(int(number), rule.name, outcome)
            return told
        seconds = pairs.end(key, now)
        PAIRS.add(1, rule.name, "paired" if seconds is not None else "no start")
        if seconds is not None:
            told["openstack.notification.duration"] = seconds
        return told


def _refusal(rule: Rule, kind: str, who: str, level: str, payload: Any, context: Any) -> str:
    """Return why a rule does not fit; empty if it does."""
    if not rule.event_type.fullmatch(kind):
        return "event type"
    if rule.publisher is not None and not rule.publisher.fullmatch(who):
        return "publisher"
    if rule.priorities and level not in rule.priorities:
        return "priority"
    if any(read(payload, context) is None for read in rule.require):
        return "missing attribute"
    return ""
