# SPDX-License-Identifier: Apache-2.0
"""What comes out elsewhere: series for Prometheus, one number everywhere, and what a gateway keeps."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.collector.observers import writable
from tests.collector.peers import Collector, EtsyStatsd, Worker, free_port, requests_in_file, text, wait

pytestmark = pytest.mark.servers
RESPAWNS = 1000


def series(collector, port):
    """How many series the service's counted metrics have."""
    lines = (collector.get(port, "/metrics") or "").splitlines()
    return sum(line.startswith(("requests", "latency")) for line in lines)


def test_respawned_workers_make_no_new_series_for_prometheus(tmp_path):
    port = free_port()
    environment = {"OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}"}
    with Collector(tmp_path, "agent.yaml", "to-prometheus.yaml", environment=environment) as collector:
        sent = sizes = 0
        for generation in range(RESPAWNS // 8):
            workers = [Worker() for _ in range(8)]
            for _ in range(2):
                for worker in workers:
                    worker.serve(0.1, 0.2)
                    sent += 2
                collector.report(*workers)
            if generation in {0, RESPAWNS // 8 - 1}:
                wanted = {"requests_total": sent, "latency_seconds_count": sent}
                wait(lambda wanted=wanted: wanted.items() <= collector.prometheus(port).items(), wanted)
                sizes = sizes or series(collector, port)
                assert series(collector, port) == sizes


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
