# SPDX-License-Identifier: Apache-2.0
"""Setting this distribution up in a process: named steps, taken by the launcher's entry points and by `auto` alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics as metrics_api
from opentelemetry import propagate, trace

from otel_openstack import (
    announcement,
    configuration,
    health,
    instrumentation,
    levels,
    process_metrics,
    resource,
    scrub,
    settings,
)
from otel_openstack.configuration import Plan
from otel_openstack.exporters import accounting, choose
from otel_openstack.exporters.accounting import account
from otel_openstack.exporters.choose import Choices
from otel_openstack.metrics import catalog
from otel_openstack.metrics import job as metrics_job
from otel_openstack.metrics import provider as metrics_provider
from otel_openstack.patching.guard import resume, suspend
from otel_openstack.patching.refusal import refused
from otel_openstack.runtime import foreign_log, process, switch, worker
from otel_openstack.sdk_exporters import SdkExporters
from otel_openstack.tracing import TracerProvider, events
from otel_openstack.tracing import job as tracing_job
from otel_openstack.tracing.queue import Nowhere

if TYPE_CHECKING:
    from otel_openstack.metrics.statsd_job import StatsdJob

_started = False


def start(environ: Mapping[str, str] = os.environ) -> bool:
    """Set the distribution up, once in a process. Never raises: whatever is wrong with telemetry, the service starts.

    Returns:
        Whether it is active in this process now.
    """
    global _started
    if _started or settings.disabled(environ) or refused(environ):
        return _started
    problems: list[str] = []
    try:
        plan = configuration.read(environ)
        problems += plan.problems
        if plan.disabled:
            return False
        choices = choose.choose(plan.exporters)
        problems += choices.problems
        foreign_log.install()
        resource.state(plan.resource)
        levels.serve(resource.service_name())
        levels.tell()
        tracer_provider = _trace(plan, exported=choices.traces.sink is not None)
        statsd = _statsd(choices)
        reader = _measure(plan, statsd)
        _export(plan, choices, tracer_provider, reader)
        _make_switchable(tracer_provider)
        health.observe({"traces": tracer_provider.queue, "logs": events.queue})
        if statsd is not None:
            worker.add(statsd)
            health.observe_statsd(statsd.books)
        process_metrics.observe()
        instrumentation.install()
        problems += _patch()
        announcement.announce(choices)
        _started = True
    except Exception as error:
        problems.append(f"could not start, this process is not measured: {error!r}")
    _complain(problems)
    return _started


def active() -> bool:
    """Whether this process is measured."""
    return _started


def _trace(plan: Plan, *, exported: bool) -> TracerProvider:
    """Make the global tracer provider ours."""
    provider = TracerProvider(
        sampler=plan.sampler,
        id_generator=plan.id_generator,
        span_limits=plan.limits,
        queue=None if exported else Nowhere(account("traces"), 1, lambda: None),
    )
    trace.set_tracer_provider(provider)
    if plan.propagator is not None:
        propagate.set_global_textmap(plan.propagator)
    return provider


def _statsd(choices: Choices) -> StatsdJob | None:
    """Make the job that sends to statsd, where that is asked for."""
    if choices.metrics.statsd is None:
        return None
    from otel_openstack.metrics import statsd_job  # for the few who ask for it

    return statsd_job.StatsdJob(statsd_job.reader(), choices.metrics.statsd)


def _measure(plan: Plan, statsd: StatsdJob | None) -> metrics_provider.PullReader:
    """Make the global meter provider the SDK's, joined to our instruments; returns the reader that we export from."""
    options: dict[str, Any] = {} if plan.exemplar_filter is None else {"exemplar_filter": plan.exemplar_filter}
    stated = plan.temporality is not None
    reader = metrics_provider.PullReader(plan.temporality, plan.aggregation) if stated else metrics_job.reader()
    readers = [reader] if statsd is None else [reader, statsd.source]
    metrics_api.set_meter_provider(metrics_provider.build(readers=readers, views=plan.views, **options))
    return reader


def _export(plan: Plan, choices: Choices, provider: TracerProvider, reader: metrics_provider.PullReader) -> None:
    """Give the export thread its jobs; nothing is opened before the first record of a process."""
    if choices.traces.sink is not None:
        worker.add(tracing_job.spans(provider.queue, choices.traces.sink))
    events.wanted = choices.logs.sink is not None
    if choices.logs.sink is not None:
        worker.add(tracing_job.logs(choices.logs.sink))
    if choices.metrics.sink is not None:
        worker.add(metrics_job.MetricsJob(reader, choices.metrics.sink, plan.export_interval))
    others = SdkExporters(plan, choices, provider)
    if others.wanted():
        process.on_start(others.join)


def _make_switchable(provider: TracerProvider) -> None:
    """Say what stops when the process is switched off: what begins new work first.

    Exporters of the SDK's kind get nothing then; their threads, which wait in locks that may be green, are left alone.
    """
    switch.on_change(leave=suspend, come_back=resume)
    switch.on_change(leave=provider.pause, come_back=provider.go_on)
    switch.on_change(leave=events.queue.close, come_back=events.queue.reopen)
    switch.on_change(leave=catalog.release, come_back=catalog.release)
    switch.on_change(leave=accounting.write_off)


def _patch() -> list[str]:
    """Install the operator's patch files; returns what is wrong with them."""
    chosen = settings.get()
    if not (chosen.patch_files or chosen.patch_presets):
        return []
    try:
        from otel_openstack import patch_files

        return patch_files.install()
    except Exception as error:  # the rest is measured all the same
        return [f"patch files are not used: {error!r}"]


def _complain(problems: list[str]) -> None:
    """Write problems to standard error: the service has not set up its log yet, and they must not be lost."""
    for problem in problems:
        sys.stderr.write(f"otel-openstack: error: {' '.join(scrub.text(problem).split())}\n")
