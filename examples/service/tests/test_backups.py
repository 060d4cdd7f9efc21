# SPDX-License-Identifier: Apache-2.0
"""What the service measures by hand, asserted by value with the fixture `telemetry` of otel-openstack."""

from __future__ import annotations

import json

import pytest
from backups import db
from backups.worker import MIB, StorageFull
from werkzeug.test import Client


def make(context, size=8, keep=60):
    return db.create(context, "full", size, keep)


def test_a_backup_is_timed_counted_and_told(telemetry, worker, context):
    worker.create(context, make(context), "full", 8)
    assert telemetry.point("backups.create.duration", {"backups.kind": "full"}).count == 1
    assert telemetry.point("backups.stored").value == 8 * MIB
    assert [event.name for event in telemetry.events()] == ["backups.create.start", "backups.create.end"]
    assert telemetry.event("backups.create.end").attributes["openstack.request_id"] == context.request_id


def test_parts_are_spans_side_by_side(telemetry, worker, context):
    worker.create(context, make(context), "full", 8)
    uploads = telemetry.spans("backups.upload")
    assert sorted(span.attributes["backups.part"] for span in uploads) == [0, 1]
    assert telemetry.point("backups.blocks").value == 8  # the innermost loop, at level deep


def test_a_backup_that_does_not_fit_is_an_error(telemetry, worker, context):
    made = make(context, 100)
    with pytest.raises(StorageFull):
        worker.create(context, made, "full", 100)
    assert telemetry.point("backups.create.duration").attributes["error.type"] == "backups.worker.StorageFull"
    assert telemetry.points("backups.stored") == []
    error = telemetry.event("backups.create.error", {"backups.id": made})
    assert error.attributes["exception.message"] == "100 MiB do not fit"
    assert db.get(context, made)["status"] == "error"


def test_what_expired_is_counted(telemetry, worker, context):
    for keep in (-1, -1, 60):
        db.set_status(context, make(context, keep=keep), "available")
    worker.expire(context)
    assert telemetry.point("backups.expired").value == 2


# From here on also what the service does not do itself: modules of the distribution are switched on by name.
LIBRARIES = ("wsgi_apps", "routes", "threads", "futures", "oslo_messaging_client", "oslo_messaging_server")


@pytest.mark.telemetry(metric_dimensions={"project": "all"})
def test_a_request_is_one_trace_and_knows_its_project(telemetry, client):
    with telemetry.patched(*LIBRARIES):
        from otel_openstack.instrumentation.wsgi import at_edge

        answer = Client(at_edge(client)).post(
            "/v1/backups", data=json.dumps({"kind": "full", "size": 4}), content_type="application/json",
            headers={"X-Project-Id": "blue"}, buffered=True,
        )  # fmt: skip
        assert answer.status_code == 202
        telemetry.wait(lambda: telemetry.points("rpc.server.call.duration"))  # the worker is done
    request, made = telemetry.span("POST /v1/backups"), telemetry.span("process backups/create")
    assert made.trace_id == request.trace_id == telemetry.span("backups.upload").trace_id
    assert made.attributes["openstack.project_id"] == request.attributes["openstack.project_id"] == "blue"
    for name in ("http.server.request.duration", "rpc.server.call.duration", "backups.create.duration"):
        assert telemetry.point(name).attributes["openstack.project_id"] == "blue"
