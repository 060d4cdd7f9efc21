# SPDX-License-Identifier: Apache-2.0
"""Two agents and two gateways, each on a host of its own: what arrives where, and what happens when one goes down."""

from __future__ import annotations

import json
import time
import uuid
from collections import defaultdict

import pytest

from tests.collector import network
from tests.collector.network import on
from tests.collector.peers import Collector, Worker, requests_in_file, text, wait

pytestmark = pytest.mark.servers
AGENTS, GATEWAYS = ("agent1", "agent2"), ("gateway1", "gateway2")
PORT = 4318
TRACES = 64
# Short, so that what waits is sent soon after the gateway is back, and small, so that it overflows.
QUEUE = """
exporters:
  otlp_http/second:
    timeout: 1s
    sending_queue: {sizer: requests, queue_size: 3, num_consumers: 1}
    retry_on_failure: {initial_interval: 200ms, max_interval: 500ms, max_elapsed_time: 5m}
processors: {batch: {timeout: 50ms}}
"""


class Host(Collector):
    """A collector on a host of the network."""

    def __init__(self, host, directory, *files, **others):
        directory.mkdir()
        self.host = host
        super().__init__(directory, *files, **others)

    def start(self):
        with on(self.host):
            return super().start()

    __enter__ = start

    def get(self, port, path):
        with on(self.host):
            return super().get(port, path)

    def post(self, body, path="/v1/metrics", *, over_socket=False):
        with on(self.host):
            return super().post(body, path, over_socket=over_socket)

    def trace(self, spans):
        body = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}
        assert self.post(body, "/v1/traces") == 200


@pytest.fixture
def hosts(tmp_path):
    """The agents, then the gateways; what each agent measures goes to its own gateway, traces go to both."""
    if reason := network.missing():
        pytest.skip(reason)
    with network.network(*AGENTS, *GATEWAYS) as addresses:
        listen = [{"OTEL_OPENSTACK_OTLP_HTTP": f"{addresses[name]}:{PORT}"} for name in GATEWAYS]
        sampling = {"OTEL_OPENSTACK_TRACES_PERCENT": "0", "OTEL_OPENSTACK_DECISION_WAIT": "2s"}
        gateways = [
            Host(name, tmp_path / name, "gateway.yaml", "to-files.yaml", environment=told | sampling)
            for name, told in zip(GATEWAYS, listen, strict=True)
        ]
        to = [f"http://{addresses[name]}:{PORT}" for name in GATEWAYS]
        split = {"OTEL_OPENSTACK_GATEWAY_FIRST": to[0], "OTEL_OPENSTACK_GATEWAY_SECOND": to[1]}
        files = ("agent.yaml", "to-otlp.yaml", "to-two-gateways.yaml")
        agents = [
            Host(name, tmp_path / name, *files, extra=QUEUE, environment=split | {"OTEL_OPENSTACK_GATEWAY": home})
            for name, home in zip(AGENTS, to, strict=True)
        ]
        with gateways[0], gateways[1], agents[0], agents[1]:
            yield agents, gateways


def span(trace, *, failed):
    began = time.time_ns()
    return {
        "traceId": trace, "spanId": uuid.uuid4().hex[:16], "name": "s", "kind": 2, "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + 10**6), "status": {"code": 2 if failed else 0},
    }  # fmt: skip


def kept(gateway):
    """How many spans of each trace the gateway wrote."""
    counts = defaultdict(int)
    for line in text(gateway.directory / "traces.jsonl").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for one in scope["spans"]:
                    counts[one["traceId"]] += 1
    return counts


def second(trace):
    """Whether it is the second gateway that has to get it."""
    return trace[-1] in "89abcdef"


def test_points_and_whole_traces_arrive_exactly(hosts):
    agents, gateways = hosts
    traces = [uuid.uuid4().hex for _ in range(TRACES)]
    failed = set(traces[::2])
    agents[0].trace([span(trace, failed=trace in failed) for trace in traces])
    agents[1].trace([span(trace, failed=False) for trace in traces for _ in range(2)])
    workers = [Worker(), Worker()]
    for turn in range(5):
        for agent, worker in zip(agents, workers, strict=True):
            worker.serve(*[0.1] * (turn + 1))
            agent.report(worker)
    for gateway, worker in zip(gateways, workers, strict=True):
        wait(lambda g=gateway, w=worker: requests_in_file(g.directory) == w.requests, "the points of its own agent")
    # An error that one host saw keeps what the other host did, and nothing else is kept.
    for gateway, its in zip(gateways, (False, True), strict=True):
        wanted = {trace: 3 for trace in failed if second(trace) is its}
        wait(lambda g=gateway, w=wanted: kept(g) == w, "whole traces")


def test_a_gateway_that_goes_down_and_comes_back(hosts):
    agents, gateways = hosts
    agent = agents[0]
    gateways[1].stop()
    batches = [[span(uuid.uuid4().hex, failed=True) for _ in range(16)] for _ in range(12)]
    for batch in batches:
        agent.trace(batch)
        time.sleep(0.1)  # a batch of the agent's each
    sent = [one["traceId"] for batch in batches for one in batch]
    first = {trace: 1 for trace in sent if not second(trace)}
    wait(lambda: kept(gateways[0]) == first, "the other gateway gets all of its share meanwhile")
    dropped = wait(lambda: agent.own("exporter_enqueue_failed_spans").total(), "what does not fit is counted")
    worker = Worker()
    worker.serve(0.1)
    agent.report(worker)
    wait(lambda: requests_in_file(gateways[0].directory) == 1, "metrics go on")
    with gateways[1]:
        wait(lambda: sum(kept(gateways[1]).values()) == len(sent) - len(first) - dropped, "the rest, by itself")
        assert agent.own("exporter_send_failed_spans").total() == 0
