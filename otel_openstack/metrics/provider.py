# SPDX-License-Identifier: Apache-2.0
"""The SDK's meter provider, joined to the fast path: every reader gets the points of both."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from opentelemetry.metrics import Meter
from opentelemetry.metrics import Observation as ApiObservation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from otel_openstack import resource as resources
from otel_openstack.metrics import catalog, foreign_points, points, sdk_seam
from otel_openstack.metrics.catalog import Observable
from otel_openstack.metrics.cells import Record
from otel_openstack.metrics.changes import Changes
from otel_openstack.metrics.encoding import Collected
from otel_openstack.metrics.instruments import Instrument
from otel_openstack.metrics.points import SCOPE
from otel_openstack.metrics.streams import Batch, Feed, Stream
from otel_openstack.runtime import notices, originals, process, switch, worker

# How the API creates what the registry calls a histogram, counter, ...; and what records there.
CREATORS = {
    ("histogram", False): ("create_histogram", "record"),
    ("counter", False): ("create_counter", "add"),
    ("updowncounter", False): ("create_up_down_counter", "add"),
    ("gauge", False): ("create_gauge", "set"),
    ("counter", True): ("create_observable_counter", ""),
    ("updowncounter", True): ("create_observable_up_down_counter", ""),
    ("gauge", True): ("create_observable_gauge", ""),
}


def build(
    resource: Resource | None = None,
    readers: Sequence[MetricReader] = (),
    views: Sequence[View] = (),
    **options: Any,
) -> MeterProvider:
    """Return a meter provider of the SDK whose readers also get what our instruments recorded.

    Args:
        resource: None is the resource of this process, as it is at each collection.
        readers: readers of any kind; more may be added later.
        views: they hold for our instruments too.
        options: for the SDK's `MeterProvider`.
    """
    options.setdefault("shutdown_on_exit", False)  # runtime/stop.py ends the process, within one deadline
    provider = _MeterProvider(
        resource=resource or resources.current(), metric_readers=tuple(readers), views=tuple(views), **options
    )
    join(provider, live_resource=resource is None)
    return provider


def join(provider: MeterProvider, *, live_resource: bool = False) -> Joint | None:
    """Join the fast path to a provider that others have built; None where this SDK does not allow it.

    Then our instruments record through the public API, which is slower and says so once.
    """
    if sdk_seam.PROBLEM:
        notices.say("warning", f"metrics take the slow path, this SDK is not known: {sdk_seam.PROBLEM}")
        _fallbacks[provider] = _Fallback(provider)
        catalog.adopt(_fallbacks[provider], _Fallback.adopt)
        return None
    return Joint(provider, live_resource=live_resource)


class _MeterProvider(MeterProvider):
    """The SDK's, but what a child has to do is done by us: the SDK would start a pool of threads for the resource."""

    def _handle_fork(self) -> None:
        pass


class PullReader(MetricReader):
    """A reader that is read: by our own job, which takes cells as they are and encodes them itself."""

    def __init__(self, temporality: dict[type, Any] | None = None, aggregation: dict[type, Any] | None = None) -> None:
        super().__init__(preferred_temporality=temporality, preferred_aggregation=aggregation)
        self._received: MetricsData | None = None

    def pull(self, *, changed_only: bool) -> Collected:
        """Collect.

        Args:
            changed_only: what was recorded into since the last call. Observable instruments, and those of the export
                itself, are read at the export interval only: some change with every export, for ever.
        """
        joint = sdk_seam.collector(self)
        if isinstance(joint, Joint):
            return joint.collected(self, changed_only=changed_only)
        self.collect()  # the SDK alone
        data, self._received = self._received, None
        found = data.resource_metrics[0] if data is not None else None
        return Collected(found.resource if found else resources.current(), found.scope_metrics if found else (), [])

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._received = metrics_data

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Let the export thread export."""
        return worker.flush(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Export what there is; the thread itself ends with the process."""
        worker.flush(timeout_millis / 1e3)


