# SPDX-License-Identifier: Apache-2.0
"""What can be installed round the applications: nothing, ours at its levels, and what a user would pick instead.

A variant prepares the process before the application is imported, may be put round the application and onto its engine,
and brings everything out at the end of a block, so that the export is in the CPU time. `spans` says what one request
has to leave at the sink, by application; a run that leaves much less did nothing, and its row says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Per = dict[str, float]
"""Application -> number for each request."""


def _same(application: Any) -> Any:
    return application


def _nothing(*_: Any) -> None:
    pass


@dataclass
class Prepared:
    """A variant in its process."""

    wrap: Callable[[Any], Any] = _same
    hook: Callable[[Any], None] = _nothing
    flush: Callable[[], object] = _nothing
    headers: dict[str, str] = field(default_factory=dict)
    counted: Callable[[], int] | None = None
    """What the variant has produced, where the parent's sink cannot see it."""


@dataclass(frozen=True)
class Variant:
    """One row."""

    name: str
    prepare: Callable[[], Prepared]
    environment: dict[str, str] = field(default_factory=dict)
    spans: Per = field(default_factory=dict)
    points: bool = False
    group: str = "other"
    note: str = ""


# ---- ours


def ours() -> Prepared:
    import otel_openstack.auto  # noqa: F401 its import starts it
    from otel_openstack.instrumentation.wsgi import at_edge
    from otel_openstack.runtime import worker

    return Prepared(wrap=at_edge, flush=lambda: worker.flush(10))


def _ours(name: str, spans: Per, *, note: str = "", **environment: str) -> Variant:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}",
        "OTEL_SERVICE_NAME": "bench",
        "OTEL_OPENSTACK_SWITCH_FILE": "",
        **environment,
    }
    return Variant(name, ours, given, spans, points=True, group="ours", note=note)


# ---- OpenTelemetry's SDK with contrib's and the peers' instrumentors


def _sdk() -> Callable[[], object]:
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers = TracerProvider()  # the sampler comes from OTEL_TRACES_SAMPLER
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=100_000))
    trace.set_tracer_provider(tracers)
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    metrics.set_meter_provider(meters)
    return lambda: (tracers.force_flush(), meters.force_flush())


def _contrib(*, sdk: bool = True, peer: bool = True) -> Prepared:
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    flush = _sdk() if sdk else _nothing
    SQLAlchemyInstrumentor().instrument()
    RequestsInstrumentor().instrument()
    if peer:
        from opentelemetry.instrumentation.oslo_messaging import OsloMessagingInstrumentor

        OsloMessagingInstrumentor().instrument()
    return Prepared(wrap=OpenTelemetryMiddleware, flush=flush)


def in_tree() -> Prepared:
    """oslo.messaging's and oslo.middleware's own tracing."""
    from oslo_config import cfg
    from oslo_middleware import TracingMiddleware

    flush = _sdk()
    import oslo_messaging  # noqa: F401 registers its options

    cfg.CONF.set_override("tracing_enabled", True, "oslo_messaging_tracing")
    return Prepared(wrap=lambda application: TracingMiddleware(application, {"enabled": "true"}), flush=flush)


# ---- osprofiler


KEY = "bench"


def _osprofiler(notify: Callable[[], tuple[Callable[[], object], Callable[[], int] | None]] | None) -> Prepared:
    import sqlalchemy
    from osprofiler import _utils, web
    from osprofiler import sqlalchemy as tracing

    def wrap(application: Any) -> Any:
        return web.WsgiMiddleware(application, hmac_keys=KEY, enabled=True)

    prepared = Prepared(wrap=wrap, hook=lambda engine: tracing.add_tracing(sqlalchemy, engine, "db"))
    if notify is not None:
        flush, counted = notify()
        packed = _utils.signed_pack({"base_id": "6f1b0c9e-8d3c-4b55-8f0a-0d1f6f5b9c11",
                                     "parent_id": "6f1b0c9e-8d3c-4b55-8f0a-0d1f6f5b9c12"}, KEY)  # fmt: skip
        prepared.headers = {"HTTP_X_TRACE_INFO": _text(packed[0]), "HTTP_X_TRACE_HMAC": _text(packed[1])}
        prepared.flush, prepared.counted = flush, counted
    return prepared


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _to_otlp() -> tuple[Callable[[], object], None]:
    from opentelemetry import trace
    from oslo_config import cfg
    from osprofiler import initializer, opts

    opts.set_defaults(cfg.CONF, enabled=True, trace_sqlalchemy=True, hmac_keys=KEY,
                      connection_string=os.environ["BENCH_SINK"].replace("http://", "otlp://"))  # fmt: skip
    initializer.init_from_conf(cfg.CONF, {}, "bench", "bench", "localhost")
    return lambda: trace.get_tracer_provider().force_flush(), None


def _to_file() -> tuple[Callable[[], object], Callable[[], int]]:
    import tempfile

    from osprofiler import notifier

    file, count = tempfile.TemporaryFile("w"), [0]  # noqa: SIM115 open as long as the process

    def notify(info: Any, **_: Any) -> None:
        count[0] += 1
        file.write(json.dumps(info, default=str) + "\n")

    notifier.set(notify)
    # A span is two notifications: its start and its stop.
    return file.flush, lambda: count[0] // 2


# ---- others


