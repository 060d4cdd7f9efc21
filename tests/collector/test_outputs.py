# SPDX-License-Identifier: Apache-2.0
"""What comes out elsewhere: series for Prometheus, one number everywhere, and what a gateway keeps."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest

from tests.collector.observers import Prometheus, packaged, taking_otlp, writable
from tests.collector.peers import Collector, EtsyStatsd, Worker, free_port, requests_in_file, text, wait

pytestmark = pytest.mark.servers
RESPAWNS = 1000


WAYS = ("to-prometheus-remote-write.yaml", "to-prometheus-otlp.yaml")


def test_respawned_workers_make_no_new_series_in_prometheus(tmp_path):
    """Scraped, written to and by OTLP: the same series after a thousand respawns, states and `target_info` too."""
    port = free_port()
    with contextlib.ExitStack() as started:
        servers = {
            "scraped": Prometheus(tmp_path / "scraped", packaged(), scrapes=port),
            "written": writable(tmp_path / "written"),
            "otlp": taking_otlp(tmp_path / "otlp"),
        }
        for server in servers.values():
            started.enter_context(server)
        environment = {
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}",
            "OTEL_OPENSTACK_REMOTE_WRITE": f"http://127.0.0.1:{servers['written'].port}/api/v1/write",
            "OTEL_OPENSTACK_PROMETHEUS_OTLP": f"http://127.0.0.1:{servers['otlp'].port}/api/v1/otlp",
        }
        collector = Collector(tmp_path, "agent.yaml", "to-prometheus.yaml", *WAYS, environment=environment)
        started.enter_context(collector)
        sent, before = 0, {}
        for generation in range(RESPAWNS // 8):
            time.sleep(0.003)  # no process starts in the millisecond in which another of its number last reported
            workers = [Worker(number=number, active=generation) for number in range(1, 9)]
            for _ in range(2):
                for worker in workers:
                    worker.serve(0.1, 0.2)
                    sent += 2
                collector.report(*workers)
            if generation in {0, RESPAWNS // 8 - 1}:
                for way, server in servers.items():
                    wait(lambda server=server, sent=sent: server.value(COUNTED) == sent, way)
                    wait(lambda server=server, now=8 * generation: server.value(STATE) == now, way)
                    assert before.setdefault(way, head(server)) == head(server), way
        named = [{one for one in found if ("__name__", "target_info") not in one} for found in before.values()]
        assert named[0] == named[1] == named[2], "by each way"
        assert sum(("__name__", "active") in one for one in named[0]) == 8, "a state for each worker"
        assert collector.drops() == {}


COUNTED = 'sum(requests_total{job="nova-api"})'
STATE = 'sum(active{job="nova-api"})'


def head(server):
    """Every series that the server has ever had of the service, without what scraping adds."""
    found = server.ask("series", **{"match[]": '{job="nova-api"}'})
    return {
        frozenset(pair for pair in labels.items() if pair != ("instance", f"127.0.0.1:{server.scrapes}"))
        for labels in found
    }


def test_a_burst_of_batches_reaches_a_prometheus_that_is_written_to(tmp_path):
    """Up-down counters pass the interval at once: many small batches must not overflow a short queue meanwhile."""
    with writable(tmp_path / "prometheus") as prometheus:
        environment = {
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{free_port()}",
            "OTEL_OPENSTACK_REMOTE_WRITE": f"http://127.0.0.1:{prometheus.port}/api/v1/write",
        }
        files = ("agent.yaml", "to-prometheus.yaml", "to-prometheus-remote-write.yaml")
        hasty = "processors: {batch: {timeout: 5ms}}\n"
        with Collector(tmp_path, *files, extra=hasty, environment=environment) as collector:
            workers = [Worker(active=1) for _ in range(100)]
            os.kill(prometheus.process.child.pid, signal.SIGSTOP)
            try:
                for worker in workers:
                    worker.serve(0.1)
                    collector.report(worker)
                    time.sleep(0.01)
            finally:
                os.kill(prometheus.process.child.pid, signal.SIGCONT)
            wait(lambda: prometheus.value('sum(active{job="nova-api"})') == len(workers), "all that is active")
            wait(lambda: prometheus.value('sum(requests_total{job="nova-api"})') == len(workers), "all requests")
            assert collector.drops() == {}


def test_a_resource_that_grows_is_counted_once_and_hosts_stay_apart(tmp_path):
    """One of a host's processes learns its region late; two hosts report to one collector, as to a gateway."""
    port = free_port()
    environment = {"OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}"}
    with Collector(tmp_path, "agent.yaml", "to-prometheus.yaml", environment=environment) as collector:
        workers = [("c1", Worker()), ("c1", Worker()), ("c2", Worker())]
        for learned in ({}, {"cloud.region": "RegionOne"}):
            for number, (host, worker) in enumerate(workers):
                worker.serve(0.1)
                attributes = {"service.instance.id": worker.instance, "service.name": "nova-api", "host.name": host}
                resource = worker.resource()
                resource["resource"]["attributes"] = [
                    {"key": key, "value": {"stringValue": value}}
                    for key, value in (attributes | (learned if number == 0 else {})).items()
                ]
                assert collector.post({"resourceMetrics": [resource]}) == 200
        wanted = {'{host_name="c1",job="nova-api"} 4', '{host_name="c2",job="nova-api"} 2'}
        wait(lambda: shown(collector, port, "requests_total") == wanted, wanted)
        assert shown(collector, port, "latency_seconds_count") == wanted
        assert 'cloud_region="RegionOne"' in collector.get(port, "/metrics")


