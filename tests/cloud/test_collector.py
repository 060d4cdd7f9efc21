# SPDX-License-Identifier: Apache-2.0
"""The recorded cloud, replayed through the built collector into real peers: all of them tell the same numbers.

Etsy's statsd, three Prometheus servers (one scrapes, one is written to, one takes OTLP), Jaeger and files, behind one
collector with everything that a single box has.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cloud.recorded import Run
from tests.collector.observers import Jaeger, Prometheus, packaged, taking_otlp, writable
from tests.collector.peers import Collector, EtsyStatsd, binary, free_port, text, wait
from tests.collector.replay import Recording, spans_of

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not (shutil.which("go") and shutil.which("npm")), reason="needs Go and npm"),
]
CONFIGURATION = (
    "standalone.yaml", "to-statsd.yaml", "to-prometheus.yaml", "to-prometheus-remote-write.yaml",
    "to-prometheus-otlp.yaml", "to-files.yaml", "to-jaeger.yaml",
)  # fmt: skip
BY_SERVICE = 'exporters: {statsd: {prefix: "", names: {default: "{service.name}.{metric}"}}}\n'
WAYS = ("scraped", "written", "otlp")
SECONDS = 8  # of the replay; the run took more than a minute
UNITS = {"s": "_seconds", "By": "_bytes", "ms": "_milliseconds"}
CLIENT = "openstack-client"


@dataclass
class Observed:
    recording: Recording
    etsy: EtsyStatsd
    prometheus: dict[str, Prometheus]
    jaeger: Jaeger
    directory: Path  # of the files
    dropped: dict[str, float]  # what the collector says itself

    def in_files(self):
        return text(self.directory / "metrics.jsonl").splitlines()


@pytest.fixture(scope="module")
def observed(run: Run, tmp_path_factory):
    binary()
    directory = tmp_path_factory.mktemp("observed")
    recording, port = Recording(run.otlp), free_port()
    with contextlib.ExitStack() as started:
        # By TCP, because a busy machine loses datagrams; test_statsd.py has both.
        etsy = started.enter_context(EtsyStatsd(directory, "tcp"))
        servers = {
            "scraped": Prometheus(directory / "scraped", packaged(), scrapes=port),
            "written": writable(directory / "written"),
            "otlp": taking_otlp(directory / "otlp"),
        }
        for server in servers.values():
            started.enter_context(server)
        jaeger = started.enter_context(Jaeger(directory))
        environment = {
            "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{etsy.port}",
            "OTEL_OPENSTACK_STATSD_TRANSPORT": "tcp",
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}",
            "OTEL_OPENSTACK_REMOTE_WRITE": f"http://127.0.0.1:{servers['written'].port}/api/v1/write",
            "OTEL_OPENSTACK_PROMETHEUS_OTLP": f"http://127.0.0.1:{servers['otlp'].port}/api/v1/otlp",
            "OTEL_OPENSTACK_JAEGER": f"http://127.0.0.1:{jaeger.otlp}",
            "OTEL_OPENSTACK_PROMETHEUS_INTERVAL": "2s",
            "OTEL_OPENSTACK_TRACES_PERCENT": "100",
            "OTEL_OPENSTACK_DECISION_WAIT": "1s",
        }
        with Collector(directory, *CONFIGURATION, extra=BY_SERVICE, environment=environment) as collector:
            time.sleep(1)  # counters that began before it did would be baselines
            recording.send(collector, SECONDS)
            totals = counted(recording.metrics())
            spans = len(recording.spans())
            wait(lambda: not short(totals, lambda service, name: etsy.counter(f"{service}.{name}")), "statsd")
            for way, server in servers.items():
                wait(lambda server=server: not short(totals, asked(server, totals)), way)
            wait(lambda: spans_in(directory) >= spans, "files")
            wait(lambda: not collector.own("exporter_queue_size").total(), "Jaeger")
            time.sleep(1)  # is anything counted twice?
            yield Observed(recording, etsy, servers, jaeger, directory, collector.drops())


def counted(lines):
    """Counters, and observations of histograms, by service and metric: the last value of every stream, added up."""
    last = {}
    for line in lines:
        for resource in json.loads(line)["resourceMetrics"]:
            who = {a["key"]: next(iter(a["value"].values())) for a in resource["resource"]["attributes"]}
            for metric in (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]):
                for name, point, value in values(metric):
                    stream = (who.get("service.instance.id"), json.dumps(point.get("attributes", []), sort_keys=True))
                    last[who["service.name"], name, metric.get("unit", ""), stream] = value
    totals = Counter()
    for (service, name, unit, _), value in last.items():
        totals[service, name, unit] += value
    return totals


def values(metric):
    for point in metric.get("histogram", {}).get("dataPoints", ()):
        yield f"{metric['name']}.count", point, int(point["count"])
    if metric.get("sum", {}).get("isMonotonic"):
        for point in metric["sum"]["dataPoints"]:
            yield metric["name"], point, float(point["asInt"] if "asInt" in point else point["asDouble"])


def short(totals, found):
    """What has not all arrived yet: (service, metric): (wanted, found)."""
    return {
        (service, name): (value, there)
        for (service, name, _), value in totals.items()
        for there in [found(service, name)]
        if there < value - 1e-6 * max(1, value)
    }


def differing(totals, found):
    return {
        (service, name): (value, there)
        for (service, name, _), value in totals.items()
        for there in [found(service, name)]
        if abs(there - value) > 1e-6 * max(1, value)
    }


def asked(server, totals):
    """A function from service and metric to what a Prometheus says of it."""
    units = {(service, name): unit for service, name, unit in totals}
    answers = {}
    for suffix in ("count", "total"):
        query = f'sum by (__name__, job) ({{__name__=~".+_{suffix}", job=~"openstack/.+"}})'
        for labels, value in server.query(query) or ():
            answers[labels["job"].removeprefix("openstack/"), labels["__name__"]] = value
    return lambda service, name: answers.get((service, translated(name, units[service, name])), 0)


def translated(name, unit):
    plain, counts = name.removesuffix(".count"), name.endswith(".count")
    return plain.replace(".", "_") + UNITS.get(unit, "") + ("_count" if counts else "_total")


def spans_in(directory):
    lines = text(directory / "traces.jsonl").splitlines()
    return sum(1 for line in lines for _ in spans_of(json.loads(line)))


def test_one_number_through_all(run: Run, observed):
    """The requests that the client saw leave, below every library, are what each of them counts for it."""
    sent = sum(len(step["requests"]) for drive in run.drives for step in drive.steps)
    assert sent > 100
    name, unit = "http.client.request.duration.count", "s"
    told = {
        "statsd": observed.etsy.counter(f"{CLIENT}.{name}"),
        "files": counted(observed.in_files())[CLIENT, name, unit],
    }
    query = f'sum(http_client_request_duration_seconds_count{{job="openstack/{CLIENT}"}})'
    told |= {way: server.value(query) for way, server in observed.prometheus.items()}
    told["jaeger"] = sum(
        {"key": "span.kind", "type": "string", "value": "client"} in span["tags"]
        for drive in run.drives
        for step in drive.steps
        for span in observed.jaeger.spans(step["trace_id"])
        if service_of(span) == CLIENT and any(tag["key"] == "http.request.method" for tag in span["tags"])
    )
    assert told == dict.fromkeys(told, sent)


def service_of(span):
    return span["process"]["serviceName"]


def test_everything_that_the_services_counted(observed):
    totals = counted(observed.recording.metrics())
    assert sum(value for (_, name, _), value in totals.items() if name == "http.server.request.duration.count") > 50
    assert not differing(totals, lambda service, name: observed.etsy.counter(f"{service}.{name}"))
    files = {(service, name): value for (service, name, _), value in counted(observed.in_files()).items()}
    assert not differing(totals, lambda service, name: files[service, name])
    for server in observed.prometheus.values():
        assert not differing(totals, asked(server, totals))


def test_prometheus_has_the_same_series_by_each_way(observed):
    scraped, written, otlp = (observed.prometheus[way].series() for way in WAYS)
    assert len(scraped) > 500
    assert not scraped ^ written
    assert not scraped ^ otlp


def test_jaeger_has_every_span_of_a_server_create(run: Run, observed):
    traces = [step["trace_id"] for drive in run.drives for step in drive.named("server create")]
    assert len(traces) > 5
    exported = Counter(span["traceId"] for span in observed.recording.spans())
    for trace_id in traces:
        spans = observed.jaeger.spans(trace_id)
        assert len(spans) == len({span["spanID"] for span in spans}) == exported[trace_id] > 50


def test_files_have_every_span_once(observed):
    lines = text(observed.directory / "traces.jsonl").splitlines()
    written = Counter(span["spanId"] for line in lines for span in spans_of(json.loads(line)))
    assert written == Counter(span["spanId"] for span in observed.recording.spans())


def test_nothing_was_dropped(observed):
    assert observed.dropped == {}
    assert not observed.etsy.counter("statsd.bad_lines_seen")
