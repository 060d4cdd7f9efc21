# SPDX-License-Identifier: Apache-2.0
"""Reading: every spelling of OTLP JSON gives the same, nothing that a file may hold raises, what is skipped is told."""

from __future__ import annotations

import base64
import gzip
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis import otlp, tree
from otel_openstack.analysis.otlp import Place, ReadingError, Recording, Request
from otel_openstack.analysis.spans import Index, Span, spans_of
from tests.analysis import recorded

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def request(span, camel=True):
    names = ("resourceSpans", "scopeSpans") if camel else ("resource_spans", "scope_spans")
    service = {
        "attributes": [{"key": "service.name", "value": {"stringValue" if camel else "string_value": "nova-api"}}]
    }
    return {names[0]: [{"resource": service, names[1]: [{"scope": {"name": "s"}, "spans": [span]}]}]}


CAMEL = {
    "traceId": TRACE, "spanId": SPAN, "parentSpanId": "00f067aa0ba902b7", "name": "GET /", "kind": 2,
    "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000500000000", "status": {"code": 2},
    "attributes": [{"key": "n", "value": {"intValue": "7"}}],
}  # fmt: skip
SPELLINGS = {
    "camelCase": request(CAMEL),
    "snake_case, integers as numbers, enums by name": request(
        {
            "trace_id": TRACE.upper(), "span_id": SPAN.upper(), "parent_span_id": "00F067AA0BA902B7", "name": "GET /",
            "kind": "SPAN_KIND_SERVER", "start_time_unix_nano": 1700000000000000000,
            "end_time_unix_nano": 1700000000500000000, "status": {"code": "STATUS_CODE_ERROR"},
            "attributes": [{"key": "n", "value": {"int_value": 7}}],
        },
        camel=False,
    ),
    "base64 ids": request(
        CAMEL
        | {
            "traceId": base64.b64encode(bytes.fromhex(TRACE)).decode(),
            "spanId": base64.b64encode(bytes.fromhex(SPAN)).decode(),
            "parentSpanId": base64.b64encode(bytes.fromhex("00f067aa0ba902b7")).decode(),
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_reads_alike(spelling):
    (span,) = spans_of(Request(Place(0, 0), SPELLINGS[spelling]))
    assert (span.trace_id, span.span_id, span.parent_id) == (TRACE, SPAN, "00f067aa0ba902b7")
    assert (span.service, span.name, span.kind, span.error) == ("nova-api", "GET /", "SERVER", True)
    assert (span.start, span.duration) == (1_700_000_000_000_000_000, 500_000_000)
    assert span.attributes == {"n": 7}


def test_values_of_every_kind():
    held = {"text": "a", "whole": 2**62, "part": 0.5, "yes": True, "no": False, "list": [1, "b"], "empty": ""}
    assert otlp.attributes(recorded.pairs(held)) == held


def test_a_directory_with_rotated_compressed_and_foreign_files(tmp_path):
    line = json.dumps(SPELLINGS["camelCase"]) + "\n"
    (tmp_path / "a.jsonl").write_text(line + line[: len(line) // 2])
    (tmp_path / "a.jsonl.1").write_text(line)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "b.json").write_text(json.dumps(SPELLINGS["camelCase"], indent=2))
    (tmp_path / "c.jsonl.2.gz").write_bytes(gzip.compress(line.encode()))
    (tmp_path / "d.jsonl").write_bytes(b"\x00\xff\xfe binary\n" * 3)
    (tmp_path / "e.jsonl").write_text('{"level": "info"}\n[]\n3\n' + line)
    (tmp_path / "f.json.gz").write_bytes(b"no gzip")
    (tmp_path / "notes.txt").write_text("not looked at")
    recording = Recording(tmp_path)
    assert len(list(recording.requests())) == 5
    told = sorted(str(problem).removeprefix(f"{tmp_path}/") for problem in recording.problems)
    assert told[0] == "a.jsonl:2: is cut off (still being written?), skipped"
    assert told[1] == "d.jsonl:1: is not JSON, skipped (and 2 more lines of this file)"
    assert told[2] == "e.jsonl:1: is JSON but no OTLP export request, skipped (and 2 more lines of this file)"
    assert told[3].startswith("f.json.gz: cannot be read (")
    assert len(told) == 4


def test_places_lead_back_to_the_same_lines(tmp_path):
    recorded.record_cloud(tmp_path)
    recording = Recording(tmp_path)
    every = list(recording.requests())
    chosen = every[1::3]
    assert list(recording.requests({each.place for each in chosen})) == chosen


def test_a_line_without_end_is_skipped_and_the_next_read(tmp_path, monkeypatch):
    monkeypatch.setattr(otlp, "_LONGEST_LINE", 2000)
    line = json.dumps(SPELLINGS["camelCase"]) + "\n"
    (tmp_path / "a.jsonl").write_text("x" * 5000 + "\n" + line)
    recording = Recording(tmp_path / "a.jsonl")
    (found,) = recording.requests()
    assert found.place.offset == 5001
    assert list(recording.requests({found.place})) == [found]
    assert recording.problems[0].line == 1


def test_what_is_nothing_to_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for path, words in (("none", "No such file"), ("pipe", "neither a file"), ("empty", "holds no"), ("a\0b", "null")):
        with pytest.raises(ReadingError, match=words) as caught:
            Recording(tmp_path / path)
        assert "\n" not in str(caught.value)


KEYS = [
    "resourceSpans",
    "resourceMetrics",
    "scopeSpans",
    "scopeMetrics",
    "spans",
    "metrics",
    "resource",
    "sum",
    "gauge",
    "histogram",
    "dataPoints",
    "key",
    "exponentialHistogram",
    "value",
    "arrayValue",
    "values",
    "stringValue",
    "asInt",
    "asDouble",
    "bucketCounts",
    "explicitBounds",
    "count",
    "positive",
    "offset",
    "scale",
    "events",
    "links",
    "min",
    "timeUnixNano",
    "isMonotonic",
    "aggregationTemporality",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([TRACE, SPAN]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*KEYS, *CAMEL]), inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None)
@given(span=JSON, metric=JSON)
def test_no_content_raises(span, metric):
    span = dict(CAMEL) | span if isinstance(span, dict) else span
    traces = {"resourceSpans": [{"resource": span, "scopeSpans": [{"spans": [span, metric]}]}]}
    kinds = {"sum": metric, "histogram": {"dataPoints": [metric]}, "exponentialHistogram": {"dataPoints": [metric]}}
    named = [{"name": kind, kind: held} for kind, held in kinds.items()]
    points = {"resourceMetrics": [{"resource": span, "scopeMetrics": [{"metrics": [metric, *named]}]}]}
    for body in (traces, points, metric if isinstance(metric, dict) else {}):
        read = Request(Place(0, 0), body)
        for each in spans_of(read):
            assert isinstance(each.attributes, dict)
            assert each.error_type is not None
            assert each.events is not None
            assert each.links is not None
        for metrics in summaries.read([read]).services().values():
            for found in metrics:
                for line in summaries.lines(found, by_attributes=True):
                    assert line.spread.percentile(0.5) is None or line.spread.count is not None


def test_index_finds_traces_and_loads_only_them(tmp_path):
    cloud = recorded.Cloud()
    first, second = recorded.server_create(cloud), recorded.server_create(cloud)
    periodic = recorded.background(cloud)
    for service, spans in cloud.spans.items():
        recorded.write(tmp_path / f"{service}.jsonl", [recorded.trace_request(service, spans)])
    index = Index(Recording(tmp_path)).read()
    assert set(index.traces) == {first, second, periodic}
    assert index.latest() is index.traces[second]  # not the periodic task, although it came later
    assert index.traces[periodic].background
    assert (index.traces[first].service, index.traces[first].name) == ("driver", "server create")
    loaded = index.load([index.traces[first]])
    assert {span.trace_id for span in loaded[first]} == {first}
    assert (
        len(loaded[first])
        == index.traces[first].spans
        == sum(span["traceId"] == first for spans in cloud.spans.values() for span in spans)
    )
    assert len(index.traces[first].services) == 11
    assert index.with_request(recorded.REQUEST_ID)
    assert index.with_request(recorded.REQUEST_ID.removeprefix("req-"))
    assert index.with_request("req-0") == []
    assert index.with_prefix(first[:8].upper()) == [index.traces[first]]
    assert len(index.with_prefix("")) == 3


def make(span_id, parent=0, start=0, end=10, name="a", kind=1, service="s", **more):
    raw = {"traceId": TRACE, "spanId": f"{span_id:016x}", "parentSpanId": f"{parent:016x}" if parent else "",
           "startTimeUnixNano": start, "endTimeUnixNano": end, "name": name, "kind": kind, **more}  # fmt: skip
    return Span(raw, service, "", "")


def test_orphans_duplicates_and_loops_are_said():
    built = tree.build([
        make(1), make(2, 1), make(2, 1), make(3, 99), make(4, 3), make(5, 6), make(6, 5), make(7, 7), make(8, 7),
    ])  # fmt: skip
    assert [node.span.span_id[-1] for node in built.roots] == ["1"]
    assert built.duplicates == 1
    assert len(built.spans) == 8
    reached, stack = [], built.roots + [node for nodes in built.orphans.values() for node in nodes]
    while stack:
        node = stack.pop()
        reached.append(node.span.span_id)
        stack += node.children
    assert sorted(reached) == [f"{number:016x}" for number in range(1, 9)]
    assert f"{99:016x}" in built.orphans


def test_repeated_siblings_fold_and_calls_join_their_answers():
    spans = [make(1, end=1000)]
    for number in range(11):
        at = 10 * number
        spans += [
            make(100 + number, 1, at, at + 9, "GET", 3),
            make(200 + number, 100 + number, at + 1, at + 7, "GET /{id}", 2, "api"),
            make(300 + number, 200 + number, at + 2, at + 3, "token", 3, "api"),
        ]
    built = tree.build(spans)
    rows = tree.rows(tree.fold(built.roots))
    assert [(row.depth, row.group.service, row.group.name, len(row.group.spans)) for row in rows] == [
        (0, "s", "a", 1), (1, "api", "GET /{id}", 11), (2, "api", "token", 11),
    ]  # fmt: skip
    assert rows[1].caller
    assert rows[1].shown.total == 99  # the caller's time
    assert len(tree.rows(tree.fold(built.roots, repeated=False))) == 23
    assert tree.self_times(built) == {"s": 1000 - 99 + 11 * 3, "api": 11 * 5 + 11}


def test_too_many_rows_leave_out_the_shortest_but_no_error():
    spans = [make(1, end=10_000)]
    spans += [make(10 + number, 1, number, number + number, f"n{number}") for number in range(1, 100)]
    spans.append(make(500, 11, 2, 2, "bad", status={"code": 2}))
    rows = tree.rows(tree.fold(tree.build(spans).roots), 20)
    names = [row.group.name for row in rows]
    assert len(rows) == 20
    assert names[0] == "a"
    assert {"n1", "bad", "n99"} <= set(names)
    assert rows[0].hidden == 101 - 20


def test_a_chain_of_20000_spans():
    spans = [make(number, number - 1, number, 50_000, f"n{number}") for number in range(1, 20_001)]
    built = tree.build(spans)
    assert len(tree.rows(tree.fold(built.roots))) == 20_000
    assert tree.self_times(built)["s"] == 50_000 - 1
