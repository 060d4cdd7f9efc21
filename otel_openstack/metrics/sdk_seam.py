# SPDX-License-Identifier: Apache-2.0
"""Every private name of the SDK's metrics that we rely on, checked at import.

The seam is the measurement consumer's `collect`: every reader, of whatever kind and temporality, calls it and nothing
else. If an SDK looks different, `PROBLEM` says how, and `provider` falls back to instruments of the public API.
"""

from __future__ import annotations

import importlib
import inspect
from _thread import RLock
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from otel_openstack.runtime import originals

Collect = Callable[..., MetricsData | None]

INTERNAL = "opentelemetry.sdk.metrics._internal"
LOCKING_MODULES = ("", ".aggregation", ".measurement_consumer", "._view_instrument_match", ".metric_reader_storage")
CONSUMER_NAMES = (
    "_lock", "_reader_storages", "_async_instruments", "collect", "add_metric_reader", "consume_measurement",
)  # fmt: skip
PROVIDER_NAMES = ("_lock", "_meter_lock", "_meters", "_sdk_config", "_all_metric_readers_lock")
STORAGE_NAMES = ("_get_or_init_view_instrument_match", "collect")
READER_LOCKS: dict[str, Callable[[], Any]] = {"_export_lock": originals.allocate_lock, "_lock": RLock}
AGGREGATIONS = {
    "_ExplicitBucketHistogramAggregation": "histogram",
    "_SumAggregation": "sum",
    "_LastValueAggregation": "gauge",
    "_DropAggregation": "drop",
}


def check() -> str:
    """Return what of the SDK is not as we know it; empty if all is."""
    try:
        modules = [importlib.import_module(INTERNAL + name) for name in LOCKING_MODULES]
        provider: Any = MeterProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        consumer = provider._measurement_consumer
        storage = modules[-1].MetricReaderStorage(provider._sdk_config, {}, {})
        wanted = ((provider, PROVIDER_NAMES), (consumer, CONSUMER_NAMES), (storage, STORAGE_NAMES))
        missing = [name for owner, names in wanted for name in names if not hasattr(owner, name)]
        missing += [name for name in AGGREGATIONS if not hasattr(modules[1], name)]
        if list(inspect.signature(consumer.collect).parameters) != ["metric_reader", "timeout_millis"]:
            missing.append("collect(metric_reader, timeout_millis)")
        if not isinstance(consumer._reader_storages, Mapping):
            missing.append("a mapping _reader_storages")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return f"it has no {', '.join(missing)}" if missing else ""


PROBLEM = check()
"""Why this SDK cannot be joined; empty if it can."""


class Match:
    """What a view makes of an instrument, for one reader."""

    __slots__ = ("attribute_names", "boundaries", "description", "extremes", "kind", "name")

    def __init__(self, match: Any) -> None:
        self.name: str = match._name
        self.description: str = match._description
        names = match._view._attribute_keys
        self.attribute_names: frozenset[str] | None = None if names is None else frozenset(names)
        self.kind = AGGREGATIONS.get(type(match._aggregation).__name__, "other")
        """histogram, sum, gauge, drop, or other: what only the SDK itself can aggregate."""
        self.boundaries = tuple(map(float, getattr(match._aggregation, "_boundaries", ())))
        self.extremes = bool(getattr(match._aggregation, "_record_min_max", True))


def join(provider: Any, collect: Callable[[Collect], Collect]) -> None:
    """Put what `collect` makes of the consumer's own collect in its place, for readers that are there or come later."""
    _use_native_locks()
    consumer = provider._measurement_consumer
    consumer._lock = originals.allocate_lock()
    consumer.collect = collect(consumer.collect)
    for reader, storage in consumer._reader_storages.items():
        storage._lock = RLock()
        reader._set_collect_callback(consumer.collect)


