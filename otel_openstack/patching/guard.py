# SPDX-License-Identifier: Apache-2.0
"""The guard round our own code in a hook: count, log once, switch the patch off after repeated failure."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from otel_openstack import settings
from otel_openstack.patching import inventory
from otel_openstack.runtime import notices

LIMIT = 5
LONGEST = 500
"""Characters of an error in a line of the log."""

P = ParamSpec("P")
R = TypeVar("R")


class Guard:
    """The state of one patch at work.

    As a context manager it keeps an Exception of our own code from reaching the service. BaseException passes: it is
    the service's (a signal, GreenletExit, a green timeout), never ours.
    """

    __slots__ = ("failures", "name", "on")

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.on = _may_work(name)

    def applies(self) -> bool:
        """Whether to change what is being made: also while all is suspended or off: it may outlive that."""
        return self.on or self._sound()

    def settle(self) -> None:
        """Work or pass through, as all that bears on it says now."""
        self.on = self._sound() and _may_work(self.name)

    def _sound(self) -> bool:
        return self.failures < LIMIT and self.name not in _retired

    def failed(self, step: str, error: Exception) -> None:
        """Count a failure in `step`; the first is logged, the fifth switches the patch off."""
        lines = self.note(step, error)
        if settings.get().strict:
            raise error
        for line in lines:
            notices.say("warning", line)

    def note(self, step: str, error: Exception) -> list[str]:
        """Count a failure as `failed` does, and return what is to be logged: for places that may not log."""
        number = self.failures = self.failures + 1  # read once: another thread may fail at the same time
        lines = []
        if number == 1:
            lines.append(f"hook {self.name} failed in {step}, the service's call is not affected: {_told(error)}")
        if number >= LIMIT and self.on and not settings.get().strict:
            self.on = False
            inventory.note(self.name, inventory.State.OFF, f"failed {number} times, last: {_told(error)}")
            lines.append(f"hook {self.name} failed {number} times and is switched off")
        return lines

    def renew(self) -> None:
        """Let the patch work, unless it is muted or everything is suspended."""
        _retired.discard(self.name)
        self.on = _may_work(self.name)

    def retire(self) -> None:
        """Let what is left of the patch pass through from now on: it was undone."""
        _retired.add(self.name)
        self.on = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.failed("hook", error)
            return True
        return False


def _told(error: Exception) -> str:
    """Return the repr of an error, which may be of a service's class and fail itself."""
    try:
        return repr(error)[:LONGEST]
    except Exception:
        return type(error).__name__


_guards: dict[str, Guard] = {}
_retired: set[str] = set()
_kept: set[str] = set()
_muted: set[str] = set()
_lasting: set[str] = set()
_silent = False
_suspended = False


def guard(name: str) -> Guard:
    """Return the guard of the patch called `name`: one object a name."""
    found = _guards.get(name)
    return found if found is not None else _guards.setdefault(name, Guard(name))


def failures() -> dict[str, int]:
    """Return the number of failures of each patch that ever failed."""
    return {name: found.failures for name, found in list(_guards.items()) if found.failures}


def keep(name: str) -> None:
    """Leave the patch called `name` at work while the others are suspended: it measures nothing, it protects."""
    _kept.add(name)


def mute(name: str, muted: bool) -> None:
    """Let the patch called `name` pass through while its level is not in force; calls under way still finish."""
    if muted:
        _muted.add(name)
    else:
        _muted.discard(name)
    guard(name).settle()


def last(name: str) -> None:
    """Leave the guard called `name` at work whatever the level is: it measures nothing itself."""
    _lasting.add(name)


def silence(silent: bool) -> None:
    """Let everything pass through while the level is off, also what is no patch or is made meanwhile."""
    global _silent
    _silent = silent
    for found in tuple(_guards.values()):
        found.settle()


def _may_work(name: str) -> bool:
    if name in _kept:
        return True
    return not _suspended and (name in _lasting or not (_silent or name in _muted))


def suspend() -> None:
    """Let hooks pass through, also those of patches that are applied meanwhile; calls under way still finish."""
    global _suspended
    _suspended = True
    for found in tuple(_guards.values()):
        found.on = found.on and found.name in _kept


def resume() -> None:
    """Take `suspend` back; what has failed repeatedly or was undone stays off."""
    global _suspended
    _suspended = False
    for found in tuple(_guards.values()):
        found.settle()


def reset() -> None:
    """Forget all failures (tests)."""
    global _silent
    _retired.clear()
    _muted.clear()
    _silent = False
    for found in _guards.values():
        found.failures, found.on = 0, _may_work(found.name)


def guarded(name: str) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """Decorate a callback of ours that a library calls: an error in it returns None and counts for `name`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R | None]:
        watch = guard(name)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R | None:
            if not watch.on:
                return None
            try:
                return function(*args, **kwargs)
            except Exception as error:
                watch.failed(function.__name__, error)
                return None

        return wrapper

    return decorate