class Joint:
    """What a provider's readers get of our instruments."""

    def __init__(self, provider: MeterProvider, *, live_resource: bool) -> None:
        self._provider = provider
        self._live_resource = live_resource
        self._meter: Meter = provider.get_meter(SCOPE.name, SCOPE.version, SCOPE.schema_url)
        self._desks: weakref.WeakKeyDictionary[MetricReader, _Desk] = weakref.WeakKeyDictionary()
        self._twins: dict[str, Any] = {}
        self._theirs: sdk_seam.Collect = lambda *_, **__: None
        sdk_seam.join(provider, self._seam)
        _joints.add(self)
        if not process.started():
            self.rest()
        catalog.adopt(self, Joint.adopt)

    def _seam(self, collect: sdk_seam.Collect) -> sdk_seam.Collect:
        self._theirs = collect
        return self.collect

    def collect(self, metric_reader: MetricReader, timeout_millis: float = 10_000) -> MetricsData | None:
        """Return the points for a reader: those of the SDK's instruments and those of ours; none when switched off."""
        if switch.off:
            return None
        resource = self._resource()
        theirs = foreign_points.scrubbed(self._theirs(metric_reader, timeout_millis=timeout_millis))
        return points.merged(theirs, resource, self._batches(metric_reader))

    def collected(self, reader: PullReader, *, changed_only: bool) -> Collected:
        """Return the same for our own reader, with our points as cells."""
        resource = self._resource()
        theirs = sdk_seam.synchronous(self._provider, reader) if changed_only else self._theirs(reader)
        scopes = self._desk(reader).changes.scopes(theirs, changed_only=changed_only)
        return Collected(resource, scopes, self._batches(reader, changed_only=changed_only))

    def adopt(self, instrument: Instrument) -> None:
        """Prepare an instrument for the readers there are, so that it counts from the start as their views want."""
        for reader in sdk_seam.readers(self._provider):
            self._desk(reader).feed(instrument)

    def in_child(self) -> None:
        """Begin at zero, with locks of our own and a resource that says which process this is."""
        sdk_seam.renew(self._provider)
        sdk_seam.set_resource(self._provider, _of_this_process(sdk_seam.resource(self._provider)))
        for desk in self._desks.values():
            desk.begin()
        self.rest()

    def rest(self) -> None:
        """Let the next record of the SDK's instruments start the process."""
        sdk_seam.await_first(self._provider, process.ensure)

    def revive(self) -> None:
        """Start what threads of the SDK a fork has ended."""
        sdk_seam.pass_on(self._provider)
        sdk_seam.revive(self._provider)

    def twin(self, instrument: Instrument) -> Any:
        """Return the SDK's instrument of the same name: views match it, and it stands in where cells cannot serve."""
        twin = self._twins.get(instrument.name)
        if twin is None:
            twin = self._twins[instrument.name] = twin_of(self._meter, instrument)
        return twin

    def _batches(self, reader: MetricReader, *, changed_only: bool = False) -> list[Batch]:
        start, now = catalog.start_time_unix_nano(), originals.time_ns()
        desk = self._desk(reader)
        feeds = [desk.feed(each) for each in catalog.instruments() if each.prompts or not changed_only]
        with desk.lock:
            batches = [
                batch
                for feed in feeds
                if feed is not None and (not changed_only or feed.touched())
                for batch in feed.collect(start, now, changed_only=changed_only)
            ]
        catalog.complain()
        return batches

    def _desk(self, reader: MetricReader) -> _Desk:
        desk = self._desks.get(reader)
        if desk is None:
            desk = self._desks.setdefault(reader, _Desk(self, weakref.ref(reader)))
        return desk

    def streams(self, reader: MetricReader, instrument: Instrument) -> list[Stream] | None:
        """Return what a reader gets of an instrument; None where that takes the SDK's own aggregation."""
        twin = self.twin(instrument)
        if not sdk_seam.is_of_sdk(twin):
            return []
        found = []
        for match in sdk_seam.matches(self._provider, reader, twin):
            if match.kind == "drop":
                continue
            if match.kind != KINDS[instrument.model.kind]:
                return None
            found.append(_stream(instrument, match, sdk_seam.temporality(reader, twin)))
        return found

    def _resource(self) -> Resource:
        if self._live_resource:
            sdk_seam.set_resource(self._provider, resources.current())
        return sdk_seam.resource(self._provider)