def await_first(provider: Any, begin: Callable[[], None]) -> None:
    """Call `begin` before each record of the SDK's instruments, until `pass_on`."""
    consumer = provider._measurement_consumer
    consume = type(consumer).consume_measurement

    def consume_measurement(measurement: Any) -> None:
        begin()
        consume(consumer, measurement)

    consumer.consume_measurement = consume_measurement


def pass_on(provider: Any) -> None:
    """Undo `await_first`."""
    vars(provider._measurement_consumer).pop("consume_measurement", None)


def _use_native_locks() -> None:
    """Let the SDK's metrics take locks of the operating system, also in a green process.

    Our export thread is native and collects what green threads record into: with green locks between them the two
    would deadlock. The SDK holds these locks for a few instructions and never switches meanwhile.
    """
    for name in LOCKING_MODULES:
        module: Any = importlib.import_module(INTERNAL + name)
        for lock, native in (("Lock", originals.allocate_lock), ("RLock", RLock)):
            if hasattr(module, lock):
                setattr(module, lock, native)


def readers(provider: Any) -> list[MetricReader]:
    """Return the readers of a provider."""
    return list(provider._measurement_consumer._reader_storages)


def collector(reader: MetricReader) -> object:
    """Return the object whose method a reader calls to collect."""
    return getattr(reader._collect, "__self__", None)


def matches(provider: Any, reader: MetricReader, instrument: Any) -> list[Match]:
    """Return what `reader` gets of an instrument of the SDK, by the views of its provider."""
    storage = provider._measurement_consumer._reader_storages[reader]
    return [Match(match) for match in storage._get_or_init_view_instrument_match(instrument)]


def temporality(reader: MetricReader, instrument: Any) -> int:
    """Return which temporality `reader` prefers for the class of an instrument of the SDK."""
    return int(reader._instrument_class_temporality[type(instrument)])


def is_of_sdk(instrument: Any) -> bool:
    """Return whether this is an instrument of the SDK that is switched on."""
    return hasattr(instrument, "_measurement_consumer") and bool(instrument._is_enabled())


def synchronous(provider: Any, reader: MetricReader) -> MetricsData | None:
    """Collect the SDK's own instruments without calling the callbacks of asynchronous ones."""
    consumer = provider._measurement_consumer
    with consumer._lock:
        data: MetricsData | None = consumer._reader_storages[reader].collect()
    return data


def resource(provider: Any) -> Resource:
    """Return the resource of a provider."""
    found: Resource = provider._sdk_config.resource
    return found


def set_resource(provider: Any, resource: Resource) -> None:
    """Replace the resource of a provider."""
    provider._sdk_config.resource = resource


def renew(provider: Any) -> None:
    """Begin anew in a forked child: nothing recorded, and no lock held.

    The parent may have been exporting when it forked, so every lock that is involved is replaced. Instruments are kept,
    the asynchronous ones among them; what they added up is not: it belongs to the parent.
    """
    consumer = provider._measurement_consumer
    consumer._lock = originals.allocate_lock()
    provider._lock = originals.allocate_lock()
    provider._meter_lock = originals.allocate_lock()
    MeterProvider._all_metric_readers_lock = originals.allocate_lock()
    for meter in provider._meters.values():
        meter._instrument_registration_lock = originals.allocate_lock()
    consumer._reader_storages = {
        reader: type(storage)(
            provider._sdk_config, reader._instrument_class_temporality, reader._instrument_class_aggregation
        )
        for reader, storage in consumer._reader_storages.items()
    }
    for reader in consumer._reader_storages:
        for name, new in READER_LOCKS.items():
            if hasattr(reader, name):
                setattr(reader, name, new())


def revive(provider: Any) -> None:
    """Start the threads of periodic readers where the SDK did not: uWSGI forks without telling Python."""
    for reader in readers(provider):
        if not isinstance(reader, PeriodicExportingMetricReader) or reader._shutdown:
            continue
        thread: Any = reader._daemon_thread
        if thread is not None and not thread.is_alive():
            reader._at_fork_reinit()  # type: ignore[no-untyped-call]
