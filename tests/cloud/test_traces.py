# SPDX-License-Identifier: Apache-2.0
"""A server create is one trace, whole, without duplicates, and small enough to read."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.cloud.recorded import Run, Span

pytestmark = pytest.mark.cloud

# Whom every create passes; keystone only where no token is cached yet.
ON_THE_WAY = {"openstack-client", "nova-api", "glance-api", "neutron-api", "neutron-rpc-server", "neutron-agent",
              "placement", "nova-conductor", "nova-scheduler", "nova-compute"}  # fmt: skip
MOST_SPANS = 250
POLLS = 11  # looks of the client at its server that count
SOMETHING_UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{12}|\d{3}")
# What begins a trace: the client's steps, and work that no request asked for, by what it is.
BACKGROUND = re.compile(r"(startup|background|periodic|loop|task|retry|heartbeat|report|batch) \S")


def creates(run: Run) -> list[list[Span]]:
    return [run.trace(step) for drive in run.drives for step in drive.named("server create")]


def test_each_create_is_one_trace_through_all_services(run: Run) -> None:
    traces = creates(run)
    assert len(traces) == sum(drive.servers for drive in run.drives)
    for spans in traces:
        assert ON_THE_WAY - {span.service for span in spans} == set()
    assert "keystone" in {span.service for span in traces[0]}
    assert len({spans[0].trace_id for spans in traces}) == len(traces)


def test_no_trace_of_the_client_has_an_orphan_or_a_second_root(run: Run) -> None:
    for drive in run.drives:
        for step in drive.steps:
            spans = run.trace(step)
            known = {span.span_id for span in spans}
            assert [str(span) for span in spans if span.parent_id and span.parent_id not in known] == []
            assert [span.name for span in spans if not span.parent_id] == [step["name"]]


def test_no_span_is_exported_twice(run: Run) -> None:
    assert len(run.by_id) == len(run.spans)


def test_an_operation_has_one_span_a_side_whatever_layers_it_passes(run: Run) -> None:
    """A client's span has a server's span below it, never a client's; and the other way round."""
    for span in run.spans:
        parent = run.by_id.get(span.parent_id)
        if parent is not None and not span.is_database:
            assert (parent.kind, span.kind) not in {("CLIENT", "CLIENT"), ("SERVER", "SERVER")}, f"{parent} > {span}"


def test_a_create_is_at_most_250_spans(run: Run) -> None:
    """Without slow statements, and without what the client's polls beyond the eleventh cause."""
    for drive in run.drives:
        if drive.servers > 1:
            continue  # neutron tells nova about all ports at once then, in the trace of one of them
        (step,) = drive.named("server create")
        spans = [span for span in run.trace(step) if not span.is_database]
        beyond = {span.span_id for poll in polls(run, spans)[POLLS:] for span in below(run, poll)}
        kept = [span for span in spans if span.span_id not in beyond]
        assert len(kept) <= MOST_SPANS, Counter(map(str, kept)).most_common(20)


def polls(run: Run, spans: list[Span]) -> list[Span]:
    (root,) = (span for span in spans if not span.parent_id)
    looks = [s for s in run.children[root.span_id] if s.is_http and s.attributes["http.request.method"] == "GET"]
    return sorted(looks, key=lambda span: span.start)


def below(run: Run, span: Span) -> list[Span]:
    return [span, *(one for child in run.children[span.span_id] for one in below(run, child))]


def test_background_work_is_traces_with_names_of_their_own(run: Run) -> None:
    """No loose database, RPC or HTTP span begins a trace."""
    steps = {step["trace_id"] for drive in run.drives for step in drive.steps}
    roots = [span for span in run.spans if not span.parent_id and span.trace_id not in steps]
    for span in roots:
        if span.kind == "SERVER":  # asked by the tool that waited for the cloud: before the client came
            assert span.is_http, span
            assert span.start < run.drives[0].began, span
        else:
            assert span.kind == "INTERNAL", span
            assert BACKGROUND.match(span.name), span
            if span.name.startswith("batch "):  # work for several requests at once says for which
                assert len(set(span.links) & run.by_id.keys()) > 1, span
    assert "loop DbDriver._report_state" in {span.name for span in roots}


def test_periodic_tasks_have_names(run: Run) -> None:
    """The scheduler's is due every ten seconds; which ones of nova-compute were is chance."""
    assert "periodic _discover_hosts_in_cells" in {span.name for span in run.spans if not span.parent_id}


def test_no_span_is_without_its_parent(run: Run) -> None:
    """Also in traces of the background. At the end the agent's stand-in is killed, maybe in the middle of a call."""
    ended = run.drives[-1].ended
    missing = [span for span in run.spans if span.parent_id and span.parent_id not in run.by_id]
    assert [str(span) for span in missing if span.start < ended] == []


def test_names_and_routes_are_few(run: Run) -> None:
    """No id, no number, no address in a name; a server's span is called by its route."""
    for span in run.spans:
        assert not SOMETHING_UNIQUE.search(span.name), span
        if span.kind == "SERVER" and span.is_http:
            method, route = span.attributes["http.request.method"], span.attributes.get("http.route")
            assert span.name == (f"{method} {route}" if route else method)
            assert not SOMETHING_UNIQUE.search(route or ""), route


def test_every_service_names_its_routes(run: Run) -> None:
    """A route is missing only where the service itself knew none: 404, 401 before it looked, or a list of versions."""
    for span in run.spans:
        if span.kind == "SERVER" and span.is_http and "http.route" not in span.attributes:
            status, path = span.attributes["http.response.status_code"], span.attributes["url.path"]
            assert status in (404, 401, 300) or path == "/", (span, path, status)


def test_database_calls_are_totals_not_spans(run: Run) -> None:
    for spans in creates(run):
        assert sum(span.attributes.get("openstack.db.calls", 0) for span in spans) > 50
        quick = [s for s in spans if s.is_database and not s.failed and s.end - s.start < 90_000_000]
        assert quick == []
