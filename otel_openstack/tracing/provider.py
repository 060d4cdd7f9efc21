# SPDX-License-Identifier: Apache-2.0
"""The tracer provider: the SDK's, with lean tracers and with a queue in place of a batch processor.

Span processors of others work as always and pay for themselves: only when there is one is a finished span converted to
the SDK's ReadableSpan, in the thread that ends it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from otel_openstack import resource as resources
from otel_openstack import settings
from otel_openstack.exporters.accounting import account
from otel_openstack.runtime import process, worker
from otel_openstack.tracing import limits
from otel_openstack.tracing.ids import ProcessIdGenerator
from otel_openstack.tracing.queue import Queue
from otel_openstack.tracing.span import Span
from otel_openstack.tracing.tracer import SAMPLED, Tracer


class TracerProvider(sdk.TracerProvider):
    """See `opentelemetry.sdk.trace.TracerProvider`, whose arguments it takes.

    Args:
        resource: a fixed resource; None follows `otel_openstack.resource.current()`, which learns.
        queue: where finished spans go; by default a new one of `span_queue_bytes`.

    """

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = False,
        id_generator: IdGenerator | None = None,
        span_limits: sdk.SpanLimits | None = None,
        queue: Queue | None = None,
        **others: Any,
    ) -> None:
        # What the SDK's own constructor needs of ours: it may set the resource and register fork hooks.
        self._fixed_resource = resource
        self._lean: weakref.WeakKeyDictionary[trace_api.Tracer, Tracer] = weakref.WeakKeyDictionary()
        self._ends: dict[int, Callable[[], None]] = {}
        self.has_processors = False
        self.paused = False
        self.queue = Queue(account("traces"), settings.get().span_queue_bytes, _wake) if queue is None else queue
        super().__init__(
            sampler=sampler,
            resource=resource or Resource.get_empty(),
            shutdown_on_exit=shutdown_on_exit,
            id_generator=id_generator or ProcessIdGenerator(),
            span_limits=limits.of_spans() if span_limits is None else span_limits,
            **others,
        )
        self.limits = self._span_limits
        self.has_processors = bool(getattr(self._active_span_processor, "_span_processors", True))
        reference = weakref.WeakMethod(self._begin_in_child)
        process.on_child(lambda: (reference() or _nothing)())  # noqa: PLW0108 (the method must not be kept alive)

    @property
    def resource(self) -> Resource:
        """The resource of this process, as it is known now."""
        return self._fixed_resource or resources.current()

    def _update_resource(self, resource: Resource) -> None:
        if self._fixed_resource is not None:
            self._fixed_resource = self._fixed_resource.merge(resource)

    def _handle_fork(self) -> None:
        """Renew the SDK's lock, but start no threads to detect resources as the SDK does in a child."""
        self._tracers_lock = threading.Lock()

    def _begin_in_child(self) -> None:
        """Start at zero in a forked child: the parent exports what waits; pid and instance id are new."""
        self.queue.clear()
        self._handle_fork()
        if self._fixed_resource is not None:
            fresh: dict[str, Any] = {"process.pid": os.getpid(), "service.instance.id": process.instance_id()}
            known = self._fixed_resource.attributes
            self._update_resource(Resource({key: value for key, value in fresh.items() if key in known}))

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> trace_api.Tracer:
        """Return the lean tracer of this scope; the same one for the same scope."""
        made = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if not isinstance(made, sdk.Tracer):  # OTEL_SDK_DISABLED
            return made
        lean = self._lean.get(made)
        if lean is None:
            lean = self._lean[made] = Tracer(made, self)
        return lean

    def add_span_processor(self, span_processor: sdk.SpanProcessor) -> None:
        """Show every span to `span_processor` too: converted to the SDK's form at its end, which has its price."""
        super().add_span_processor(span_processor)
        self.has_processors = True
        self._refresh()

    def pause(self) -> None:
        """Start spans that record nothing, and drop those that end; what is current passes through."""
        self.paused = True
        self._refresh()
        self.queue.close()

    def go_on(self) -> None:
        """Record again."""
        self.paused = False
        self.queue.reopen()
        self._refresh()

    def _set_tracer_configurator(self, **configuration: Any) -> None:
        super()._set_tracer_configurator(**configuration)
        self._refresh()

    def _refresh(self) -> None:
        for tracer in list(self._lean.values()):
            tracer.refresh()

    # -- what tracers call when someone looks --------------------------------------------------------------------------

    def on_start(self, span: Span, context: Context | None, counted: Callable[[], None] | None) -> None:
        """Show a started span to the processors; `counted` is called at its end, for the SDK's own span metrics."""
        if counted is not None:
            self._ends[span._span_id] = counted
        self._active_span_processor.on_start(span, parent_context=context)

    def end_observed(self, span: Span) -> None:
        """Show an ended span to the processors: they see it ending, then ended."""
        ended = self._ends.pop(span._span_id, None)
        if ended is not None:
            ended()
        processor = self._active_span_processor
        processor._on_ending(span)
        if span._trace[1] & SAMPLED:
            span._tracer.put(span)
        processor.on_end(span._readable_span())

    # -- its end -------------------------------------------------------------------------------------------------------

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what waits, in our queue and in the processors; return whether nothing of it is left."""
        book = self.queue.account
        wanted = book.recorded
        ours = worker.flush(timeout_millis / 1000)
        # A round also ends well when the job only waits to try again what the collector did not take.
        ours = ours and book.delivered + book.dropped >= wanted
        return bool(super().force_flush(timeout_millis)) and ours

    def shutdown(self) -> None:
        """Shut down the processors. Our own queue is emptied by the stop of the process."""
        super().shutdown()


def _wake() -> None:
    worker.wake("traces")


def _nothing() -> None:
    """Stand for a provider that is gone."""
