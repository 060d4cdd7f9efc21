# SPDX-License-Identifier: Apache-2.0
"""OTLP in, statsd out: through the built collector, to the real Etsy daemon and to a DogStatsD server."""

from __future__ import annotations

import http
import json
import socket
import time

import pytest

from tests.collector.peers import (
    Collector,
    EtsyStatsd,
    Worker,
    free_port,
    lognormal,
    quantile,
    requests_in_file,
    text,
    wait,
)

pytestmark = pytest.mark.servers
API = "openstack.c1.nova-api"
STALE = "exporters: {statsd: {staleness: 2s}}\n"


@pytest.fixture(params=["udp", "tcp"])
def etsy(request, tmp_path):
    with EtsyStatsd(tmp_path, request.param) as daemon:
        yield daemon


def sends_to(etsy, directory, *more, extra=STALE):
    environment = {"OTEL_OPENSTACK_STATSD": f"127.0.0.1:{etsy.port}", "OTEL_OPENSTACK_STATSD_TRANSPORT": etsy.server}
    return Collector(directory, "agent.yaml", "to-statsd.yaml", *more, extra=extra, environment=environment)


def test_workers_that_come_and_go_fold_to_true_numbers(etsy, tmp_path):
    latencies = lognormal(8000)
    with sends_to(etsy, tmp_path) as collector:
        workers = [Worker() for _ in range(8)]
        for at, worker in enumerate(workers):
            worker.serve(*latencies[at::8])
            worker.active = at
        collector.report(*workers)
        wait(lambda: etsy.counter(f"{API}.requests") >= 8000, "all requests")
        # One flush had all of them.
        assert etsy.counter(f"{API}.requests") == etsy.counter(f"{API}.latency.count") == 8000
        assert etsy.counter(f"{API}.latency.sum") == pytest.approx(sum(latencies))
        assert etsy.gauge(f"{API}.active") == 28
        assert etsy.gauge(f"{API}.latency.p50") == pytest.approx(quantile(latencies, 0.5), rel=0.1)
        assert etsy.gauge(f"{API}.latency.p95") == pytest.approx(quantile(latencies, 0.95), rel=0.15)

        gone, stay = workers[:4], workers[4:]
        sent = 8000
        for _ in range(3):
            fresh = Worker()
            stay.append(fresh)
            for worker in stay:
                worker.serve(0.1)
                sent += 1
            collector.report(*stay)
            time.sleep(0.3)
        wait(lambda: etsy.counter(f"{API}.requests") >= sent, "what came later")
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            collector.report(*stay)
            time.sleep(0.2)
        assert etsy.counter(f"{API}.requests") == sent
        assert etsy.gauge(f"{API}.active") == sum(worker.active for worker in stay) != 28
        assert gone[3].active
        assert not collector.own("exporter_statsd_dropped_lines")
    assert collector.process.child.returncode == 0


def test_a_restart_of_the_exporter_counts_nothing_twice(tmp_path):
    with EtsyStatsd(tmp_path) as etsy:
        collector = sends_to(etsy, tmp_path)
        with collector:
            worker = Worker()
            worker.serve(*[0.1] * 10)
            collector.report(worker)
        # What was taken in is sent before the end.
        wait(lambda: etsy.counter(f"{API}.requests") == 10, "the first ten")
        with collector:
            collector.report(worker)
            young = Worker()
            young.serve(0.1, 0.1)
            worker.serve(0.1)
            collector.report(worker, young)
        wait(lambda: etsy.counter(f"{API}.requests") >= 13, "one more, and a new worker's two")
        time.sleep(0.5)
        assert etsy.counter(f"{API}.requests") == etsy.counter(f"{API}.latency.count") == 13


def test_statsd_down_and_up_again(etsy, tmp_path):
    with sends_to(etsy, tmp_path, "to-files.yaml") as collector:
        worker = Worker()
        worker.serve(0.1)
        collector.report(worker)
        wait(lambda: etsy.counter(f"{API}.requests") == 1, "the first")
        etsy.stop()
        worker.serve(0.1)
        collector.report(worker)
        wait(lambda: collector.own("exporter_statsd_dropped_lines"), "drops")
        reasons = set(collector.own("exporter_statsd_dropped_lines"))
        assert reasons <= {"refused", "unreachable"}
        assert wait(lambda: requests_in_file(tmp_path) == 2, "other outputs go on")
        time.sleep(1)  # some flushes: the one with the counters may come after one with gauges
        etsy.start()
        worker.serve(0.1)
        collector.report(worker)
        wait(lambda: etsy.counter(f"{API}.requests") == 2, "the third; the second is dropped and counted")


