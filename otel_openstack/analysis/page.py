# SPDX-License-Identifier: Apache-2.0
"""A recording as one HTML page that needs no server and no network, and executes nothing that was recorded.

What was recorded is JSON in a data block (with `<` escaped, so that it cannot end the block), and the script inserts it
as text only. The content security policy admits this script and this style by their hashes and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis import tree as trees
from otel_openstack.analysis.metrics import Line, Metric, Metrics, Series
from otel_openstack.analysis.spans import Index, Span, Trace
from otel_openstack.analysis.tree import Node

MARK = "<!doctype html><!-- otel-openstack page -->"
"""How every page begins: what does not begin so is not ours and not overwritten."""

TIME_BINS = 60
_LONGEST_TEXT = 8192
_MOST_LINES = 200
"""Sets of attributes shown of one metric."""


@dataclass(slots=True)
class _Table:
    """Equal things stored once: `of(thing)` is its number."""

    rows: list[Any] = field(default_factory=list)
    numbers: dict[Any, int] = field(default_factory=dict)

    def of(self, row: Any) -> int:
        number = self.numbers.get(row)
        if number is None:
            number = self.numbers[row] = len(self.rows)
            self.rows.append(row)
        return number


class Page:
    """Collects what the page shows; `html` yields it piece by piece."""

    def __init__(self, source: str, generated: str) -> None:
        self._texts = _Table()
        self._sets = _Table()
        self._traces: list[dict[str, Any]] = []
        self._head: dict[str, Any] = {"source": source, "generated": generated, "leftOut": 0, "metrics": []}

    def add_traces(self, index: Index, most_spans: int) -> None:
        """Add the newest traces, asked-for work before background work, up to that many spans (at least one trace)."""
        chosen: list[Trace] = []
        room = most_spans
        for trace in sorted(index.newest_first(), key=lambda trace: trace.background):
            if trace.spans <= room or not chosen:
                chosen.append(trace)
                room -= trace.spans
        self._head["leftOut"] = len(index.traces) - len(chosen)
        loaded = index.load(chosen)
        for trace in sorted(chosen, key=lambda trace: -trace.start):
            self._traces.append(self._trace(trace, loaded.pop(trace.trace_id)))

    def add_metrics(self, found: Metrics) -> None:
        bins = _Bins(found)
        self._head["metricsStart"], self._head["metricsEnd"] = found.start / 1e6, found.end / 1e6
        self._head["metrics"] = [_metric(metric, bins) for metrics in found.services().values() for metric in metrics]

    def html(self) -> Iterator[str]:
        """Yield the page."""
        script, style = _asset("page.js"), _asset("page.css")
        admitted = f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
        policy = f"default-src 'none'; {admitted}; base-uri 'none'; form-action 'none'"
        before, _, after = _asset("page.html").partition("<!-- data -->")
        yield MARK
        yield '\n<html lang="en"><head><meta charset="utf-8">\n'
        yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        yield f"<style>{style}</style>\n"
        yield before
        yield '<script type="application/json" id="data">'
        yield _json({**self._head, "texts": self._texts.rows, "sets": self._sets.rows, "traces": self._traces})
        yield f"</script>\n<script>{script}</script>"
        yield after

    def _trace(self, trace: Trace, spans: list[Span]) -> dict[str, Any]:
        tree = trees.build(spans)
        number = {span.span_id: at for at, span in enumerate(tree.spans)}
        parents = [-1] * len(tree.spans)
        stack = tree.roots + [node for nodes in tree.orphans.values() for node in nodes]
        self._link(stack, parents, number)
        missing = {number[node.span.span_id]: parent for parent, nodes in tree.orphans.items() for node in nodes}
        text = self._text
        return {
            "id": trace.trace_id,
            "name": text(trace.name),
            "service": text(trace.service),
            "background": trace.background,
            "start": tree.start / 1e6,
            "duration": tree.duration,
            "duplicates": tree.duplicates,
            "missing": missing,
            "ids": [span.span_id for span in tree.spans],
            "parents": parents,
            "names": [text(span.name) for span in tree.spans],
            "services": [text(span.service) for span in tree.spans],
            "kinds": [text(span.kind) for span in tree.spans],
            "starts": [span.start - tree.start for span in tree.spans],
            "durations": [span.duration for span in tree.spans],
            "errors": [self._text(span.error_type) if span.error else -1 for span in tree.spans],
            "attributes": [self._attributes({**span.attributes, **_status(span)}) for span in tree.spans],
            "places": [self._attributes({"process": span.instance, "scope": span.scope}) for span in tree.spans],
            "events": {
                at: [
                    [event.time - span.start, text(event.name), self._attributes(event.attributes)] for event in events
                ]
                for at, span in enumerate(tree.spans)
                if (events := span.events)
            },
            "links": {at: span.links for at, span in enumerate(tree.spans) if span.links},
        }

    @staticmethod
    def _link(stack: list[Node], parents: list[int], number: Mapping[str, int]) -> None:
        while stack:
            node = stack.pop()
            for child in node.children:
                parents[number[child.span.span_id]] = number[node.span.span_id]
            stack.extend(node.children)

    def _text(self, text: str) -> int:
        return self._texts.of(text[:_LONGEST_TEXT])

    def _attributes(self, attributes: Mapping[str, Any]) -> int:
        flat = [self._text(part) for key in sorted(attributes) for part in (key, _plain(attributes[key]))]
        return self._sets.of(tuple(flat))


def _status(span: Span) -> dict[str, str]:
    return {"status message": span.status_message} if span.status_message else {}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _asset(name: str) -> str:
    return (files(__package__ or "otel_openstack.analysis") / "assets" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _json(data: Any) -> str:
    """Encode for a script element: ASCII, and no `<` that could open or close anything."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