def oslo_metrics() -> Prepared:
    import oslo_messaging  # noqa: F401 registers its options
    from oslo_config import cfg

    cfg.CONF.set_override("metrics_enabled", True, "oslo_messaging_metrics")
    cfg.CONF.set_override("metrics_socket_file", os.environ["BENCH_SOCKET"], "oslo_messaging_metrics")

    def flush() -> None:
        import time

        from oslo_messaging._metrics import client

        queue = client.METRICS_COLLECTOR.tx_queue if client.METRICS_COLLECTOR else None
        while queue is not None and not queue.empty():
            time.sleep(0.005)

    return Prepared(flush=flush)


def ddtrace() -> Prepared:
    from ddtrace import patch
    from ddtrace.contrib.wsgi import DDWSGIMiddleware
    from ddtrace.trace import tracer

    patch(sqlalchemy=True, requests=True)
    return Prepared(wrap=DDWSGIMiddleware, flush=tracer.flush)


def sentry() -> Prepared:
    import sentry_sdk
    from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    address = os.environ["BENCH_SINK"].replace("http://", "http://key@")
    sentry_sdk.init(
        f"{address}/1",
        traces_sample_rate=float(os.environ["BENCH_RATE"]),
        integrations=[SqlalchemyIntegration()],
    )
    return Prepared(wrap=SentryWsgiMiddleware, flush=lambda: sentry_sdk.flush(10))


def statsd_wrapper() -> Prepared:
    """Tach: a statsd timing for each function that it wraps: the request, the query, the RPC call."""
    import functools
    import time

    from statsd import StatsClient

    host, _, port = os.environ["BENCH_STATSD"].partition(":")
    client, count = StatsClient(host, int(port)), [0]

    def timed(name: str, function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.time()
            try:
                return function(*args, **kwargs)
            finally:
                client.timing(name, (time.time() - start) * 1000)
                count[0] += 1

        return wrapper

    def hook(engine: Any) -> None:
        engine.dialect.do_execute = timed("db.execute", engine.dialect.do_execute)

    from oslo_messaging.rpc import client as rpc
    from oslo_messaging.rpc import dispatcher

    rpc._CallContext.call = timed("rpc.call", rpc._CallContext.call)
    dispatcher.RPCDispatcher.dispatch = timed("rpc.dispatch", dispatcher.RPCDispatcher.dispatch)
    return Prepared(wrap=lambda application: timed("wsgi", application), hook=hook, counted=lambda: count[0])


def bare() -> Prepared:
    return Prepared()


OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}", "OTEL_SERVICE_NAME": "bench"}
ONE_PERCENT = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
# server + client and server of each RPC call + HTTP
BASIC: Per = {"plain": 1 + 2 * 2, "nova": 1 + 2 + 1}
# + queries
DETAILED: Per = {"plain": BASIC["plain"] + 10, "nova": BASIC["nova"] + 10}
CONTRIB: Per = {"plain": 1 + 10 + 2 * 2, "nova": 1 + 10 + 2 + 1}

VARIANTS = (
    Variant("nothing", bare, group="control"),
    Variant("nothing, again", bare, group="control", note="the same once more: how far two equal rows are apart"),
    _ours("ours, metrics only", {}, OTEL_TRACES_EXPORTER="none"),
    _ours("ours, 1 % traced", {app: number / 100 for app, number in BASIC.items()}, **ONE_PERCENT),
    _ours("ours, basic", BASIC, note="all traced"),
    _ours("ours, detailed", DETAILED, OTEL_OPENSTACK_LEVEL="detailed"),
    _ours("ours, deep", DETAILED, OTEL_OPENSTACK_LEVEL="deep"),
    Variant("contrib + peer, no SDK", lambda: _contrib(sdk=False), note="no SDK is configured: it records nothing"),
    Variant("contrib + peer, 1 %", _contrib, OTLP | ONE_PERCENT, {a: n / 100 for a, n in CONTRIB.items()}, points=True),
    Variant("contrib + peer, 100 %", _contrib, OTLP, CONTRIB, points=True),
    Variant("contrib, 100 %", lambda: _contrib(peer=False), OTLP, {"plain": 11, "nova": 12}, points=True),
    Variant("oslo's own tracing", in_tree, OTLP, {"plain": 1 + 4, "nova": 1 + 2}),
    Variant("osprofiler, inactive", lambda: _osprofiler(None), note="installed, no request asks for a trace"),
    Variant("osprofiler, OTLP", lambda: _osprofiler(_to_otlp), {}, {"plain": 11, "nova": 11}),
    Variant("osprofiler, file", lambda: _osprofiler(_to_file), {}, {"plain": 11, "nova": 11}),
    Variant("oslo.metrics", oslo_metrics, {}, {"plain": 2 * 2, "nova": 2}, note="RPC only"),
    Variant("Tach-like, statsd", statsd_wrapper, {}, {"plain": 1 + 10 + 2 * 2, "nova": 1 + 10 + 2}),
    Variant("ddtrace", ddtrace, {"DD_TRACE_AGENT_URL": "{sink}", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"},
            {"plain": 1, "nova": 1}, note="no RPC; traces are counted, not spans"),
    Variant("sentry, 100 %", sentry, {"BENCH_RATE": "1.0"}, {"plain": 1, "nova": 1}, note="no RPC; transactions"),
    Variant("sentry, 1 %", sentry, {"BENCH_RATE": "0.01"}, {"plain": 0.01, "nova": 0.01}, note="no RPC; transactions"),
)  # fmt: skip
BY_NAME = {variant.name: variant for variant in VARIANTS}
QUICK = ("nothing", "nothing, again", "ours, metrics only", "ours, 1 % traced", "ours, basic", "contrib + peer, 100 %")
