# SPDX-License-Identifier: Apache-2.0
"""What a service makes while it is switched off, or at level off below a ceiling, is measured when that is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from otel_openstack import levels
from otel_openstack.patching.guard import resume, suspend
from otel_openstack.settings import Settings
from otel_openstack.testing import Telemetry, recording
from tests.green import run

LIBRARIES = ("db_engines", "db_statements", "db_pool", "db_functions", "futures_pools", "futures",
             "cloud_endpoints")  # fmt: skip
LIMIT = "openstack.pool.worker.limit"
HOWS = ("switched off", "level off")


@contextmanager
def service(how: str) -> Iterator[tuple[Telemetry, Callable[[], object]]]:
    """Yield what is recorded, and what ends the state that the service has begun in."""
    level = {"level": "off", "level_ceiling": "detailed"} if how == "level off" else {"level": "detailed"}
    with recording(Settings(strict=True, **level)) as telemetry:
        if how == "switched off":
            suspend()
        try:
            with telemetry.patched(*LIBRARIES):
                yield telemetry, resume if how == "switched off" else lambda: levels.move("detailed")
        finally:
            resume()


@pytest.mark.parametrize("how", HOWS)
def test_engines_and_what_decorates_their_functions(how: str) -> None:
    from oslo_db import api, exception
    from sqlalchemy import QueuePool, create_engine, text

    with service(how) as (telemetry, on):
        engine = create_engine("sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False})
        outcomes = [exception.RetryRequest(exception.DBDeadlock()), None]

        @api.wrap_db_retry(max_retries=2, retry_interval=0.001)
        def function() -> None:
            if error := outcomes.pop(0):
                raise error

        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        assert not telemetry.points("db.client.operation.duration")
        on()
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        function()
        assert telemetry.points("db.client.operation.duration")[0].count == 1
        assert len(telemetry.points("db.client.connection.count")) == 2
        assert [point.value for point in telemetry.points("openstack.db.retries")] == [1]


@pytest.mark.parametrize("how", HOWS)
def test_pools(how: str) -> None:
    with service(how) as (telemetry, on):
        pool = ThreadPoolExecutor(3, thread_name_prefix="made")
        on()
        limits = {point.attributes["openstack.pool.name"]: point.value for point in telemetry.points(LIMIT)}
        assert limits["made"] == 3
        pool.shutdown()


@pytest.mark.parametrize("how", HOWS)
def test_endpoints_of_the_catalog(how: str) -> None:
    from keystoneauth1.access.service_catalog import ServiceCatalogV3

    from otel_openstack.instrumentation import cloud_endpoints

    endpoint = {"url": "http://image.cloud:9292", "interface": "public", "region_id": "one", "id": "1", "region": "one"}
    with service(how) as (_, on):
        cloud_endpoints.restart()
        catalog = ServiceCatalogV3([{"type": "image", "name": "glance", "endpoints": [endpoint], "id": "2"}])
        assert catalog.url_for(service_type="image") == endpoint["url"]
        on()
        assert cloud_endpoints.trusted("image.cloud")
        cloud_endpoints.restart()


GREEN = """
from otel_openstack import levels
from otel_openstack.patching.guard import resume, suspend
import futurist
from oslo_service import loopingcall
pool, later = eventlet.GreenPool(4), futurist.GreenThreadPoolExecutor(6)
from types import SimpleNamespace
from oslo_messaging._drivers.pool import ConnectionPool
url = SimpleNamespace(transport="rabbit", hosts=[SimpleNamespace(hostname="broker")])
connections = ConnectionPool(None, 7, 0, 60, url, None)
turns = []
loop = loopingcall.FixedIntervalLoopingCall(lambda: turns.append(1))
loop.start(interval=0.01)
eventlet.sleep(0.05)
out["before"] = len(telemetry.points("openstack.event_loop.time")), len(telemetry.points("openstack.pool.worker.limit"))
{on}
count = len(turns)
while len(turns) < count + 3:
    eventlet.sleep(0.02)
loop.stop()
out["time"] = sorted({{p[0]["openstack.event_loop.state"] for p in points("openstack.event_loop.time") if p[1]}})
out["limits"] = [p[1] for p in points("openstack.pool.worker.limit")]
out["connections"] = [p[1] for p in points("openstack.messaging.client.connection.max")]
out["turns"] = sum(p[1] for p in points("openstack.periodic_task.duration")) > 0
"""


@pytest.mark.parametrize("how", HOWS)
def test_green_pools_hubs_and_loops(how: str) -> None:
    before, on = {
        "switched off": ("suspend()", "resume()"),
        "level off": ("", "levels.move('detailed')"),
    }[how]
    result = run(
        GREEN.format(on=on),
        level="off" if how == "level off" else "detailed",
        ceiling="detailed",
        before=f"from otel_openstack.patching.guard import suspend; {before}",
        modules=("eventlet", "futures_pools", "futurist", "event_loop", "oslo_service_loops", "oslo_messaging_pool"),
    )
    assert {"active", "idle"} <= set(result["time"])
    assert sum(result["limits"]) == 4 + 6
    assert result["connections"] == [7]
    assert result["turns"]