class _Bins:
    """A recording's time cut into equal parts."""

    def __init__(self, found: Metrics) -> None:
        self.start = found.start
        self.width = max(1, (found.end - found.start) // TIME_BINS + 1)

    def of(self, time: int) -> int:
        return min(TIME_BINS - 1, max(0, (time - self.start) // self.width))


def _metric(metric: Metric, bins: _Bins) -> dict[str, Any]:
    every = list(summaries.lines(metric, by_attributes=True))
    return {
        "service": metric.service,
        "name": metric.name,
        "unit": metric.unit,
        "kind": metric.kind,
        "monotonic": metric.monotonic,
        "description": metric.description,
        "processes": len({process for process, _ in metric.series}),
        "sets": len(every),
        "lines": [_line(line, bins) for line in summaries.lines(metric)],
        "by": [_line(line, None) for line in every[:_MOST_LINES]],
    }


def _line(line: Line, bins: _Bins | None) -> dict[str, Any]:
    data: dict[str, Any] = {"labels": line.labels}
    if line.metric.kind == "histogram":
        spread = line.spread
        data |= {
            "count": spread.count,
            "sum": spread.total,
            "min": spread.least,
            "max": spread.most,
            "p50": spread.percentile(0.5),
            "p95": spread.percentile(0.95),
            "p99": spread.percentile(0.99),
        }
        if bins:
            data["buckets"] = [
                [_finite(low), _finite(high), count] for (low, high), count in sorted(spread.buckets.items())
            ]
    elif line.metric.monotonic:
        data["total"] = line.total
    else:
        data |= {"last": line.current, "max": line.highest}
    if bins:
        data["over"] = _over_time(line, bins)
    return data


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _over_time(line: Line, bins: _Bins) -> dict[str, list[float | None]]:
    if not line.series[0].counts:
        return {"value": _levels(line, bins)}
    grown, sums = [0.0] * TIME_BINS, [0.0] * TIME_BINS
    for series in line.series:
        for time, value, total in series.increments():
            at = bins.of(time)
            grown[at] += value
            sums[at] += total
    data: dict[str, list[float | None]] = {"value": list(grown)}
    if line.metric.kind == "histogram":
        data["mean"] = [total / value if value > 0 else None for value, total in zip(grown, sums, strict=True)]
    return data


def _levels(line: Line, bins: _Bins) -> list[float | None]:
    """Return a level over time: every series holds its value until its next point."""
    held: list[float | None] = [None] * TIME_BINS
    for series in line.series:
        for at, value in enumerate(_held(series, bins)):
            if value is not None:
                known = held[at]
                held[at] = (
                    value if known is None else max(known, value) if line.metric.kind == "gauge" else known + value
                )
    return held


def _held(series: Series, bins: _Bins) -> list[float | None]:
    values: list[float | None] = [None] * TIME_BINS
    for time, value, _ in series.increments():
        values[bins.of(time)] = value
    last = bins.of(series.newest.time)
    for at in range(1, last + 1):
        if values[at] is None:
            values[at] = values[at - 1]
    return values
