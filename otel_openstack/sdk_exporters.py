# SPDX-License-Identifier: Apache-2.0
"""Exporters of the SDK's kind (console, prometheus, a vendor's): joined to our providers, ended with the process.

They bring their own threads, which export while the process runs. At its end each is flushed and shut down in a native
thread (`runtime/aside.py`): how long it takes for that is its own affair, how long the process waits is ours.
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry import metrics as metrics_api

from otel_openstack import settings
from otel_openstack.configuration import Plan
from otel_openstack.exporters import choose
from otel_openstack.exporters.choose import Choices
from otel_openstack.runtime import aside, notices, originals
from otel_openstack.tracing import TracerProvider

LONGER = 10_000  # milliseconds; than the process waits, so that a reader is not through before its exporter is


class SdkExporters:
    """Exporters of the SDK's kind, built at the first record of the process: importing them early breaks eventlet."""

    def __init__(self, plan: Plan, choices: Choices, provider: TracerProvider) -> None:
        self._plan = plan
        self._choices = choices
        self._provider = provider
        self._joined = False

    def wanted(self) -> bool:
        """Return whether there is any."""
        chosen = (*self._choices.traces.others, *self._choices.metrics.others)
        return bool(chosen or self._plan.processors or self._plan.readers)

    def join(self) -> None:
        """Build and add them; they handle forks from here on themselves."""
        if self._joined:
            return
        self._joined = True
        if _in_hub():  # where no thread can be started: that waits for it
            import eventlet

            eventlet.spawn_n(self._build)
        else:
            self._build()

    def _build(self) -> None:
        for name, build in self._builders():
            try:
                build()
            except Exception as error:
                notices.say("error", f"exporter {name} cannot be used: {error}")

    def _builders(self) -> list[tuple[str, Any]]:
        spans = [
            (other.name, lambda other=other: self._add_span_exporter(other)) for other in self._choices.traces.others
        ]
        points = [
            (other.name, lambda other=other: self._add_metric_exporter(other)) for other in self._choices.metrics.others
        ]
        return [*spans, *points, *self._of_the_file()]

    def _of_the_file(self) -> list[tuple[str, Any]]:
        """Return builders of what only the declarative file can ask for."""

        def add_processor(config: Any) -> None:
            from opentelemetry.configuration import _tracer_provider as tracers

            self._add_processor(tracers._create_span_processor(config))

        def add_reader(config: Any) -> None:
            from opentelemetry.configuration import _meter_provider as meters

            self._add_reader(meters._create_metric_reader(config))

        processors = [
            ("of the processors", lambda config=config: add_processor(config)) for config in self._plan.processors
        ]
        readers = [("of the readers", lambda config=config: add_reader(config)) for config in self._plan.readers]
        return [*processors, *readers]

    def _add_span_exporter(self, other: choose.Other) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._add_processor(BatchSpanProcessor(other.load()()))

    def _add_metric_exporter(self, other: choose.Other) -> None:
        """Add a reader, or an exporter with the reader that the SDK puts before it."""
        from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

        made = other.load()()
        self._add_reader(made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made))

    def _add_processor(self, processor: Any) -> None:
        self._provider.add_span_processor(processor)
        aside.at_end(f"exporter {_name(processor)}", lambda: _end_processor(processor))

    def _add_reader(self, reader: Any) -> None:
        provider: Any = metrics_api.get_meter_provider()
        provider.add_metric_reader(reader)
        aside.at_end(f"exporter {_name(reader)}", lambda: _end_reader(reader))


def _in_hub() -> bool:
    """Return whether eventlet's loop itself is running this."""
    hubs: Any = sys.modules.get("eventlet.hubs")
    hub = getattr(hubs._threadlocal, "hub", None) if hubs is not None else None
    return hub is not None and hub.greenlet is hubs.greenlet.getcurrent()


def _name(target: Any) -> str:
    """Return the class of the exporter behind a processor or reader, else its own."""
    exporter = getattr(target, "span_exporter", None) or getattr(target, "_exporter", None) or target
    return type(exporter).__name__


def _end_processor(processor: Any) -> None:
    """Let it export what it holds, and shut it down: not where that waits for a green thread, whose hub has ended."""
    processor.force_flush(_patience())
    if not originals.is_green():
        processor.shutdown()


def _end_reader(reader: Any) -> None:
    """Do the same for metrics; a reader that is shut down collects once more by itself."""
    if originals.is_green():
        reader.force_flush(_patience())
    else:
        reader.shutdown(timeout_millis=LONGER)


def _patience() -> int:
    return int(settings.get().exit_timeout * 1000)
