# SPDX-License-Identifier: Apache-2.0
"""Recordings as the services write them: a server create over nine services, with metrics; large and hostile ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START = 1_763_872_000_000_000_000
MS = 1_000_000
REQUEST_ID = "req-6f1de6a5-3f0c-4b2a-9d0a-0a1b2c3d4e5f"


def value(item: Any) -> dict[str, Any]:
    """Encode an attribute's value."""
    match item:
        case bool():
            return {"boolValue": item}
        case int():
            return {"intValue": str(item)}
        case float():
            return {"doubleValue": item}
        case list():
            return {"arrayValue": {"values": [value(each) for each in item]}}
        case _:
            return {"stringValue": item}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(item)} for key, item in attributes.items()]


def resource(service: str, pid: int = 100) -> dict[str, Any]:
    return {
        "attributes": pairs(
            {
                "service.name": service,
                "service.namespace": "openstack",
                "service.instance.id": f"{service}-{pid}",
                "process.pid": pid,
                "host.name": "node-1",
            }
        )
    }


def trace_request(service: str, spans: Iterable[dict[str, Any]], pid: int = 100) -> dict[str, Any]:
    scoped = [{"scope": {"name": "otel_openstack"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": resource(service, pid), "scopeSpans": scoped}]}


def metric_request(service: str, metrics: Iterable[dict[str, Any]], pid: int = 100) -> dict[str, Any]:
    scoped = [{"scope": {"name": "otel_openstack"}, "metrics": list(metrics)}]
    return {"resourceMetrics": [{"resource": resource(service, pid), "scopeMetrics": scoped}]}


def write(path: Path, requests: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return path


@dataclass
class Cloud:
    """Makes spans with a clock; `call` nests them as services do."""

    seed: int = 1
    now: int = START
    random: random.Random = field(init=False)
    spans: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    trace_id: str = ""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def new_trace(self) -> str:
        self.trace_id = f"{self.random.getrandbits(128):032x}"
        return self.trace_id

    def span(
        self,
        service: str,
        name: str,
        kind: int,
        parent: str = "",
        work: Callable[[str], None] | None = None,
        *,
        ms: float = 1.0,
        attributes: dict[str, Any] | None = None,
        error: str = "",
    ) -> dict[str, Any]:
        span_id = f"{self.random.getrandbits(64):016x}"
        start = self.now
        self.now += int(ms * MS * self.random.uniform(0.3, 0.7))
        if work:
            work(span_id)
        self.now += int(ms * MS * self.random.uniform(0.3, 0.7))
        held = dict(attributes or {})
        if error:
            held["error.type"] = error
        record = {
            "traceId": self.trace_id,
            "spanId": span_id,
            "parentSpanId": parent,
            "name": name,
            "kind": kind,
            "flags": 257,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(self.now),
            "attributes": pairs(held),
            "status": {"code": 2} if error else {},
        }
        self.spans.setdefault(service, []).append(record)
        return record

    def http(
        self, caller: str, parent: str, service: str, route: str, work: Callable[[str], None] | None = None, **kw: Any
    ) -> None:
        """Make a CLIENT span and the SERVER span that answers it."""
        method = route.split(maxsplit=1)[0]
        db = kw.pop("db", 4)
        held = {
            "http.request.method": method,
            "http.route": route.split()[1],
            "url.scheme": "http",
            "http.response.status_code": kw.pop("status", 200),
            "openstack.request_id": REQUEST_ID,
            "openstack.db.calls": db,
            "openstack.db.duration": db * 0.0011,
            "openstack.cache.calls": 2,
            "openstack.cache.duration": 0.0006,
            "openstack.db.slowest.duration": 0.004,
            "openstack.db.slowest.summary": "SELECT instances",
        }
        error = kw.pop("error", "")

        def answer(span_id: str) -> None:
            self.span(service, route, 2, span_id, work, attributes=held, error=error, **kw)

        self.span(caller, route, 3, parent, answer, ms=0.8, attributes={"http.request.method": method}, error=error)

    def rpc(
        self, caller: str, parent: str, service: str, method: str, work: Callable[[str], None] | None = None, **kw: Any
    ) -> None:
        held = {
            "rpc.system.name": "oslo_messaging",
            "rpc.method": method,
            "openstack.request.queue_wait": 0.0021,
            "openstack.db.calls": 6,
            "openstack.db.duration": 0.0081,
        }

        def answer(span_id: str) -> None:
            self.span(service, method, 2, span_id, work, attributes=held, **kw)

        self.span(caller, method, 3, parent, answer, ms=1.2)

    def cast(
        self, caller: str, parent: str, service: str, method: str, work: Callable[[str], None] | None = None, **kw: Any
    ) -> None:
        sent = self.span(caller, f"cast {method}", 4, parent, ms=1.0)
        returned = self.now  # the sender goes on at once
        self.now += 2 * MS
        self.span(
            service,
            f"{method} process",
            5,
            sent["spanId"],
            work,
            attributes={"openstack.request.queue_wait": 0.002},
            **kw,
        )
        self.now = returned


def server_create(cloud: Cloud) -> str:  # noqa: C901 - a script
    """Record a server create: about 230 spans over all of SERVICES."""

    def token(service: str) -> Callable[[str], None]:
        return lambda parent: cloud.http(service, parent, "keystone", "GET /v3/auth/tokens", ms=6, db=9)

    def neutron(caller: str, parent: str, route: str, **kw: Any) -> None:
        cloud.http(caller, parent, "neutron-server", route, token("neutron-server"), **kw)

    def placement(caller: str, parent: str, route: str, **kw: Any) -> None:
        cloud.http(caller, parent, "placement-api", route, token("placement-api"), **kw)

    def api(parent: str) -> None:
        cloud.http("nova-api", parent, "keystone", "GET /v3/auth/tokens", ms=6, db=9)
        cloud.http("nova-api", parent, "glance-api", "GET /v2/images/{image_id}", token("glance-api"), ms=9)
        for route in ("GET /v2.0/networks", "GET /v2.0/quotas/{id}", "GET /v2.0/ports", "GET /v2.0/security-groups"):
            neutron("nova-api", parent, route, ms=14)
        placement("nova-api", parent, "GET /resource_providers", ms=5)
        cloud.cast("nova-api", parent, "nova-conductor", "compute_task/schedule_and_build_instances", build, ms=40)

    def select(parent: str) -> None:
        for _ in range(2):
            placement("nova-scheduler", parent, "GET /allocation_candidates", ms=12)
        placement("nova-scheduler", parent, "PUT /allocations/{consumer_uuid}", ms=9, status=204)

    def build(parent: str) -> None:
        cloud.rpc("nova-conductor", parent, "nova-scheduler", "scheduler/select_destinations", select, ms=18)
        for _ in range(3):
            cloud.span("nova-conductor", "notify compute.instance.update", 4, parent, ms=1)
        cloud.cast("nova-conductor", parent, "nova-compute", "compute/build_and_run_instance", run, ms=60)

    def update(parent: str) -> None:
        for method in ("objectinst/object_action", "object/object_class_action_versions"):
            cloud.rpc("nova-compute", parent, "nova-conductor", method, ms=7)

    def agent(parent: str) -> None:
        cloud.rpc("neutron-openvswitch-agent", parent, "neutron-rpc-server", "plugin/get_devices_details_list", ms=11)
        cloud.rpc("neutron-openvswitch-agent", parent, "neutron-rpc-server", "plugin/update_device_list", bound, ms=16)

    def bound(parent: str) -> None:
        cloud.http(
            "neutron-rpc-server", parent, "nova-api", "POST /v2.1/os-server-external-events", token("nova-api"), ms=12
        )
        cloud.cast("neutron-rpc-server", parent, "neutron-openvswitch-agent", "agent/port_update", ms=3)

    def run(parent: str) -> None:
        for _ in range(14):
            update(parent)
        placement("nova-compute", parent, "GET /resource_providers/{uuid}/inventories", ms=4)
        placement("nova-compute", parent, "GET /resource_providers/{uuid}/traits", ms=4)
        neutron("nova-compute", parent, "GET /v2.0/ports", ms=12)
        neutron("nova-compute", parent, "POST /v2.0/ports", ms=120)
        neutron("nova-compute", parent, "GET /v2.0/extensions/{id}", ms=4, status=404, error="404")
        cloud.cast("nova-compute", parent, "neutron-openvswitch-agent", "agent/port_update", agent, ms=20)
        for route in (
            "GET /v2.0/networks",
            "GET /v2.0/subnets",
            "GET /v2.0/floatingips",
            "GET /v2.0/ports",
            "GET /v2.0/ports",
        ):
            neutron("nova-compute", parent, route, ms=8)
        for _ in range(6):
            update(parent)

    trace_id = cloud.new_trace()

    def step(parent: str) -> None:
        cloud.http("driver", parent, "keystone", "POST /v3/auth/tokens", ms=60)
        cloud.http("driver", parent, "nova-api", "POST /v2.1/servers", api, ms=30, status=202)
        for _ in range(11):
            cloud.http("driver", parent, "nova-api", "GET /v2.1/servers/{id}", token("nova-api"), ms=20)
            cloud.now += 150 * MS

    cloud.span("driver", "server create", 1, work=step, ms=3)
    return trace_id


def background(cloud: Cloud) -> str:
    """Record a periodic task, later than everything before."""
    trace_id = cloud.new_trace()
    cloud.now += 1000 * MS
    cloud.span(
        "nova-compute",
        "periodic update_available_resource",
        1,
        ms=4,
        work=lambda parent: cloud.rpc("nova-compute", parent, "nova-conductor", "objectinst/object_action", ms=5),
    )
    return trace_id


BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


def histogram(
    name: str, points: list[tuple[int, int, list[float], dict[str, Any]]], *, temporality: int = 2, unit: str = "s"
) -> dict[str, Any]:
    """Make a histogram metric of points (start, time, values, attributes)."""
    data = []
    for start, time, values, attributes in points:
        counts = [0] * (len(BOUNDS) + 1)
        for item in values:
            counts[sum(item > bound for bound in BOUNDS)] += 1
        data.append(
            {
                "startTimeUnixNano": str(start),
                "timeUnixNano": str(time),
                "count": str(len(values)),
                "sum": sum(values),
                "min": min(values),
                "max": max(values),
                "bucketCounts": [str(count) for count in counts],
                "explicitBounds": BOUNDS,
                "attributes": pairs(attributes),
            }
        )
    return {"name": name, "unit": unit, "histogram": {"aggregationTemporality": temporality, "dataPoints": data}}


def sums(
    name: str,
    points: list[tuple[int, int, float, dict[str, Any]]],
    *,
    monotonic: bool = True,
    temporality: int = 2,
    unit: str = "1",
) -> dict[str, Any]:
    """Make a sum metric of points (start, time, value, attributes)."""
    data = [
        {
            "startTimeUnixNano": str(start),
            "timeUnixNano": str(time),
            "asInt": str(number),
            "attributes": pairs(attributes),
        }
        for start, time, number, attributes in points
    ]
    kind = {"aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": data}
    return {"name": name, "unit": unit, "sum": kind}


SERVICES = (
    "nova-api",
    "keystone",
    "glance-api",
    "neutron-server",
    "placement-api",
    "nova-conductor",
    "nova-scheduler",
    "nova-compute",
    "neutron-rpc-server",
    "neutron-openvswitch-agent",
)


def metrics_of(service: str, pid: int, seed: int) -> list[dict[str, Any]]:
    """Make a minute of a process' exports: cumulative, the changed series every ten seconds."""
    dice = random.Random(f"{service}{pid}{seed}")
    requests = []
    seen: dict[str, list[float]] = {"GET": [], "POST": []}
    for tick in range(1, 7):
        time = START + tick * 10_000 * MS
        method = dice.choice(["GET", "POST"])
        seen[method] += [dice.lognormvariate(-4, 1) for _ in range(dice.randrange(1, 40))]
        attributes = {
            "http.request.method": method,
            "http.route": "/v2.1/servers/{id}",
            "http.response.status_code": 200,
        }
        statements = [item / 9 for item in seen["GET"] + seen["POST"]]
        operation = {"db.system.name": "mysql", "db.operation.name": "SELECT", "db.collection.name": "instances"}
        requests.append(
            metric_request(
                service,
                [
                    histogram("http.server.request.duration", [(START, time, seen[method], attributes)]),
                    histogram("db.client.operation.duration", [(START, time, statements, operation)]),
                    sums(
                        "db.client.connection.count",
                        [
                            (START, time, dice.randrange(5), {"db.client.connection.state": state})
                            for state in ("used", "idle")
                        ],
                        monotonic=False,
                        unit="{connection}",
                    ),
                    sums("otel_openstack.items.dropped", [(START, time, tick // 5, {})], unit="{item}"),
                    sums(
                        "process.memory.usage",
                        [(START, time, 90_000_000 + tick * 100_000, {})],
                        monotonic=False,
                        unit="By",
                    ),
                ],
                pid,
            )
        )
    return requests


def record_cloud(directory: Path, *, creates: int = 1) -> list[str]:
    """Write a run into `directory`, a file a process; return the ids of the server creates."""
    directory.mkdir(parents=True, exist_ok=True)
    cloud = Cloud()
    ids = [server_create(cloud) for _ in range(creates)]
    background(cloud)
    for service in ("driver", *SERVICES):
        spans = cloud.spans.get(service, [])
        slices = [trace_request(service, spans[at : at + 32]) for at in range(0, len(spans), 32)]
        write(
            directory / f"{service}-100-1.jsonl",
            [*slices, *(metrics_of(service, 100, 1) if service != "driver" else [])],
        )
    write(directory / "nova-api-101-1.jsonl", metrics_of("nova-api", 101, 1))
    return ids


def large_trace(count: int, seed: int = 2) -> list[dict[str, Any]]:
    """Make the requests of one trace of `count` spans, several levels deep."""
    cloud = Cloud(seed)
    cloud.new_trace()
    root = cloud.span("nova-api", "POST /v2.1/servers", 2, ms=1)
    parents = [root["spanId"]]
    for number in range(count - 1):
        service = SERVICES[number % len(SERVICES)]
        parent = parents[cloud.random.randrange(max(0, len(parents) - 40), len(parents))]
        span = cloud.span(
            service,
            f"GET /v2.1/items/{number % 97}",
            2,
            parent,
            ms=0.5,
            attributes={"http.route": f"/items/{number % 97}"},
        )
        if number % 5 == 0:
            parents.append(span["spanId"])
    root["endTimeUnixNano"] = str(cloud.now)
    return [trace_request(service, spans) for service, spans in cloud.spans.items()]
