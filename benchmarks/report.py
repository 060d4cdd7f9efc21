# SPDX-License-Identifier: Apache-2.0
"""The page of the results: tables, charts and verdicts, all made of benchmarks/results.json.

python benchmarks/report.py            write docs/benchmarks.md and docs/benchmarks/*.svg
python benchmarks/report.py --check    fail if they are not what the results say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charts
import targets
from statistics_of import differences, figure, ratios

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
DOCS = HERE.parent / "docs"
PAGE, PICTURES = DOCS / "benchmarks.md", DOCS / "benchmarks"
NOTHING = "did nothing"
PLAUSIBLE = 0.9
"""Share of the expected items that has to be found for a row to count."""

Results = dict[str, Any]
Rows = list[list[str]]


def _table(head: list[str], rows: Rows) -> list[str]:
    line = "|".join("---" if place == 0 else "---:" for place in range(len(head)))
    return ["| " + " | ".join(head) + " |", f"|{line}|", *("| " + " | ".join(row) + " |" for row in rows), ""]


def _valid(found: Any) -> bool:
    return found is None or abs(found[1] - found[0]) <= (1 - PLAUSIBLE) * found[0]


def _seen(found: Any) -> str:
    return "" if found is None else f"{found[1]:,.0f} of {found[0]:,.0f}"


def _verdicts(results: Results) -> Iterator[str]:
    yield "## What was promised"
    yield ""
    words = {True: "met", False: "**not met**", None: "not measured"}
    yield from _table(
        ["what", "at most", "measured", "verdict"],
        [[row.what, row.target, row.measured, words[row.met]] for row in targets.verdicts(results)],
    )


def _small(results: Results) -> Iterator[str]:
    micro, counts = results.get("micro", {}), results.get("instructions", {})
    if not micro:
        return
    yield "## Small operations"
    yield ""
    yield (
        "CPU time of one, less the bare call (`nothing`); the median of interleaved rounds with its 95 % interval; "
        "instructions under callgrind. `found` is what arrived of what was made at the end of the run."
    )
    yield ""
    for operation, by in micro.items():
        bare = by["nothing"]["ns"]
        ours = next((figure(differences(r["ns"], bare)).median for n, r in by.items() if n.startswith("ours")), 0.0)
        rows = []
        for name, row in by.items():
            if "ns" not in row:
                rows.append([name, "not installed", "", "", "", ""])
                continue
            took = figure(row["ns"] if name == "nothing" else differences(row["ns"], bare))
            times = f"{took.median / ours:.1f}" if ours > 0 and name != "nothing" else ""
            count = counts.get(operation, {})
            instructions = count[name] - (count["nothing"] if name != "nothing" else 0) if name in count else None
            shown = f"{took.median:,.0f}" if _valid(row["witness"]) else NOTHING
            rows.append(
                [
                    name,
                    shown,
                    f"{took.low:,.0f} to {took.high:,.0f}",
                    times,
                    "" if instructions is None else f"{instructions:,.0f}",
                    _seen(row["witness"]),
                ]
            )
        yield f"### {operation[0].upper()}{operation[1:]}"
        yield ""
        yield from _table(["variant", "ns", "95 %", "times ours", "instructions", "found"], rows)


def _whole(results: Results) -> Iterator[str]:
    for app, by in results.get("request", {}).items():
        bare = by["nothing"]["cpu"]
        base = figure(bare).median
        ours = figure(differences(by["ours, basic"]["cpu"], bare)).median
        yield f"## Whole requests: {app}"
        yield ""
        yield WHOLE[app] + f" Without instrumentation a request takes {base * 1e6:,.0f} µs of CPU."
        yield ""
        if app == "plain":
            yield "![CPU added to a request](benchmarks/request.svg)"
            yield ""
        rows = []
        for name, row in by.items():
            if not row["cpu"] or row["failed"]:
                rows.append([name, "did not run", "", "", "", "", row["note"]])
                continue
            added = figure(differences(row["cpu"], bare))
            share = figure(ratios(row["cpu"], bare))
            found = row["found"]
            rows.append(
                [
                    name,
                    NOTHING if row["did_nothing"] else f"{added.median * 1e6:+,.0f}",
                    f"{added.low * 1e6:+,.0f} to {added.high * 1e6:+,.0f}",
                    f"{100 * (share.median - 1):+.1f} %",
                    f"{added.median / ours:.1f}" if ours > 0 else "",
                    f"{found.get('spans', 0) / row['served']:.2f} of {row['expected_spans'] / row['served']:.2f}",
                    row["note"],
                ]
            )
        head = ["variant", "µs added", "95 %", "of the request", "times ours (basic)", "spans a request", ""]
        yield from _table(head, rows)
    counts = results.get("request-instructions", {})
    if counts:
        yield from _counted(counts, results.get("request-misses", {}))
        yield from _accelerator(results)


def _counted(counts: Results, misses: Results) -> Iterator[str]:
    yield (
        "Instructions of one `plain` request, and its share in one export of forty. `misses` is how often something "
        "was not in a cache of 1 MiB (simulated). The bare request runs the same few things over and over and nearly "
        "fits; what hooks add is code and data that a request touches once, which come from slower memory. So the time "
        "of a request grows more than its instructions do, and only fewer and smaller hooks help."
    )
    yield ""
    base = sum(counts["nothing"].values())
    rows = []
    for name, row in counts.items():
        missed = f"{misses[name]['serve']:,.0f}" if name in misses else ""
        more = f"{sum(row.values()) / base - 1:+.1%}"
        rows.append([name, f"{row['serve']:,.0f}", f"{row['export']:,.0f}", more, missed])
    yield from _table(["variant", "served", "exported", "more", "misses"], rows)


RECORDS = 25
"""Values that a `plain` request records at level basic: 17 into histograms, 8 into counters."""
COMPILED = 399
"""Instructions of a record by a prototype in C."""


def _accelerator(results: Results) -> Iterator[str]:
    counts = results["request-instructions"]
    record = results.get("instructions", {}).get("histogram, bound", {})
    if not {"ours", "nothing"} <= record.keys():
        return
    each = record["ours"] - record["nothing"] - COMPILED
    share = RECORDS * each / counts["nothing"]["serve"]
    yield "### Why there is no compiled accelerator"
    yield ""
    yield (
        f"A recorder in C takes {COMPILED} instructions (a prototype) where ours takes {each + COMPILED:,.0f}. A "
        f"`plain` request records {RECORDS} values, so all of them compiled would save it {RECORDS * each:,.0f} "
        f"instructions, {share:.1%} of what it takes. That is a figure for a microbenchmark: what a hook costs is "
        "reading the library's objects, contexts and attributes, which stay objects of Python. Built wheels for every "
        "Python and machine, and a second implementation of what has to be exact, are not worth it."
    )
    yield ""


WHOLE = {
    "plain": "One WSGI request, 10 queries (SQLAlchemy Core, SQLite), 2 RPC calls, both sides in the process.",
    "nova": "The stack of an API: Routes and WebOb, 10 queries of the ORM through oslo.db, one RPC call, one HTTP "
    "request.",
}


def _scale(results: Results) -> Iterator[str]:
    if results.get("series"):
        yield "## Scale: series"
        yield ""
        rows = [
            [r["variant"], f"{r['series']:,}", f"{r['points']:,}", f"{r['record_ns']:,.0f}", f"{r['export_ns']:,.0f}",
             f"{r['bytes_per_series']:,.0f}", f"{r['bytes'] / 1e6:,.2f}"] for r in results["series"]
        ]  # fmt: skip
        head = ["variant", "combinations", "points", "ns a record", "ns a point exported", "bytes a series", "MB"]
        yield from _table(head, rows)
    if results.get("spans"):
        yield "## Scale: spans a second"
        yield ""
        bare = {row["rate"]: row["cpu"] for row in results["spans"] if row["variant"] == "nothing" and "cpu" in row}
        rows = []
        for row in results["spans"]:
            if row["variant"] != "nothing" and "cpu" in row:
                each = (row["cpu"] - bare.get(row["rate"], 0.0)) / row["made"] * 1e6
                rows.append([row["variant"], f"{row['rate']:,}", f"{row['made']:,}", f"{row['arrived']:,}",
                             f"{each:,.1f}", f"{row['grown'] / 2**20:+.1f}"])  # fmt: skip
        head = ["variant", "rate", "made", "arrived", "µs of CPU a span, export included", "MiB grown"]
        yield from _table(head, rows)


def _failing(results: Results) -> Iterator[str]:
    if not results.get("failing"):
        return
    yield "## When the collector fails"
    yield ""
    yield "Requests of 20 spans; the worst of the runs. `gap` is how late a ticker of 5 ms is."
    yield ""
    rows = []
    for row in results["failing"]:
        runs = [run for run in row["runs"] if "p50" in run]
        if not runs:
            rows.append([row["variant"], row["world"], row["state"], "did not run", *[""] * 5])
            continue
        worst = {key: max(run[key] for run in runs) for key in ("p50", "p99", "gap_p99", "gap_max", "grown", "exit")}
        rows.append([row["variant"], row["world"], row["state"], f"{worst['p50'] * 1e6:,.0f}",
                     f"{worst['p99'] * 1e6:,.0f}", f"{worst['gap_p99'] * 1e3:.1f}", f"{worst['gap_max'] * 1e3:.1f}",
                     f"{worst['grown'] / 2**20:+.1f}", f"{worst['exit']:.2f}"])  # fmt: skip
    head = ["variant", "world", "collector", "p50 µs", "p99 µs", "gap p99 ms", "gap max ms", "MiB grown", "exit s"]
    yield from _table(head, rows)


def _startup(results: Results) -> Iterator[str]:
    found = results.get("startup")
    if not found:
        return
    yield "## Start-up and memory of a process"
    yield ""
    rows = []
    for case, row in found.items():
        base = found.get(row["base"])
        more = f"{row['least_ms'] - base['least_ms']:+.1f} ms, {row['mib'] - base['mib']:+.1f} MiB" if base else ""
        rows.append([case, f"{row['least_ms']:.1f}", f"{row['median_ms']:.1f}", f"{row['mib']:.1f}", row["base"], more])
    yield from _table(["case", "CPU ms, least", "median", "MiB", "base", "more"], rows)


def _cloud(results: Results) -> Iterator[str]:
    found = results.get("cloud")
    if not found:
        return
    yield "## The minimal cloud"
    yield ""
    yield (
        "keystone, placement, glance, nova and neutron with RabbitMQ and MariaDB; a client creates, uses and deletes "
        "one server. The clouds take turns."
    )
    yield ""
    bare = found["nothing"]
    rows = []
    for name, runs in found.items():
        if not isinstance(runs, list) or not runs:
            continue
        came = found.get("found", {}).get(name, {})
        cpu, create = figure([run["cpu"] for run in runs]), figure([run["create"] for run in runs])
        more = figure(differences([run["cpu"] for run in runs], [run["cpu"] for run in bare]))
        rows.append([name, str(len(runs)), f"{cpu.median:.2f} ({cpu.low:.2f} to {cpu.high:.2f})",
                     f"{more.median:+.3f} ({more.low:+.3f} to {more.high:+.3f})",
                     f"{create.median:.2f} ({create.low:.2f} to {create.high:.2f})",
                     *_came(came, wanted=name != "nothing")])  # fmt: skip
    yield from _table(["variant", "creates", "CPU s", "more than bare, s", "create, s", "spans", "points"], rows)
    for name, reason in found.get("failed", {}).items():
        yield f"{name}: {reason}"
        yield ""


def _came(came: dict[str, int], *, wanted: bool) -> tuple[str, str]:
    """Return how many spans and points reached the sink: without any, what a variant costs says nothing."""
    if not wanted:
        return "", ""
    spans = came.get("spans", 0)
    return f"{spans:,}" if spans else "did nothing", f"{came.get('points', 0):,}"


def _machine(results: Results) -> Iterator[str]:
    found = results["machine"]
    yield "## Measured on"
    yield ""
    yield f"{found['cpu']}, {found['cores']} cores, Linux {found['kernel']}; {found['python']}; {found['date']}. "
    yield (
        f"Load of the machine {found['load_before']:.1f} before and {found.get('load_after', 0.0):.1f} after: what "
        "else runs makes times longer and less certain, of all variants alike; instructions stay."
    )
    yield ""
    yield ", ".join(f"{name} {version}" for name, version in found["packages"].items()) + "."
    yield ""


def text(results: Results) -> str:
    """Return the tables for a terminal."""
    parts = (_verdicts, _small, _whole, _scale, _failing, _startup, _cloud, _machine)
    return "\n".join(line for part in parts for line in part(results))


HEAD = """<!-- Generated by benchmarks/report.py of benchmarks/results.json: `make bench` measures and writes both. -->
# What it costs

