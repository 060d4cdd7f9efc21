# SPDX-License-Identifier: Apache-2.0
"""eventlet's hub: its time idle, active and blocked, and how late it fires its timers.

The time inside `do_poll` is idle; what lies between two of them is a turn. `wait` runs callbacks too, so it counts as
idle only where there is nothing to poll and the hub just sleeps. A hub is made anew for each native thread and by
`use_hub` (oslo.service does that in each worker it forks), so every hub is prepared where it is made.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Any

from otel_openstack import metrics
from otel_openstack.patching import Patch, guard, hooked, inventory, when_imported
from otel_openstack.semconv import instruments

BLOCKED = 0.1
"""A turn of the loop that is longer (s) is blocked, not active."""

Wait = Callable[..., Any]

EVENTLET, ASYNCIO = "eventlet", "asyncio"


class Clock:
    """The time of one loop: since when it is in its present turn, and where the parts of its time go."""

    def __init__(self, kind: str) -> None:
        time = metrics.counter(instruments.OPENSTACK_EVENT_LOOP_TIME)
        self.idle = time.bind(kind, "idle")
        self.active = time.bind(kind, "active")
        self.blocked = time.bind(kind, "blocked")
        self.turn = perf_counter()

    def round(self, wait: Wait, listeners: dict[str, dict[int, Any]] | None = None) -> Wait:
        """Return `wait`, measured as idle time; with `listeners`, only while there are none.

        Closed by hand, since it runs at every turn of the loop: the general wrapper would cost three times as much.
        """
        idle, active, blocked = self.idle, self.active, self.blocked
        watch = guard("eventlet.hub")

        @functools.wraps(wait)
        def measured(*args: Any, **kwargs: Any) -> Any:
            if not watch.on:
                self.turn = inf  # once it is on again the first turn is no turn: counters leave out what is negative
                return wait(*args, **kwargs)
            if listeners is not None and any(listeners.values()):
                return wait(*args, **kwargs)
            began = perf_counter()
            try:
                turn = began - self.turn
                (blocked if turn > BLOCKED else active)(turn)
            except Exception as error:
                watch.failed("turn", error)
            try:
                return wait(*args, **kwargs)
            finally:
                self.turn = ended = perf_counter()
                try:
                    idle(ended - began)
                except Exception as error:
                    watch.failed("idle", error)

        return measured


class Fire:
    """Before the hub fires what is due: how late is the first of it."""

    def __init__(self, hub: Any, kind: str) -> None:
        self._hub = weakref.ref(hub)
        self._record = metrics.histogram(instruments.OPENSTACK_EVENT_LOOP_DELAY).bind(kind)

    def before(self, when: float) -> None:
        timers = self._hub().timers  # type: ignore[union-attr]
        if timers:
            due, timer = timers[0]
            if when >= due and not timer.called:
                self._record(when - due)

    def finish(self, state: None, result: Any, error: BaseException | None) -> None:
        """Nothing is left to do."""


class Made:
    """A hub is made."""

    def before(self, hub: Any, *args: Any, **kwargs: Any) -> Any:
        return hub

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None:
            watch(state)


class LoopMade:
    """The asyncio hub has made its loop: the loop's selector is where it waits."""

    def before(self, hub: Any) -> Any:
        return hub

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        selector = getattr(state.loop, "_selector", None)
        if error is None and selector is not None:
            _put(selector, "select", Clock(ASYNCIO).round(selector.select))


_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(hub: Any) -> None:
    """Measure `hub` from now on; once is enough."""
    if hub in _watched:
        return
    polls = hasattr(hub, "do_poll")
    if polls:
        clock = Clock(EVENTLET)
        _put(hub, "do_poll", clock.round(hub.do_poll))
        _put(hub, "wait", clock.round(hub.wait, hub.listeners))
    elif not hasattr(hub, "_post_initialize"):
        inventory.note(
            "eventlet.hub.poll", inventory.State.SKIPPED, f"{type(hub).__module__} has no do_poll to measure"
        )
    if metrics.histogram(instruments.OPENSTACK_EVENT_LOOP_DELAY).possible:
        late = Fire(hub, EVENTLET if polls else ASYNCIO)
        _put(hub, "fire_timers", hooked(hub.fire_timers, late, guard("eventlet.hub.timers")))


def _put(owner: Any, name: str, method: Wait) -> None:
    setattr(owner, name, method)
    _watched.add(owner)


def _watch_present(hubs: Any) -> None:
    with guard("eventlet.hub"):
        hub = getattr(hubs._threadlocal, "hub", None)
        if hub is not None:
            watch(hub)


def install() -> None:
    """Take care of the hub of this thread if there is one already."""
    when_imported("eventlet.hubs", _watch_present)


def uninstall() -> None:
    """Give the hubs their own methods back."""
    for owner in list(_watched):
        for name in ("do_poll", "wait", "fire_timers", "select"):
            vars(owner).pop(name, None)
    _watched.clear()


_GROUP = "event_loop"

PATCHES: tuple[Patch, ...] = (
    Patch(
        "eventlet.hub", module="eventlet.hubs.hub", attribute="BaseHub.__init__", group=_GROUP, hook=Made, always=True
    ),
    Patch(
        "eventlet.hub.asyncio",
        module="eventlet.hubs.asyncio",
        attribute="Hub._post_initialize",
        group=_GROUP,
        hook=LoopMade,
        always=True,
    ),
)