def shown(collector, port, name):
    lines = (collector.get(port, "/metrics") or "").splitlines()
    return {line.removeprefix(name) for line in lines if line.startswith(f"{name}{{")}


def test_span_metrics_of_two_gateways_do_not_fall_on_each_other(tmp_path):
    """Both write to one Prometheus; the service's spans of two hosts go to either, as traces are shared out."""
    with writable(tmp_path / "prometheus") as prometheus, contextlib.ExitStack() as started:
        sent = 0
        for number, name in enumerate(("g1", "g2"), 1):
            (tmp_path / name).mkdir()
            environment = {
                "OTEL_OPENSTACK_HOST_NAME": name,
                "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{free_port()}",
                "OTEL_OPENSTACK_REMOTE_WRITE": f"http://127.0.0.1:{prometheus.port}/api/v1/write",
            }
            files = ("gateway.yaml", "to-prometheus.yaml", "to-prometheus-remote-write.yaml")
            hasty = "connectors: {span_metrics: {metrics_flush_interval: 200ms}}\n"
            gateway = started.enter_context(Collector(tmp_path / name, *files, extra=hasty, environment=environment))
            for host in ("c1", "c2"):
                resource = Worker().resource()["resource"]
                resource["attributes"][-1]["value"]["stringValue"] = host
                spans = [span("s") for _ in range(number * 3)]
                body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": spans}]}]}
                assert gateway.post(body, "/v1/traces") == 200
                sent += len(spans)
        calls = 'traces_span_metrics_calls_total{job="nova-api"}'
        wait(lambda: prometheus.query(f"sum({calls})") and prometheus.value(f"sum({calls})") == sent, "all spans")
        found = {labels["host_name"]: value for labels, value in prometheus.query(calls)}
        assert found == {"g1": 6, "g2": 12}, "by gateway, over the hosts"
        assert not prometheus.query('{collector_instance_id!=""}')