class _Desk:
    """Where one reader is served: its feeds by instrument, one collection at a time."""

    def __init__(self, joint: Joint, reader: weakref.ref[MetricReader]) -> None:
        self._joint = joint
        self._reader = reader
        self._feeds: dict[str, Feed | None] = {}
        self.begin()

    def begin(self) -> None:
        """Be as new, in a child; the feeds find that out for themselves."""
        self.lock = originals.allocate_lock()
        self.changes = Changes()

    def feed(self, instrument: Instrument) -> Feed | None:
        """Return the feed of an instrument; None if it goes through the SDK."""
        if instrument.name not in self._feeds:
            self._feeds.setdefault(instrument.name, self._new(instrument))
        return self._feeds[instrument.name] if instrument.target is None else None

    def _new(self, instrument: Instrument) -> Feed | None:
        reader = self._reader()
        streams = self._joint.streams(reader, instrument) if reader is not None else []
        if streams is None:
            _divert(instrument, self._joint.twin(instrument))
            return None
        for stream in streams:
            if stream.kind == "histogram":
                instrument.refine(stream.boundaries)
        return Feed(instrument, streams, catalog.start_time_unix_nano())


class _Fallback:
    """All our instruments as those of the public API, where the SDK is not known."""

    def __init__(self, provider: MeterProvider) -> None:
        self._meter = provider.get_meter(SCOPE.name, SCOPE.version, SCOPE.schema_url)

    def adopt(self, instrument: Instrument) -> None:
        _divert(instrument, twin_of(self._meter, instrument))


KINDS = {"histogram": "histogram", "counter": "sum", "updowncounter": "sum", "gauge": "gauge"}
"""How the SDK aggregates each kind if no view says otherwise; so can we."""

_joints: weakref.WeakSet[Joint] = weakref.WeakSet()
_fallbacks: weakref.WeakKeyDictionary[MeterProvider, _Fallback] = weakref.WeakKeyDictionary()


def twin_of(meter: Meter, instrument: Instrument) -> Any:
    """Create the instrument of the public API that means the same as ours."""
    model = instrument.model
    observable = isinstance(instrument, Observable)
    create = getattr(meter, CREATORS[model.kind, observable][0])
    options: dict[str, Any] = {"unit": model.unit, "description": model.description}
    if model.boundaries is not None:
        options["explicit_bucket_boundaries_advisory"] = model.boundaries
    if isinstance(instrument, Observable):
        options["callbacks"] = [lambda _: _observations(instrument)]
    return create(model.name, **options)


def _observations(instrument: Observable) -> list[ApiObservation]:
    """Answer the SDK, if it is the one to ask."""
    if instrument.target is None or not instrument.enabled:
        return []
    return [ApiObservation(value, attributes) for value, attributes in instrument.observations()]


def _divert(instrument: Instrument, twin: Any) -> None:
    """Let the SDK's twin have what is recorded from now on."""
    method = getattr(twin, CREATORS[instrument.model.kind, isinstance(instrument, Observable)][1], None)

    def target(attributes: dict[str, Any]) -> Record:
        return lambda value: method(value, attributes)  # type: ignore[misc]

    if instrument.target is None:
        instrument.redirect(target)


def _stream(instrument: Instrument, match: sdk_seam.Match, temporality: int) -> Stream:
    names = instrument.attribute_names
    kept = names if match.attribute_names is None else tuple(name for name in names if name in match.attribute_names)
    return Stream(
        name=match.name,
        description=match.description,
        unit=instrument.model.unit,
        kind=match.kind,
        monotonic=instrument.model.kind == "counter",
        temporality=temporality,
        attribute_names=kept,
        boundaries=match.boundaries,
        extremes=match.extremes,
    )


def _of_this_process(resource: Resource) -> Resource:
    """Return the parent's resource with what differs in a child; a resource that never told a pid still does not."""
    own: dict[str, str | int] = {"process.pid": process.pid(), "service.instance.id": process.instance_id()}
    return resource.merge(Resource({key: value for key, value in own.items() if key in resource.attributes}))


def _in_child() -> None:
    for joint in tuple(_joints):
        joint.in_child()


def _at_start() -> None:
    for joint in tuple(_joints):
        joint.revive()


def _switched_off() -> None:
    for joint in tuple(_joints):
        joint.rest()


process.on_child(_in_child)
process.on_start(_at_start)
switch.on_change(leave=_switched_off)
