# SPDX-License-Identifier: Apache-2.0
"""A pytest fixture that shows what code under test recorded, by value.

    def test_listing(telemetry):
        with telemetry.patched("wsgi"):
            client.get("/servers")
        (span,) = telemetry.spans("GET /servers")
        assert span.attributes["http.response.status_code"] == 200
        assert telemetry.points("http.server.request.duration")[0].count == 1

It is found by pytest through the entry point; nothing is exported, and the global providers of OpenTelemetry are those
of the test, and put back after it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from otel_openstack import instrumentation, levels, settings

if TYPE_CHECKING:
    from otel_openstack.metrics.memory import Point
    from otel_openstack.tracing.events import LogEvent
    from otel_openstack.tracing.provider import TracerProvider
    from otel_openstack.tracing.span import Span


@dataclass(frozen=True)
class EventView:
    """An event of a span; time in ns since the epoch."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class LinkView:
    """A link of a span."""

    trace_id: int
    span_id: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class SpanView:
    """A finished span. Ids are integers, times ns since the epoch, kind and status names such as `SERVER`, `ERROR`.

    parent: the parent's span id, None for a root.
    """

    name: str
    kind: str
    attributes: Mapping[str, Any]
    parent: int | None
    trace_id: int
    span_id: int
    status: str
    description: str | None
    events: tuple[EventView, ...]
    links: tuple[LinkView, ...]
    start: int
    end: int
    scope: str
    parent_is_remote: bool = False


@dataclass
class Telemetry:
    """What the test recorded, and the means to record it."""

    provider: TracerProvider
    _finished: list[SpanView] = field(default_factory=list)
    _events: list[LogEvent] = field(default_factory=list)

    def spans(self, name: str | None = None) -> list[SpanView]:
        """Return the finished spans in the order of their ends, all or those called `name`."""
        self._finished += [view(span) for span in self.provider.queue.take(2**31)]
        return [span for span in self._finished if name is None or span.name == name]

    def span(self, name: str) -> SpanView:
        """Return the only finished span called `name`.

        Raises:
            AssertionError: there is none, or more than one; names those that there are.

        """
        found = self.spans(name)
        assert len(found) == 1, f"{len(found)} spans called {name!r} among {[span.name for span in self._finished]}"  # noqa: S101
        return found[0]

    def events(self) -> list[LogEvent]:
        """Return the log events (name, time, attributes, trace_id, span_id), in order."""
        from otel_openstack.tracing import events

        self._events += events.queue.take(2**31)
        return list(self._events)

    def points(self, name: str) -> list[Point]:
        """Return the points of the instrument `name` as a collection would export them now."""
        from otel_openstack import metrics

        return metrics.testing_points(name)

    def clear(self) -> None:
        """Forget the spans, events and points so far."""
        from otel_openstack import metrics

        self.spans()
        self.events()
        self._finished.clear()
        self._events.clear()
        metrics.reset()

    def wait(self, condition: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Return the first true result of `condition`; for what threads and servers record in their own time.

        Raises:
            AssertionError: it was never true within `timeout` seconds.

        """
        end = time.monotonic() + timeout
        while True:
            result = condition()
            if result:
                return result
            assert time.monotonic() < end, f"not within {timeout} s; spans: {[s.name for s in self.spans()]}"  # noqa: S101
            time.sleep(0.01)

    @contextmanager
    def patched(self, *modules: str) -> Iterator[None]:
        """Apply the patches of the named modules of `otel_openstack.instrumentation`, and undo them."""
        instrumentation.install(modules)
        try:
            yield
        finally:
            instrumentation.uninstall(modules)


def view(span: Span) -> SpanView:
    """Return a finished span as tests look at it."""
    parent = span.parent
    return SpanView(
        name=span.name,
        kind=span.kind.name,
        attributes=dict(span.attributes),
        parent=parent.span_id if parent else None,
        trace_id=span.get_span_context().trace_id,
        span_id=span.get_span_context().span_id,
        status=span.status.status_code.name,
        description=span.status.description,
        events=tuple(EventView(e.name, e.timestamp, dict(e.attributes or {})) for e in span.events),
        links=tuple(LinkView(k.context.trace_id, k.context.span_id, dict(k.attributes or {})) for k in span.links),
        start=span.start_time or 0,
        end=span.end_time or 0,
        scope=span.instrumentation_scope.name,
        parent_is_remote=bool(parent and parent.is_remote),
    )


@contextmanager
def recording(chosen: settings.Settings | None = None) -> Iterator[Telemetry]:
    """Record into memory: with fresh global providers, fresh instruments and the given settings (strict by default)."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from otel_openstack import metrics
    from otel_openstack.exporters import accounting
    from otel_openstack.tracing import TracerProvider, background, events

    settings.use(chosen or settings.Settings(strict=True, unregistered="error"))
    levels.tell()
    background.restart()
    events.queue.clear()
    events.wanted, wanted = True, events.wanted
    metrics.reset()
    provider = TracerProvider(sampler=ALWAYS_ON)
    restore = _set_global(provider)
    try:
        yield Telemetry(provider)
    finally:
        restore()
        provider.shutdown()
        events.queue.clear()
        events.wanted = wanted
        settings.use(None)
        levels.tell()
        metrics.reset()
        for book in accounting.ACCOUNTS.values():
            book.reset()


def _set_global(provider: TracerProvider) -> Callable[[], None]:
    """Make `provider` the global one although OpenTelemetry allows that once; returns what puts the old one back."""
    from opentelemetry import trace
    from opentelemetry.util._once import Once

    before, once = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    trace._TRACER_PROVIDER = None
    trace._TRACER_PROVIDER_SET_ONCE = Once()
    trace.set_tracer_provider(provider)

    def restore() -> None:
        trace._TRACER_PROVIDER = before
        trace._TRACER_PROVIDER_SET_ONCE = once

    return restore


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Record what the test does; see this module.

    Names that no registry file has are errors, also those that were met while the modules under test were imported.
    """
    problems = sys.modules.get("otel_openstack.developer.problems")
    mistakes = list(problems.found) if problems is not None else []
    assert not mistakes, "mistakes in the use of otel_openstack:\n" + "\n".join(mistakes)  # noqa: S101
    with recording() as seen:
        yield seen
