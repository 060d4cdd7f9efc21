# SPDX-License-Identifier: Apache-2.0
"""Every process measures itself, under its own name, and stops as it would without us."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from tests.cloud.recorded import Run

pytestmark = pytest.mark.cloud

# Groups of measurements, and the metrics by which each shows.
HEALTH = ("otel_openstack.items.recorded", "otel_openstack.items.delivered")
SERVES_HTTP = ("http.server.request.duration", "http.server.active_requests", "openstack.wsgi.backlog.connection.limit")
CALLS_HTTP = ("http.client.request.duration",)
DATABASE = ("db.client.operation.duration", "db.client.connection.count", "db.client.connection.create_time")
MESSAGING = ("openstack.messaging.client.connection.count", "openstack.messaging.client.connection.max")
CASTS = ("messaging.client.operation.duration", "messaging.client.sent.messages")
CALLS = ("rpc.client.call.duration",)
SERVES_RPC = ("rpc.server.call.duration", "openstack.rpc.server.request.time_in_queue", "openstack.pool.worker.count")
PERIODIC = ("openstack.periodic_task.duration",)

GROUPS = {
    "keystone": (SERVES_HTTP, DATABASE),
    "placement": (SERVES_HTTP, DATABASE, CALLS_HTTP),
    "glance-api": (SERVES_HTTP, DATABASE, CALLS_HTTP, MESSAGING, CASTS),
    "nova-api": (SERVES_HTTP, DATABASE, CALLS_HTTP, MESSAGING, CASTS),
    "neutron-api": (SERVES_HTTP, DATABASE, CALLS_HTTP, MESSAGING, CASTS),
    "neutron-rpc-server": (DATABASE, CALLS_HTTP, MESSAGING, CASTS, SERVES_RPC),
    "neutron-agent": (MESSAGING, CALLS, SERVES_RPC),
    "nova-conductor": (DATABASE, MESSAGING, CASTS, CALLS, SERVES_RPC),
    "nova-scheduler": (DATABASE, CALLS_HTTP, MESSAGING, CASTS, SERVES_RPC, PERIODIC),
    "nova-compute": (CALLS_HTTP, MESSAGING, CASTS, CALLS, SERVES_RPC, PERIODIC),
    "openstack-client": (CALLS_HTTP,),
}
UWSGI = ("keystone", "placement", "glance-api", "nova-api", "neutron-api")
# Under native threads a parent starts a worker, and both measure themselves; with eventlet one worker needs no parent.
FORKS = ("nova-conductor", "nova-scheduler")
PROCESSES = {"threading": 2, "eventlet": 1}


@pytest.mark.parametrize("service", GROUPS)
def test_a_service_exports_the_metrics_of_each_group_it_takes_part_in(run: Run, service: str) -> None:
    seen = {name for process, metrics in run.metrics.items() if process.service == service for name in metrics}
    wanted = {name for group in (HEALTH, *GROUPS[service]) for name in group}
    assert wanted - seen == set()


@pytest.mark.parametrize("service", UWSGI)
def test_a_worker_of_uwsgi_exports_metrics_and_spans_under_its_own_pid(run: Run, service: str) -> None:
    workers = {request.pid for request in run.requests(service)}
    assert {process.pid for process in run.metrics if process.service == service} >= workers
    assert {span.process.pid for span in run.spans if span.service == service} == workers


def test_requests_are_counted_once_in_the_metrics_too(run: Run) -> None:
    """The histogram's count of each worker is the number of lines in its request log."""
    for service in UWSGI:
        logged = Counter(request.pid for request in run.requests(service))
        for process, metrics in run.metrics.items():
            if process.service != service or process.pid not in logged:
                continue
            last: dict[str, int] = {}
            for point in metrics["http.server.request.duration"]:
                last[str(point["attributes"])] = int(point["count"])
            assert sum(last.values()) == logged[process.pid], service


def test_each_process_has_its_own_pid_and_instance_id(run: Run) -> None:
    processes = {span.process for span in run.spans} | set(run.metrics)
    pids, instances = defaultdict(set), defaultdict(set)
    for process in processes:
        pids[process.pid].add(process.instance)
        instances[process.instance].add(process.pid)
    assert [pid for pid, ids in pids.items() if len(ids) > 1] == []
    assert [instance for instance, ids in instances.items() if len(ids) > 1] == []
    for service in FORKS:
        pids_of_service = {process.pid for process in processes if process.service == service}
        assert len(pids_of_service) == PROCESSES[run.concurrency], service


def test_every_service_stops(run: Run) -> None:
    assert {one["name"] for one in run.stopped} >= GROUPS.keys() - {"openstack-client"}
    assert [one["name"] for one in run.stopped if one["killed"]] == []


@pytest.mark.parametrize("service", UWSGI)
def test_uwsgi_kills_no_worker(run: Run, service: str) -> None:
    if run.killed_without_us(service):
        pytest.skip("this machine is so slow that uWSGI kills the worker without us too")
    assert "NO MERCY" not in run.log(service)


def test_nothing_is_dropped_and_no_hook_fails(run: Run) -> None:
    for service in GROUPS:
        ours = [line for line in run.log(service).splitlines() if "otel-openstack" in line]
        assert [line for line in ours if "dropped" in line or "failed" in line] == []
    for process, metrics in run.metrics.items():
        for point in metrics.get("otel_openstack.items.dropped", ()):
            assert int(point["asInt"]) == 0, process


def test_files_are_private(run: Run) -> None:
    for path in run.otlp.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640, path.name
