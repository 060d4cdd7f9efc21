# SPDX-License-Identifier: Apache-2.0
"""A pytest fixture that shows what code under test recorded, by value.

    def test_listing(telemetry):
        client.get("/servers")
        assert telemetry.span("GET /servers").attributes["http.response.status_code"] == 200
        assert telemetry.point("http.server.request.duration").count == 1
        assert telemetry.event("shop.build.end").attributes["shop.host"] == "compute-1"

    @pytest.mark.telemetry(level="deep", metric_dimensions={"project": "all"})
    def test_every_turn(telemetry):
        ...

It is found by pytest through the entry point; nothing is exported, and the global providers of OpenTelemetry are those
of the test, and put back after it. A test that fails shows all that was recorded in a section of its report.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from otel_openstack import instrumentation, levels, settings
from otel_openstack.testing import report
from otel_openstack.testing.views import EventView, LinkView, SpanView, matching, view

if TYPE_CHECKING:
    from otel_openstack.metrics.memory import Point
    from otel_openstack.tracing.events import LogEvent
    from otel_openstack.tracing.provider import TracerProvider

__all__ = ["EventView", "LinkView", "SpanView", "Telemetry", "recording", "telemetry", "view"]


@dataclass(repr=False)
class Telemetry:
    """What the test recorded, and the means to record it."""

    provider: TracerProvider
    _finished: list[SpanView] = field(default_factory=list)
    _events: list[LogEvent] = field(default_factory=list)

    def spans(self, name: str | None = None, attributes: Mapping[str, Any] | None = None) -> list[SpanView]:
        """Return the finished spans as they ended: all, or those of this name and with these attributes."""
        self._finished += [view(span) for span in self.provider.queue.take(2**31)]
        return matching([span for span in self._finished if name is None or span.name == name], attributes)

    def span(self, name: str, attributes: Mapping[str, Any] | None = None) -> SpanView:
        """Return the only finished span of this name and with these attributes.

        Raises:
            AssertionError: there is none, or more than one; shows those that there are.

        """
        found = self.spans(name, attributes)
        if len(found) != 1:
            every = self.spans()
            shown = [one for one in every if one.name == name] or every
            names = {one.name for one in every}
            raise AssertionError(report.instead(len(found), "span", name, attributes, map(report.span, shown), names))
        return found[0]

    def children(self, span: SpanView) -> list[SpanView]:
        """Return the finished spans whose parent `span` is, in the order of their beginnings."""
        below = [one for one in self.spans() if (one.parent, one.trace_id) == (span.span_id, span.trace_id)]
        return sorted(below, key=lambda one: one.start)

    def events(self, name: str | None = None, attributes: Mapping[str, Any] | None = None) -> list[LogEvent]:
        """Return the log events (name, time, attributes, trace_id, span_id) in order: all, or those as of `spans`."""
        from otel_openstack.tracing import events

        self._events += events.queue.take(2**31)
        return matching([event for event in self._events if name is None or event.name == name], attributes)

    def event(self, name: str, attributes: Mapping[str, Any] | None = None) -> LogEvent:
        """Return the only log event of this name and with these attributes; raises as `span`."""
        found = self.events(name, attributes)
        if len(found) != 1:
            every = self.events()
            shown = [one for one in every if one.name == name] or every
            names, lines = {one.name for one in every}, map(report.event, shown)
            raise AssertionError(report.instead(len(found), "log event", name, attributes, lines, names))
        return found[0]

    def points(self, name: str, attributes: Mapping[str, Any] | None = None) -> list[Point]:
        """Return the points of the instrument `name`, those with these attributes, as an export would have them now."""
        from otel_openstack import metrics

        return matching(metrics.testing_points(name), attributes)

    def point(self, name: str, attributes: Mapping[str, Any] | None = None) -> Point:
        """Return the only point of the instrument `name` with these attributes; raises as `span`."""
        found = self.points(name, attributes)
        if len(found) != 1:
            known = self._all_points()
            shown = [report.point(one) for one in known.get(name, ())]
            raise AssertionError(report.instead(len(found), "point", name, attributes, shown or known, known))
        return found[0]

    def show(self) -> str:
        """Return all that was recorded so far as text: spans as trees, points, log events."""
        return report.whole(self.spans(), self._all_points(), self.events())

    def _all_points(self) -> dict[str, list[Point]]:
        from otel_openstack.metrics import catalog
        from otel_openstack.metrics.catalog import Observable

        # What is observed is read by calling others: a report does not.
        names = [found.name for found in catalog.instruments() if not isinstance(found, Observable)]
        return {name: found for name in sorted(names) if (found := self.points(name))}

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
            assert time.monotonic() < end, f"not within {timeout} s; recorded:\n{self.show()}"  # noqa: S101
            time.sleep(0.01)

    @contextmanager
    def patched(self, *modules: str) -> Iterator[None]:
        """Apply the patches of the named modules of `otel_openstack.instrumentation`, and undo them."""
        instrumentation.install(modules)
        try:
            yield
        finally:
            instrumentation.uninstall(modules)


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
def telemetry(request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    """Record what the test does; see this module.

    Options are those of the environment (`OTEL_OPENSTACK_LEVEL=deep`), and those of the marker `telemetry`. Names that
    no registry file has are errors, also those that were met while the modules under test were imported.
    """
    problems = sys.modules.get("otel_openstack.developer.problems")
    mistakes = list(problems.found) if problems is not None else []
    assert not mistakes, "mistakes in the use of otel_openstack:\n" + "\n".join(mistakes)  # noqa: S101
    given: dict[str, Any] = {"strict": True, "unregistered": "error"}
    for marker in reversed(list(request.node.iter_markers("telemetry"))):
        given |= marker.kwargs
    with recording(replace(settings.get(), **given)) as seen:
        yield seen


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "telemetry(**options): options of otel-openstack for the fixture `telemetry`")


@pytest.hookimpl(hookwrapper=True)  # which every pytest knows: this is loaded wherever we are installed
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show what was recorded where a test with the fixture fails."""
    outcome = yield
    seen = getattr(item, "funcargs", {}).get("telemetry")
    with suppress(Exception):  # the test has failed of its own
        made = outcome.get_result()
        if made.when == "call" and made.failed and isinstance(seen, Telemetry):
            made.sections.append(("Recorded telemetry", seen.show()))
