# SPDX-License-Identifier: Apache-2.0
"""What a workload tells of itself: the results and errors of the service, and how often each of its parts ran."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_openstack import tracing

Workload = Callable[["Bench"], Iterator[Callable[[], None]]]
"""A generator: sets the service up, yields what is run again and again, and takes it down."""


_ID = re.compile(r"[0-9a-f]{32}")


class Bench:
    """One run of a workload."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self.interrupted = False
        self._lock = threading.Lock()

    def did(self, what: object) -> None:
        """Note that a part of the service ran."""
        with self._lock:
            self._told.append(repr(what))

    def call(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the library and note what came of it: its value, or its error and where that was raised."""
        try:
            value = function(*args, **kwargs)
        except BaseException as error:
            self.interrupted |= not isinstance(error, Exception)
            self.did((what, *described(error)))
            return None
        self.did((what, value if isinstance(value, str | bytes | int | float | list | tuple | type(None)) else "..."))
        return value

    def current(self) -> bool:
        """Return whether a span is current where nothing should be: a worker's thread between two items."""
        return trace.get_current_span().get_span_context().is_valid

    def story(self) -> list[str]:
        """Return what was told since the last call; in no order, since threads have none."""
        with self._lock:
            told, self._told, self.interrupted = sorted(self._told), [], False
        return told

    @contextmanager
    def request(self, kind: SpanKind = SpanKind.SERVER) -> Iterator[None]:
        """Be inside a request, so that there is a context to be carried."""
        operation = tracing.root("bench", "request", kind)
        try:
            yield
        finally:
            operation.finish()


def described(error: BaseException) -> tuple[str, ...]:
    """Return class, arguments, origin and context of an error."""
    origin = traceback.extract_tb(error.__traceback__)[-1]
    return type(error).__name__, _ID.sub("{id}", str(error.args))[:200], origin.name, type(error.__context__).__name__


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for what a thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never true"
        time.sleep(0.001)