def test_an_agent_says_what_its_host_is(tmp_path):
    """For senders that do not; what was not told is not made up, and a sender's own word stays."""
    told = {"OTEL_OPENSTACK_HOST_NAME": "c9", "OTEL_OPENSTACK_HOST_ID": "17", "OTEL_OPENSTACK_HOST_ARCH": "arm64"}
    plain = {"host.name": "c9", "os.type": "linux"}
    every = plain | {"host.id": "17", "host.arch": "arm64"}
    own = {"host.name": "c1", "os.type": "linux", "host.id": "1", "host.arch": "amd64"}
    for environment, wanted in (({"OTEL_OPENSTACK_HOST_NAME": "c9"}, plain), (told, every)):
        with Collector(tmp_path, "agent.yaml", "to-files.yaml", environment=environment) as collector:
            for resource in ({}, own):
                attributes = [{"key": key, "value": {"stringValue": value}} for key, value in resource.items()]
                for path, (request, scopes, items) in SIGNALS.items():
                    record = {"resource": {"attributes": attributes}, scopes: [{items: [RECORDS[items]]}]}
                    assert collector.post({request: [record]}, path) == 200
            for path, (request, _, _) in SIGNALS.items():
                file = tmp_path / f"{path.rpartition('/')[2]}.jsonl"
                wait(lambda file=file: text(file).endswith("\n"), file.name)
                resources = [r["resource"] for line in text(file).splitlines() for r in json.loads(line)[request]]
                said = [{a["key"]: a["value"]["stringValue"] for a in resource["attributes"]} for resource in resources]
                assert said == [wanted, own], file.name
                file.unlink()


SIGNALS = {
    "/v1/traces": ("resourceSpans", "scopeSpans", "spans"),
    "/v1/metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    "/v1/logs": ("resourceLogs", "scopeLogs", "logRecords"),
}
RECORDS = {
    "spans": {"traceId": "1" * 32, "spanId": "1" * 16, "name": "s"},
    "metrics": {"name": "m", "gauge": {"dataPoints": [{"asInt": "1"}]}},
    "logRecords": {"body": {"stringValue": "l"}},
}


def test_one_number_through_all_outputs(tmp_path):
    """What the workers count is what statsd, Prometheus and the files count; half of it comes over the Unix socket."""
    port = free_port()
    with EtsyStatsd(tmp_path) as etsy:
        environment = {
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}",
            "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{etsy.port}",
        }
        files = ("standalone.yaml", "to-statsd.yaml", "to-prometheus.yaml", "to-files.yaml")
        with Collector(tmp_path, *files, environment=environment) as collector:
            workers = [Worker() for _ in range(4)]
            for turn in range(5):
                for worker in workers:
                    worker.serve(*[0.1] * (turn + 1))
                collector.report(*workers, over_socket=turn % 2 == 1)
            sent = sum(worker.requests for worker in workers)
            wait(lambda: etsy.counter("openstack.c1.nova-api.requests") == sent, "statsd")
            wait(lambda: collector.prometheus(port)["requests_total"] == sent, "Prometheus")
            wait(lambda: requests_in_file(tmp_path) == sent, "files")


def span(name, *, status=0, seconds=0.1, **attributes):
    began = time.time_ns()
    return {
        "traceId": f"{time.time_ns():032x}", "spanId": f"{time.time_ns() % 2**64:016x}", "name": name, "kind": 2,
        "startTimeUnixNano": str(began), "endTimeUnixNano": str(began + int(seconds * 1e9)), "status": {"code": status},
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
    }  # fmt: skip


def test_a_gateway_keeps_what_matters_and_no_secrets(tmp_path):
    environment = {"OTEL_OPENSTACK_TRACES_PERCENT": "0", "OTEL_OPENSTACK_DECISION_WAIT": "1s"}
    with Collector(tmp_path, "gateway.yaml", "to-files.yaml", environment=environment) as gateway:
        spans = [
            span("plain"), span("failed", status=2, password="hunter2", note="Bearer abc.def"), span("slow", seconds=6),
        ]  # fmt: skip
        scope = {"scope": {}, "spans": spans}
        assert gateway.post({"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}, "/v1/traces") == 200
        file = tmp_path / "traces.jsonl"
        wait(lambda: '"slow"' in text(file), "sampled")
        assert '"failed"' in text(file)
        for absent in ('"plain"', "hunter2", "abc.def"):
            assert absent not in text(file)
    with gateway:
        scope["spans"] = [span("later", status=2)]
        assert gateway.post({"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}, "/v1/traces") == 200
        wait(lambda: '"later"' in text(file), "sampled after a restart")
        assert '"slow"' in text(file), "files are continued"