def test_a_peer_that_does_not_read_holds_nothing_up(tmp_path):
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        peer.listen(1)
        environment = {
            "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{peer.getsockname()[1]}", "OTEL_OPENSTACK_STATSD_TRANSPORT": "tcp",
        }  # fmt: skip
        extra = "exporters: {statsd: {write_timeout: 200ms, rate_limit: {packets_per_second: 0}}}\n"
        files = ("agent.yaml", "to-statsd.yaml", "to-files.yaml")
        with Collector(tmp_path, *files, extra=extra, environment=environment) as collector:
            point = {"asInt": "1", "timeUnixNano": "1"}
            metrics = [{"name": f"{'x' * 200}{n}", "gauge": {"dataPoints": [point]}} for n in range(5000)]
            resource = {"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": metrics}]}
            for _ in range(4):
                assert collector.post({"resourceMetrics": [resource]}) == http.HTTPStatus.OK
            wait(lambda: collector.own("exporter_statsd_dropped_lines")["timeout"], "drops")
            worker = Worker()
            worker.serve(0.1)
            collector.report(worker)
            wait(lambda: requests_in_file(tmp_path) == 1, "other outputs go on")
            began = time.monotonic()
        assert time.monotonic() - began < 10


def test_what_nobody_should_send(tmp_path):
    with EtsyStatsd(tmp_path) as etsy, sends_to(etsy, tmp_path) as collector:
        assert collector.post(b'{"resourceMetrics": [{"resource": 7}]}') == http.HTTPStatus.BAD_REQUEST
        worker = Worker(service="x" * 10_000)
        collector.report(worker)
        wait(lambda: collector.own("exporter_statsd_truncated_values").total() >= 3, "the service's name is cut")
        metric = {"name": "y" * 10_000, "gauge": {"dataPoints": [{"asInt": "1"}]}}
        body = {"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"scope": {}, "metrics": [metric]}]}]}
        assert collector.post(body) == http.HTTPStatus.OK
        wait(lambda: collector.own("exporter_statsd_dropped_points")["too_long"] == 1, "told")
        worker = Worker()
        worker.serve(0.1)
        collector.report(worker)
        wait(lambda: etsy.counter(f"{API}.requests") == 1, "the rest goes on")
        assert collector.memory() < 256


DOGSTATSD = """
receivers:
  statsd:
    endpoint: 127.0.0.1:{port}
    aggregation_interval: 1s
    timer_histogram_mapping:
      - statsd_type: distribution
        observer_type: summary
        summary: {{percentiles: [50, 95]}}
exporters:
  file/received:
    path: {file}
    flush_interval: 100ms
service:
  pipelines:
    metrics/received: {{receivers: [statsd], exporters: [file/received]}}
"""


@pytest.mark.parametrize("count", [40, 40_000])
def test_distributions_arrive_at_a_dogstatsd_server_as_they_were(tmp_path, count):
    port, file = free_port(socket.SOCK_DGRAM), tmp_path / "received.jsonl"
    environment = {"OTEL_OPENSTACK_DOGSTATSD": f"127.0.0.1:{port}"}
    extra = DOGSTATSD.format(port=port, file=file)
    latencies = lognormal(count)
    with Collector(tmp_path, "agent.yaml", "to-dogstatsd.yaml", extra=extra, environment=environment) as collector:
        workers = [Worker() for _ in range(8)]
        for at, worker in enumerate(workers):
            worker.serve(*latencies[at::8])
            worker.active = -1
        collector.report(*workers)
        wait(lambda: received(file, "requests"), "the counter")
        time.sleep(1.5)
        total = sum(int(point["asInt"]) for point in received(file, "requests"))
        assert total == count
        summaries = received(file, "latency")
        assert sum(int(point["count"]) for point in summaries) == count
        assert sum(point["sum"] for point in summaries) == pytest.approx(sum(latencies), rel=1e-6)
        assert [point["asDouble"] for point in received(file, "active")][-1] == -8
        largest = max(summaries, key=lambda point: int(point["count"]))
        if int(largest["count"]) == count > 1000:
            p50, p95 = (q["value"] for q in largest["quantileValues"])
            assert p50 == pytest.approx(quantile(latencies, 0.5), rel=0.1)
            assert p95 == pytest.approx(quantile(latencies, 0.95), rel=0.15)


def received(file, name):
    points = []
    for line in text(file).splitlines():
        for resource in json.loads(line)["resourceMetrics"]:
            for metric in (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]):
                if metric["name"] == name:
                    kind = next(kind for kind in ("sum", "gauge", "summary") if kind in metric)
                    points += metric[kind]["dataPoints"]
    return points
