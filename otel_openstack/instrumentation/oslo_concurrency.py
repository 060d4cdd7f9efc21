# SPDX-License-Identifier: Apache-2.0
"""Locks of oslo.concurrency: how long one waits, how long one holds.

`lockutils.lock` is what `synchronized` and everything else goes through: internal, fair and external locks.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from time import perf_counter
from types import TracebackType
from typing import Any

from otel_openstack import metrics
from otel_openstack.instrumentation.oslo_messaging_names import without_ids
from otel_openstack.levels import Level
from otel_openstack.patching import Guard, Patch, guard
from otel_openstack.pattern import Pattern

LOCK = "oslo_concurrency.lock"

WAIT = metrics.histogram("openstack.lock.wait.duration")
HOLD = metrics.histogram("openstack.lock.hold.duration")

_DIGITS = Pattern(r"\d+")
_HEX = Pattern(r"(?<![0-9a-zA-Z])[0-9a-f]{16,}(?![0-9a-zA-Z])")


def lock_name(name: object) -> str:
    """Return the name of a lock without ids and numbers, of which there is one per instance, image or port."""
    return _DIGITS.sub("{n}", _HEX.sub("{id}", without_ids(str(name))))


class TimedLock(contextlib.ContextDecorator):
    """What `lockutils.lock()` returns: the library's context manager with two clocks round it."""

    def __init__(self, make: Callable[[], Any], lock: Any, labels: tuple[str, bool], watch: Guard) -> None:
        self._make = make
        self._lock = lock
        self._labels = labels
        self._watch = watch
        self._held_since: float | None = None

    def _recreate_cm(self) -> TimedLock:
        # As a decorator the library's own generator is made anew for each call.
        return TimedLock(self._make, self._make(), self._labels, self._watch)

    def __enter__(self) -> Any:
        start = perf_counter()
        held = self._lock.__enter__()
        self._held_since = perf_counter()
        if self._watch.on:
            with self._watch:
                WAIT.record(self._held_since - start, *self._labels)
        return held

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        since, self._held_since = self._held_since, None
        swallowed: bool | None = self._lock.__exit__(kind, error, trace)
        if since is not None and self._watch.on:
            with self._watch:
                HOLD.record(perf_counter() - since, *self._labels)
        return swallowed


def replace_lock(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `lockutils.lock(name, lock_file_prefix=None, external=False, ...)`."""
    watch = guard(LOCK)

    @functools.wraps(original)
    def lock(*args: Any, **kwargs: Any) -> Any:
        made = original(*args, **kwargs)
        if watch.on:
            with watch:
                if hasattr(made, "__enter__"):
                    return TimedLock(
                        functools.partial(original, *args, **kwargs), made, _labels(*args, **kwargs), watch
                    )
        return made

    return lock


def _labels(
    name: Any, lock_file_prefix: Any = None, external: Any = False, *_args: Any, **_kwargs: Any
) -> tuple[str, bool]:
    return lock_name(name), bool(external)


PATCHES: tuple[Patch, ...] = (
    Patch(
        LOCK,
        "oslo_concurrency.lockutils",
        "lock",
        level=Level.DETAILED,
        group="lock",
        replace=replace_lock,
    ),
)
