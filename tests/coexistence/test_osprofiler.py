# SPDX-License-Identifier: Apache-2.0
"""osprofiler's OTLP driver beside us: its collector gets what it got alone, and nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from osprofiler import notifier, opts, profiler
from osprofiler.drivers import otlp

from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State
from otel_openstack.testing import Telemetry
from tests.sink import Sink


@pytest.fixture
def collector() -> Iterator[Sink]:
    with Sink("up") as sink:
        yield sink


def profiled(sink: Sink) -> Any:
    """Profile one request with a call in it, as a service does; returns the driver."""
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    opts.set_defaults(conf, enabled=True, connection_string=f"otlp://127.0.0.1:{sink.port}")
    conf.register_opts(opts._OTLP_OPTS, group="profiler_otlp")
    conf([])
    notify = notifier.create(conf.profiler.connection_string, project="nova", service="api", host="here", conf=conf)
    notifier.set(notify)
    try:
        profiler.clean()
        profiler.init("key", base_id="5e4c7cb0-3f31-4e3a-8d3c-2d3d0a8f0001")
        with profiler.Trace("wsgi", info={"request": {"method": "GET", "path": "/", "query": "", "scheme": "http"}}):
            with profiler.Trace("db", info={"db": {"statement": "SELECT 1", "params": {}}}):
                pass
    finally:
        profiler.clean()
        notifier.set(notifier._noop_notifier)
        notifier.clear_notifier_cache()
    return notify.__self__


def end(driver: Any) -> None:
    """Have the driver's own provider export, and end its thread."""
    driver.trace_api.get_tracer_provider().shutdown()


def test_each_has_spans_of_its_own(telemetry: Telemetry, collector: Sink) -> None:
    with telemetry.patched("osprofiler"):
        tracer = trace.get_tracer("otel_openstack.test")
        with tracer.start_as_current_span("request"):
            driver = profiled(collector)
        end(driver)
    assert [span.name for span in telemetry.spans()] == ["request"]
    theirs = {span.name: span for _, _, span in collector.spans()}
    assert theirs.keys() == {"WSGI_GET_/", "SQL_SELECT"}
    root, below = theirs["WSGI_GET_/"], theirs["SQL_SELECT"]
    assert root.parent_span_id == b""
    assert below.parent_span_id == root.span_id
    assert below.trace_id == root.trace_id
    assert {resource["service.name"] for resource, _, _ in collector.spans()} == {"nova-api"}


def test_its_exporter_is_not_added_to_our_provider(telemetry: Telemetry, collector: Sink) -> None:
    provider: Any = trace.get_tracer_provider()
    with telemetry.patched("osprofiler"):
        end(profiled(collector))
    assert trace.get_tracer_provider() is provider
    assert not provider.has_processors


def test_a_sampler_in_the_environment_is_for_us(
    telemetry: Telemetry, collector: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with telemetry.patched("osprofiler"):
        end(profiled(collector))
    assert len(collector.spans()) == 2


def test_the_inventory_says_why(telemetry: Telemetry, collector: Sink) -> None:
    with telemetry.patched("osprofiler"):
        end(profiled(collector))
    (entry,) = [entry for entry in inventory.entries() if entry.state is State.ASIDE and "osprofiler" in entry.name]
    assert "twice" in entry.reason or "a second time" in entry.reason


def test_undone_the_driver_is_its_own_again(telemetry: Telemetry) -> None:
    with telemetry.patched("osprofiler"):
        assert "__setattr__" in vars(otlp.OTLP)
    assert "__setattr__" not in vars(otlp.OTLP)
