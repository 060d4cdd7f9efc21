# SPDX-License-Identifier: Apache-2.0
"""threading: a thread or timer that a service starts carries on the context of its starter."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from otel_openstack import tracing
from otel_openstack.instrumentation.threads_infrastructure import serves
from otel_openstack.patching import Patch

_ABSENT: Any = object()


class CarryIntoThread:
    """Gives a thread an own `run` for its first call; so also a subclass that overrides `run` is carried."""

    def before(self, thread: threading.Thread) -> Callable[[], None] | None:
        if thread.ident is not None or serves(work_of(thread)):
            return None
        captured = tracing.capture()
        if captured is None:
            return None
        own = vars(thread).get("run", _ABSENT)
        body = named(thread.run, work_of(thread))

        def restore() -> None:
            if own is not _ABSENT:
                vars(thread)["run"] = own
            else:
                vars(thread).pop("run", None)

        def run() -> None:
            restore()
            captured.run(body)

        vars(thread)["run"] = run
        return restore

    def finish(self, state: Callable[[], None], result: Any, error: BaseException | None) -> None:
        if error is not None:  # no thread could be started
            state()


def work_of(thread: threading.Thread) -> Any:
    """Return the function that `thread` is for: its target, a timer's function, or the `run` of its class."""
    kind_run = type(thread).run
    if kind_run is threading.Thread.run:
        return getattr(thread, "_target", None) or kind_run
    if kind_run is threading.Timer.run:
        return getattr(thread, "function", None) or kind_run
    return kind_run


def named(run: Callable[[], None], work: Any) -> Callable[[], None]:
    """Return `run` under the name of the work in it, which a task's span shows."""
    while isinstance(work, functools.partial):
        work = work.func

    def body() -> None:
        run()

    body.__module__ = getattr(work, "__module__", None) or body.__module__
    body.__name__ = body.__qualname__ = getattr(work, "__qualname__", None) or type(work).__qualname__
    return body


PATCHES: tuple[Patch, ...] = (
    Patch(name="threading.start", module="threading", attribute="Thread.start", group="threads", hook=CarryIntoThread),
)