Every competitor is measured in the same run as ours, interleaved, and its spans and points are counted where they
arrive: a row that produced nothing, or much less than it should, reads "did nothing". Times are CPU
time; whole requests are pinned to one processor. Competitors are installed as a
user would; where a promise is not kept the page says so.

![A histogram's record](benchmarks/record.svg)
![A span](benchmarks/span.svg)

"""


def pictures(results: Results) -> dict[str, str]:
    """Return file name -> chart."""
    made = {}
    for name, title, operation in (
        (
            "record.svg",
            "Recording into a histogram with three attributes, ns (logarithmic)",
            "histogram, three attributes",
        ),
        ("span.svg", "A child span, made and exported, ns (logarithmic)", "span, made and exported"),
    ):
        by = results.get("micro", {}).get(operation)
        if by:
            bare = by["nothing"]["ns"]
            found = {n: figure(differences(r["ns"], bare)) for n, r in by.items() if n != "nothing" and "ns" in r}
            rows = [
                charts.Bar(n, f.median, f.low, f.high, f"{f.median:,.0f}", n.startswith("ours"))
                for n, f in found.items()
            ]
            made[name] = charts.bars(title, rows, logarithmic=True)
    by = results.get("request", {}).get("plain")
    if by:
        bare = by["nothing"]["cpu"]
        rows = []
        for name, row in by.items():
            if name != "nothing" and row["cpu"] and not row["did_nothing"]:
                share = figure([100 * (ratio - 1) for ratio in ratios(row["cpu"], bare)])
                shown = f"{share.median:+.0f} %"
                rows.append(charts.Bar(name, share.median, share.low, share.high, shown, name.startswith("ours")))
        made["request.svg"] = charts.bars("CPU added to a request (1 WSGI, 10 queries, 2 RPC calls), %", rows)
    return made


def files(results: Results) -> dict[Path, str]:
    """Return what the results make of the page and its pictures."""
    return {PAGE: HEAD + text(results).rstrip() + "\n"} | {PICTURES / n: s for n, s in pictures(results).items()}


def write(results: Results) -> None:
    PICTURES.mkdir(exist_ok=True)
    for path, content in files(results).items():
        path.write_text(content)


def main() -> int:
    results = json.loads(RESULTS.read_text())
    if "--check" not in sys.argv:
        write(results)
        return 0
    stale = [path.name for path, content in files(results).items() if not path.exists() or path.read_text() != content]
    if stale:
        print(f"{', '.join(stale)}: not what benchmarks/results.json says; run benchmarks/report.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
