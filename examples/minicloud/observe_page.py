# SPDX-License-Identifier: Apache-2.0
"""What `make demo OBSERVE=1` has seen, in the terminal and as a page: who shows what, and where to look."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import answers

if TYPE_CHECKING:
    from pathlib import Path

    from answers import Seen
    from layout import Cloud

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; table-layout: fixed; width: 100%; margin: 1em 0 }
th, td { text-align: left; vertical-align: top; padding: .4em .7em; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-weight: 600 }
td.differs { color: #b00020 }
td { overflow-wrap: anywhere }
code { font-size: 13px }
"""
ASIDE = (
    ("prometheus", "Prometheus", "/graph", "its page: any metric of any service, while they are up"),
    ("prometheus_exporter", "the collector, to be scraped", "/metrics", "every series as Prometheus reads it"),
    ("collector_metrics", "the collector of itself", "/metrics", "received, sent, dropped: otelcol_*"),
    ("jaeger", "Jaeger's services", "/api/services", "built from its Go module, Jaeger has its API but not its page"),
)
Trace = tuple[str, int, int]  # its id, its spans in Jaeger, in the files


def write(cloud: Cloud, seen: list[Seen], trace: Trace) -> Path:
    """Write the page; returns where it is."""
    path = cloud.directory / "observe.html"
    path.write_text(_page(cloud, seen, trace))
    return path


def show(seen: list[Seen], trace: Trace, cloud: Cloud) -> None:
    """The same in the terminal."""
    print("\nHTTP requests that the client sent, by")
    for one in seen:
        print(f"  {one.name:18} {one.number:6g}   {one.asked}\n{'':28}{one.where}")
    trace_id, in_jaeger, in_files = trace
    print(f"\nTrace of a server create: {in_jaeger} spans in Jaeger, {in_files} in the files")
    print(f"{'':28}{jaeger_trace(cloud, trace_id)}")
    for port, name, path, what in ASIDE:
        print(f"  {name:28} {cloud.url(port, path)}   {what}")


def jaeger_trace(cloud: Cloud, trace_id: str) -> str:
    return cloud.url("jaeger", f"/api/traces/{trace_id}")


def _page(cloud: Cloud, seen: list[Seen], trace: Trace) -> str:
    trace_id, in_jaeger, in_files = trace
    rows = "".join(_row(one, seen[0].number) for one in seen)
    aside = "".join(
        f"<tr><td>{html.escape(name)}<td>{_link(cloud.url(port, path))}<td>{html.escape(what)}"
        for port, name, path, what in ASIDE
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The demo, observed</title><style>{STYLE}</style></head><body>
<h1>One run, seen by all</h1>
<p>Every process of the cloud sent OTLP to the collector, which passed it on to statsd, Prometheus, Jaeger and files.
This is the number of HTTP requests that the client sent, as each of them knows it.</p>
<table><tr><th width="14%">who<th width="9%">requests<th>what was asked<th>where{rows}</table>
<h2>The trace of a server create</h2>
<p>{in_jaeger} spans in Jaeger, {in_files} in the files: {_link(jaeger_trace(cloud, trace_id))}.
The same trace to look at: <a href="{html.escape(cloud.page.name)}">all traces and metrics</a>, read from the files.</p>
<h2>Where to look while they are up</h2>
<table>{aside}<tr><td>files<td><code>{html.escape(str(cloud.otlp))}</code><td>OTLP as JSON lines
<tr><td>statsd<td><code>{html.escape(str(answers.flushes(cloud)))}</code><td>what it flushed</table>
</body></html>
"""


def _row(one: Seen, wanted: float) -> str:
    kind = "number" if one.number == wanted else "number differs"
    return (
        f'<tr><td>{html.escape(one.name)}<td class="{kind}">{one.number:g}'
        f"<td><code>{html.escape(one.asked)}</code><td>{_link(one.where)}"
    )


def _link(where: str) -> str:
    text = html.escape(where)
    return f'<a href="{text}">{text}</a>' if where.startswith("http") else f"<code>{text}</code>"
