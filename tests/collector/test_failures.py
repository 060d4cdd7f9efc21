# SPDX-License-Identifier: Apache-2.0
"""What the collector sends to fails: it stays up and small, the other outputs go on, drops are counted, it recovers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.collector.observers import Jaeger, taking_otlp, writable
from tests.collector.peers import (
    ROOT,
    Collector,
    EtsyStatsd,
    Worker,
    free_port,
    readable,
    requests_in_file,
    text,
    wait,
)
from tests.collector.test_outputs import span

pytestmark = pytest.mark.servers
API = "openstack.c1.nova-api"
COUNT = 'sum(requests_total{job="nova-api"})'
AGENT = ("agent.yaml", "to-statsd.yaml", "to-prometheus.yaml", "to-files.yaml")
LIMIT = 256  # MiB, agent.yaml's default
SMALL_DISK = "COLLECTOR_SMALL_DISK"


def agent(directory, etsy, *more, extra="", **environment):
    """An agent with every output that costs no server, and more; its Prometheus port is in `scraped`."""
    port = free_port()
    environment |= {
        "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{etsy.port}", "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}",
    }  # fmt: skip
    collector = Collector(directory, *AGENT, *more, extra=extra, environment=environment)
    collector.scraped = port
    return collector


# How a Prometheus is written to: fragment, variable, path, and how it is started.
WAYS = {
    "remote write": ("to-prometheus-remote-write.yaml", "OTEL_OPENSTACK_REMOTE_WRITE", "/api/v1/write", writable),
    "otlp": ("to-prometheus-otlp.yaml", "OTEL_OPENSTACK_PROMETHEUS_OTLP", "/api/v1/otlp", taking_otlp),
}


def writing(directory, etsy, port, way="remote write"):
    """An agent that writes to the Prometheus at `port` too."""
    fragment, variable, path, _ = WAYS[way]
    return agent(directory, etsy, fragment, **{variable: f"http://127.0.0.1:{port}{path}"})


def others_go_on(collector, etsy, worker, directory):
    """A request more is counted by statsd, for Prometheus and in the files."""
    worker.serve(0.1)
    collector.report(worker)
    wait(lambda: etsy.counter(f"{API}.requests") == worker.requests, "statsd")
    wait(lambda: collector.prometheus(collector.scraped)["requests_total"] == worker.requests, "for Prometheus")
    if directory:
        wait(lambda: requests_in_file(directory) == worker.requests, "files")
    assert collector.process.alive()


@pytest.mark.parametrize("way", WAYS)
def test_prometheus_down_and_up_again(tmp_path, way):
    """What it missed is in the values that it gets when it is back."""
    with EtsyStatsd(tmp_path) as etsy, WAYS[way][-1](tmp_path / "prometheus") as prometheus:
        with writing(tmp_path, etsy, prometheus.port, way) as collector:
            worker = Worker()
            others_go_on(collector, etsy, worker, tmp_path)
            wait(lambda: prometheus.value(COUNT) == 1, way)
            prometheus.stop()
            others_go_on(collector, etsy, worker, tmp_path)
            others_go_on(collector, etsy, worker, tmp_path)
            prometheus.start()
            wait(lambda: reported(collector, worker) and prometheus.value(COUNT) == 3, "what it missed")


def reported(collector, worker):
    """Report as each process does once a minute, changed or not."""
    collector.report(worker)
    return True


@pytest.mark.parametrize("way", WAYS)
def test_prometheus_down_for_longer_than_the_queue(tmp_path, way):
    with EtsyStatsd(tmp_path) as etsy:
        with writing(tmp_path, etsy, free_port(), way) as collector:
            worker = Worker()
            lost = lambda: collector.own("exporter_enqueue_failed_metric_points").total()  # noqa: E731
            wait(lambda: others_go_on(collector, etsy, worker, tmp_path) or lost(), "counted")
            stop_within(collector, 30)


def stop_within(collector, seconds):
    """A dead peer must not hold up the stop: every batch in its queue has the timeout, and no more."""
    collector.process.child.terminate()
    assert collector.process.child.wait(seconds) == 0


def test_jaeger_down_and_up_again(tmp_path):
    with EtsyStatsd(tmp_path) as etsy, Jaeger(tmp_path) as jaeger:
        url = f"http://127.0.0.1:{jaeger.otlp}"
        with agent(tmp_path, etsy, "to-jaeger.yaml", OTEL_OPENSTACK_JAEGER=url) as collector:
            worker = Worker()
            first = send_span(collector, "first")
            wait(lambda: len(jaeger.spans(first)) == 1, "the first span")
            jaeger.stop()
            second = send_span(collector, "second")
            others_go_on(collector, etsy, worker, tmp_path)
            wait(lambda: '"second"' in text(tmp_path / "traces.jsonl"), "files")
            jaeger.start()
            wait(lambda: len(jaeger.spans(second)) == 1, "what it missed")
            assert not jaeger.spans(first), "its storage is its memory"


def send_span(collector, name):
    sent = span(name)
    scope = {"scope": {}, "spans": [sent]}
    body = {"resourceSpans": [{"resource": {}, "scopeSpans": [scope]}]}
    assert collector.post(body, "/v1/traces") == http.HTTPStatus.OK
    return sent["traceId"]


def test_a_full_disk(tmp_path):
    """Runs again by itself where a small disk can be mounted that nobody else sees."""
    if not os.environ.get(SMALL_DISK):
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
            pytest.skip("a small disk has to be mounted, and `unshare --mount` is not allowed here: it needs root")
        command = ["unshare", "--mount", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"{__file__}::test_a_full_disk"]
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {SMALL_DISK: "1"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=True)
    with EtsyStatsd(tmp_path) as etsy, agent(tmp_path, etsy, OTEL_OPENSTACK_FILES=str(disk)) as collector:
        worker = Worker()
        others_go_on(collector, etsy, worker, disk)
        fill(disk / "ballast")
        wait(lambda: others_go_on(collector, etsy, worker, None) or failed(collector), "counted")
        (disk / "ballast").unlink()
        others_go_on(collector, etsy, worker, None)
        others_go_on(collector, etsy, worker, disk)
        broken = sum(not readable(line) for line in text(disk / "metrics.jsonl").splitlines())
        assert broken <= 1, "the line that no longer fitted, with the next one in it"


def failed(collector):
    return collector.own("exporter_send_failed_metric_points").total()


def fill(path):
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert not shutil.disk_usage(path.parent).free


HOSTILE = (
    ("/v1/metrics", b'{"resourceMetrics": [{"resource": 7}]}', "application/json"),
    ("/v1/traces", b"{" * 100_000, "application/json"),
    ("/v1/traces", b"\x0a\xff\xff\xff\xff\x0f" + os.urandom(1000), "application/x-protobuf"),
    ("/v1/logs", b"", "text/html"),
)


def test_malformed_bodies_and_names_of_ten_kilobytes(tmp_path):
    with EtsyStatsd(tmp_path) as etsy, writable(tmp_path / "prometheus") as prometheus:
        with writing(tmp_path, etsy, prometheus.port) as collector:
            worker = Worker()
            for path, body, kind in HOSTILE:
                status = collector.post(body, path, kind=kind)
                assert 400 <= status < 500, (path, kind)
                others_go_on(collector, etsy, worker, tmp_path)
            point = {"asInt": "1", "timeUnixNano": str(time.time_ns()), "startTimeUnixNano": str(time.time_ns())}
            data = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}
            for name in ("n" * 10_000, "\n|:#{}\0\u2028" * 1000):
                metric = {"name": name, "sum": data, "description": name, "unit": name}
                scope = {"scope": {"name": name}, "metrics": [metric]}
                resource = {"attributes": [{"key": name, "value": {"stringValue": name}}]}
                body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}
                assert collector.post(body) == http.HTTPStatus.OK
                others_go_on(collector, etsy, worker, tmp_path)
            wait(lambda: prometheus.value(COUNT) == worker.requests, "remote write goes on")
            wait(lambda: collector.own("exporter_statsd_dropped_points")["too_long"], "counted")
            assert not etsy.counter("statsd.bad_lines_seen")
            assert collector.memory() < LIMIT


def test_ten_times_the_load(tmp_path):
    """More than fits at once, from ten senders that do not wait; afterwards every request is there once."""
    processes, rounds = 400, 10
    with EtsyStatsd(tmp_path) as etsy, agent(tmp_path, etsy) as collector:
        senders = [[Worker() for _ in range(processes // 10)] for _ in range(10)]
        largest = []

        def send(workers):
            refused = 0
            for _ in range(rounds):
                for worker in workers:
                    worker.serve(*[0.1] * 10)
                body = {"resourceMetrics": [w.resource() for w in workers]}
                refused += collector.post(body) != http.HTTPStatus.OK
                largest.append(collector.memory())
            return refused

        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            refused = sum(pool.map(send, senders))
        # Cumulative: the last report says what refused ones would have said.
        for workers in senders:
            wait(
                lambda workers=workers: (
                    collector.post({"resourceMetrics": [worker.resource() for worker in workers]}) == http.HTTPStatus.OK
                ),
                "taken again",
            )
        sent = processes * rounds * 10
        wait(lambda: etsy.counter(f"{API}.requests") == sent, "statsd")
        wait(lambda: collector.prometheus(collector.scraped)["requests_total"] == sent, "for Prometheus")
        wait(lambda: requests_in_file(tmp_path) == sent, "files")
        assert max(largest) < LIMIT
        if refused:
            assert collector.own("receiver_refused_metric_points").total()


LOADS, SPANS = 60, 2000  # some 30 MB as they are sent, ten times that in memory


def numbered(name, count):
    """Spans that are small on the wire and large in memory, as a request."""
    attributes = [{"key": f"k{at}", "value": {"intValue": "1"}} for at in range(20)]
    spans = [span(name) | {"spanId": f"{at + 1:016x}", "attributes": attributes} for at in range(count)]
    return json.dumps({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]})


def spans_in_files(directory):
    return sum(path.read_bytes().count(b'"spanId"') for path in directory.glob("traces*.jsonl"))


def test_outputs_that_are_away_starve_no_other(tmp_path):
    """The gateway is down and Jaeger takes connections only, under what would fill the memory several times."""
    (tmp_path / "gateway").mkdir()
    everything = {"OTEL_OPENSTACK_TRACES_PERCENT": "100", "OTEL_OPENSTACK_DECISION_WAIT": "1s"}
    gateway = Collector(tmp_path / "gateway", "gateway.yaml", "to-files.yaml", environment=everything)
    with EtsyStatsd(tmp_path) as etsy, socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        away = {
            "OTEL_OPENSTACK_GATEWAY": f"http://127.0.0.1:{gateway.otlp}",
            "OTEL_OPENSTACK_JAEGER": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        soon = "exporters: {otlp_http: {retry_on_failure: {max_interval: 1s}}}\n"
        with agent(tmp_path, etsy, "to-otlp.yaml", "to-jaeger.yaml", extra=soon, **away) as collector:
            worker, load, largest = Worker(), numbered("load", SPANS), []
            for _ in range(LOADS):
                assert collector.post(load, "/v1/traces") == http.HTTPStatus.OK, "nothing is refused"
                worker.serve(0.1)
                collector.report(worker)
                largest.append(collector.memory())
            others_go_on(collector, etsy, worker, tmp_path)
            wait(lambda: spans_in_files(tmp_path) == LOADS * SPANS, "every span is in the files")
            lost = collector.own("exporter_enqueue_failed_spans", by="exporter")
            assert lost.keys() == {"otlp_http", "otlp_http/jaeger"}
            assert min(lost.values()) > LOADS * SPANS / 2
            assert max(largest) < LIMIT
            with gateway:
                later = send_span(collector, "later")
                wait(lambda: later in text(tmp_path / "gateway" / "traces.jsonl"), "what came when it was back")
                # Four send at once, so what waited arrives in any order.
                arrived = lambda: reported(collector, worker) and requests_in_file(tmp_path / "gateway")  # noqa: E731
                wait(lambda: arrived() == worker.requests, "and the metrics")
            silent.close()  # or the stop would wait for its answers
    for path in tmp_path.glob("traces*.jsonl"):
        path.unlink()


def test_a_persistent_queue_outlives_a_killed_agent(tmp_path):
    """The gateway is away, the agent is killed: what it had acknowledged arrives when both are back."""
    (tmp_path / "agent").mkdir()
    (tmp_path / "gateway").mkdir()
    everything = {"OTEL_OPENSTACK_TRACES_PERCENT": "100", "OTEL_OPENSTACK_DECISION_WAIT": "1s"}
    gateway = Collector(tmp_path / "gateway", "gateway.yaml", "to-files.yaml", environment=everything)
    environment = {
        "OTEL_OPENSTACK_GATEWAY": f"http://127.0.0.1:{gateway.otlp}",
        "OTEL_OPENSTACK_QUEUE_DIRECTORY": str(tmp_path / "agent"),
    }
    files = ("agent.yaml", "to-otlp.yaml", "to-otlp-persistent.yaml")
    collector = Collector(tmp_path / "agent", *files, environment=environment)
    with contextlib.ExitStack() as started:
        collector.start()
        try:
            worker = Worker()
            worker.serve(0.1, 0.1)
            collector.report(worker)
            trace_id = send_span(collector, "kept")
            queued = lambda: collector.own("exporter_queue_size", by="data_type")  # noqa: E731
            wait(lambda: queued()["metrics"] and queued()["traces"], "metrics and spans are in the queue")
        finally:
            collector.stop(signal.SIGKILL)
        started.enter_context(gateway)
        started.enter_context(collector)
        arrived = tmp_path / "gateway"
        wait(lambda: requests_in_file(arrived) == 2, "metrics")
        wait(lambda: trace_id in text(arrived / "traces.jsonl"), "spans")
        wait(lambda: not collector.own("exporter_queue_size").total(), "the queue is empty")
