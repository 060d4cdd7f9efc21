# SPDX-License-Identifier: Apache-2.0
"""Beside other tools everything holds that holds alone, and the others neither see our spans nor add to them."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.cloud.recorded import Run
from tests.cloud.search import Haystack

# What holds alone; but a case has no bare run, and is over before a periodic task is sure to be due.
from tests.cloud.test_processes import (  # noqa: F401
    test_a_service_exports_the_metrics_of_each_group_it_takes_part_in,
    test_a_worker_of_uwsgi_exports_metrics_and_spans_under_its_own_pid,
    test_each_process_has_its_own_pid_and_instance_id,
    test_every_service_stops,
    test_nothing_is_dropped_and_no_hook_fails,
    test_requests_are_counted_once_in_the_metrics_too,
)
from tests.cloud.test_traces import (  # noqa: F401
    test_a_create_is_at_most_250_spans,
    test_an_operation_has_one_span_a_side_whatever_layers_it_passes,
    test_background_work_is_traces_with_names_of_their_own,
    test_database_calls_are_totals_not_spans,
    test_each_create_is_one_trace_through_all_services,
    test_names_and_routes_are_few,
    test_no_span_is_exported_twice,
    test_no_span_is_without_its_parent,
    test_no_trace_of_the_client_has_an_orphan_or_a_second_root,
)
from tests.cloud.test_witnesses import (  # noqa: F401
    test_every_delivery_has_one_receiving_span,
    test_every_line_of_the_request_log_is_one_server_span,
    test_every_message_has_one_sending_span,
    test_every_request_between_services_has_both_sides,
    test_every_request_of_the_client_is_one_client_span,
    test_no_messaging_span_is_without_a_message,
)

pytestmark = pytest.mark.cloud

SERVICES = ("keystone", "placement", "glance-api", "nova-api", "neutron-api", "neutron-rpc-server", "nova-conductor",
            "nova-scheduler", "nova-compute")  # fmt: skip
# A metric that counts operations, and the spans of the same operations: their kinds, and an attribute that they have.
COUNTED = {
    "rpc.client.call.duration": ({"CLIENT"}, "rpc.method"),
    "rpc.server.call.duration": ({"SERVER", "CONSUMER"}, "rpc.method"),
    "http.client.request.duration": ({"CLIENT"}, "http.request.method"),
    "http.server.request.duration": ({"SERVER"}, "http.request.method"),
}
# The start-up line's part with who stepped aside and why.
START_UP = re.compile(r"otel-openstack: version .* measures .*; active: .*?; (?:stepped aside: (.*); )?exports ")
OURS = re.compile(r"otel_openstack(\.|$)|minicloud\.drive$")
# What the launcher and the SDK write where two tools fight or one cannot start.
QUARRELS = ("Failed to auto initialize", "Instrumenting of", "Overriding of current", "Exception while exporting",
            "already set to", "imported early")  # fmt: skip
# Who said in whose log that it steps aside.
MESSAGING = ("nova-conductor", "nova-scheduler", "nova-compute", "neutron-rpc-server")
ASIDE = {
    "oslo-messaging": ("oslo.messaging's tracing", MESSAGING),
    "oslo-middleware": ("oslo.middleware's tracing", ("nova-api", "neutron-api", "glance-api")),
    # In placement it cannot start, also without us: its options are not those of placement's configuration.
    "osprofiler": ("osprofiler's OTLP driver", ("keystone", "glance-api", "nova-api", "neutron-api")),
    "contrib": (" pymysql", SERVICES),
    "peers": (" oslo_messaging", SERVICES),
}
PROFILER = "osprofiler.drivers.otlp"


def test_no_secret_leaves(run: Run) -> None:
    """Neither a secret of the configuration nor a token, nor anything that the client planted."""
    record = json.loads((run.directory / "state" / "record.json").read_text())
    drives = enumerate(record["ours"])
    planted = {
        f"{name} {drive}": value for drive, ours in drives for name, value in ours["steps"][-1]["planted"].items()
    }
    assert len(record["secrets"]) > 10
    assert planted
    haystack = Haystack()
    haystack.add_exported(sorted(run.otlp.iterdir()))
    assert haystack.leaked(record["secrets"] | planted) == {}
    assert haystack.tokens() == []


def test_every_span_is_of_ours(run: Run) -> None:
    assert Counter(span.scope for span in run.spans if not OURS.match(span.scope)) == {}


@pytest.mark.parametrize("metric", COUNTED)
def test_a_metric_counts_what_the_spans_say(run: Run, metric: str) -> None:
    kinds, mark = COUNTED[metric]
    spans = Counter(span.process for span in run.spans if span.kind in kinds and mark in span.attributes)
    points = {process: _count(metrics[metric]) for process, metrics in run.metrics.items() if metric in metrics}
    assert spans.total() > 20
    assert points == spans


def _count(points: list[dict[str, Any]]) -> int:
    last = {str(point["attributes"]): int(point["count"]) for point in points}
    return sum(last.values())


def test_nobody_else_gets_our_spans(run: Run) -> None:
    """What the others' endpoints got: osprofiler's own spans where it is on, nothing from anybody else."""
    seen = run.others
    expected = {"/osprofiler/v1/traces"} if _with(run, "osprofiler") else set()
    assert {line["path"] for line in seen} == expected
    assert {line.get("scope") for line in seen} == ({PROFILER} if expected else set())
    assert {line["span_id"] for line in seen} & run.by_id.keys() == set()


def test_osprofiler_still_gets_its_own(run: Run) -> None:
    if not _with(run, "osprofiler"):
        pytest.skip("osprofiler is off")
    seen = run.others
    names = Counter(line["name"].partition("_")[0] for line in seen)
    assert names["WSGI"] > 50
    assert names["SQL"] > 50
    roots = [line for line in seen if not line["parent_id"]]
    assert roots
    # Below ours stands none of theirs: such a parent would be in a trace of ours, where they do not look.
    assert {line["parent_id"] for line in seen} & run.by_id.keys() == set()
    assert {line["trace_id"] for line in seen} & run.by_trace.keys() == set()


def test_oslo_metrics_still_gets_its_own(run: Run) -> None:
    if not _with(run, "oslo-metrics"):
        pytest.skip("oslo.metrics is off")
    text = (run.directory / "state" / "oslo-metrics.txt").read_text()
    called = sum(
        float(value)
        for value in re.findall(r"^oslo_messaging_rpc_client_invocation_start_total\{.*\} (\S+)", text, re.MULTILINE)
    )
    assert called > 50


def test_what_stepped_aside_is_said(run: Run) -> None:
    for case, (name, services) in ASIDE.items():
        for service in services:
            said = START_UP.findall(run.log(service))
            assert said, service
            assert any(name in line for line in said) == _with(run, case), (case, service, said)


def test_no_tool_quarrels_with_ours(run: Run) -> None:
    for service in SERVICES:
        log = run.log(service)
        assert [words for words in QUARRELS if words in log] == [], service


def _with(run: Run, case: str) -> bool:
    return run.case in (case, "together")
