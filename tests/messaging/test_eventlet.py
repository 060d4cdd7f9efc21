# SPDX-License-Identifier: Apache-2.0
"""RPC in a monkey-patched process with the eventlet executor, on RabbitMQ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rabbitmq import RabbitMQ

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import json, sys, time, uuid
from otel_openstack import instrumentation
from otel_openstack.testing import recording
from tests.messaging.conftest import MODULES
with recording() as seen:
    instrumentation.install(("threads", "futures", "futurist", "eventlet", *MODULES))
    from tests.messaging.bus import Bus
    bus = Bus(sys.argv[1], uuid.uuid4().hex)

    class Conductor:
        def build(self, ctxt, number):
            bus.client("compute").cast(ctxt, "run", number=number)
            time.sleep(0.2)
            return number

    class Compute:
        ran = []
        def run(self, ctxt, number):
            self.ran.append((number, sorted(ctxt)))

    assert bus.serve("conductor", Conductor(), workers=2).executor_type == "eventlet"
    bus.serve("compute", Compute())
    calls = [eventlet.spawn(bus.client("conductor").call, {"user_id": str(n)}, "build", number=n) for n in range(8)]
    assert [call.wait() for call in calls] == list(range(8))
    seen.wait(lambda: len(Compute.ran) == 8)
    seen.wait(lambda: len([s for s in seen.spans() if s.kind in ("SERVER", "CONSUMER")]) == 16)
    wait = {p.attributes["rpc.method"]: p.max for p in seen.points("openstack.rpc.server.request.time_in_queue")}
    run = {p.attributes["rpc.method"]: p.max for p in seen.points("rpc.server.call.duration")}
    used = {p.attributes["openstack.pool.state"] for p in seen.points("openstack.messaging.client.connection.count")}
    known = {s.span_id: s for s in seen.spans()}
    servers = [s for s in seen.spans() if s.kind == "SERVER"]
    print(json.dumps({
        "kinds": {k: sum(s.kind == k for s in known.values()) for k in ("CLIENT", "SERVER", "PRODUCER", "CONSUMER")},
        "traces": len({s.trace_id for s in known.values()}),
        "parents": sorted({known[s.parent].kind + ">" + s.kind for s in known.values() if s.parent in known}),
        "users": len({(known[s.parent].span_id, s.attributes["openstack.user_id"]) for s in servers}),
        "contexts": [context for _, context in Compute.ran][0],
        "wait": wait["conductor/build"], "run": run["conductor/build"], "used": sorted(used)}))
    sys.stdout.flush()
    import os
    os._exit(0)
"""


def test_eight_calls_at_once_with_two_workers(broker: RabbitMQ) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, broker.url], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kinds"] == {"CLIENT": 8, "SERVER": 8, "PRODUCER": 8, "CONSUMER": 8}
    assert told["traces"] == 8
    assert told["parents"] == ["CLIENT>SERVER", "INTERNAL>CLIENT", "PRODUCER>CONSUMER", "SERVER>PRODUCER"]
    assert told["users"] == 8
    assert told["contexts"] == ["client_timeout", "user_id"]
    # Each runs 0.2 s; the last of eight waited for six before it, two at a time.
    assert 0.2 <= told["run"] < 0.6
    assert told["wait"] > 0.4
    assert told["used"] == ["idle", "used"]
