# SPDX-License-Identifier: Apache-2.0
"""What was promised, row by row, and whether the results keep it. A row that was not measured says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from statistics_of import differences, figure

Results = dict[str, Any]


class Verdict(NamedTuple):
    """A row: what, the promise, what was measured, and whether it is met (None: not measured)."""

    what: str
    target: str
    measured: str
    met: bool | None


class Part(NamedTuple):
    """One measured side of a row."""

    text: str
    met: bool


def _instructions(results: Results, operation: str, variant: str) -> float:
    by = results["instructions"][operation]
    return float(by[variant] - by["nothing"])


def _share(operation: str, against: str, most: float) -> Callable[[Results], Part]:
    """Ours has at most 1/most of the instructions of another."""

    def judge(results: Results) -> Part:
        ratio = _instructions(results, operation, against) / _instructions(results, operation, "ours")
        return Part(f"{operation}: 1/{ratio:.1f} of {against}", ratio >= most)

    return judge


def _nanoseconds(results: Results, operation: str, variant: str) -> float:
    by = results["micro"][operation]
    return figure(differences(by[variant]["ns"], by["nothing"]["ns"])).median


def _at_most(operation: str, variant: str, most: float) -> Callable[[Results], Part]:
    def judge(results: Results) -> Part:
        took = _nanoseconds(results, operation, variant)
        return Part(f"{operation} ({variant}): {took:,.0f} ns", took <= most)

    return judge


def _below(operation: str, variant: str, other: str) -> Callable[[Results], Part]:
    def judge(results: Results) -> Part:
        took, theirs = _nanoseconds(results, operation, variant), _nanoseconds(results, operation, other)
        return Part(f"{other}: {theirs:,.0f} ns", took < theirs)

    return judge


def _exported(results: Results, operation: str, least: float) -> Part:
    by = results["micro"][operation]
    ratio = _nanoseconds(results, operation, "otel sdk") / _nanoseconds(results, operation, "ours")
    return Part(f"{operation}: 1/{ratio:.1f} ({_nanoseconds(results, operation, 'ours') / 1e3:.2f} µs,"
                f" {by['ours']['bytes']:.0f} bytes; theirs {by['otel sdk']['bytes']:.0f})", ratio >= least)  # fmt: skip


def _whole(variant: str, most: float) -> Callable[[Results], Part]:
    def judge(results: Results) -> Part:
        rows = results["request"]["plain"]
        bare = rows["nothing"]["cpu"]
        base = figure(bare).median
        more = [100 * value / base for value in differences(rows[variant]["cpu"], bare)]
        found = figure(more)
        return Part(f"{found.median:+.1f} % ({found.low:+.1f} to {found.high:+.1f})", found.median <= most)

    return judge


def _whole_instructions(variant: str) -> Callable[[Results], Part]:
    def judge(results: Results) -> Part:
        rows = results["request-instructions"]
        bare, ours = sum(rows["nothing"].values()), sum(rows[variant].values())
        return Part(f"instructions {ours / bare - 1:+.1%}", True)

    return judge


def _request(variant: str, most: float) -> tuple[Callable[[Results], Part], ...]:
    return _whole(variant, most), _whole_instructions(variant)


def _one_call(results: Results) -> Part:
    """All hooks of one call: of the sender, of the server, and of the reply at both ends."""
    sent, served = (_nanoseconds(results, f"message, {side}", "ours") for side in ("sent", "served"))
    text = f"sent {sent / 1e3:.1f} µs, served {served / 1e3:.1f} µs: {(sent + served) / 1e3:.1f} µs"
    return Part(text, sent + served <= 12_000)


def _of_a_query(results: Results) -> Part:
    by = results["instructions"]["query"]
    share = by["ours"] / by["nothing"] - 1
    return Part(f"{share:+.1%} instructions of a query of SQLAlchemy Core", share <= 0.02)


def _gap(results: Results) -> Part:
    """Of the worst state: how much later the ticker is than that of the bare process that ran just before it."""
    rows = {(row["variant"], row["state"]): row["runs"] for row in results["failing"] if row["world"] == "eventlet"}
    states = [state for variant, state in rows if variant == "ours"]

    def more(measure: str) -> float:
        return max(
            figure(differences(*([run[measure] for run in rows[name, state]] for name in ("ours", "nothing")))).median
            for state in states
        )

    p99, most = more("gap_p99"), more("gap_max")
    worst = {name: max(run["gap_max"] for state in states for run in rows[name, state]) for name in ("ours", "nothing")}
    return Part(
        f"p99 {p99 * 1e3:+.1f} ms, longest {most * 1e3:+.1f} ms; the longest of all {worst['ours'] * 1e3:.1f} ms, of "
        f"the bare process {worst['nothing'] * 1e3:.1f} ms",
        p99 <= 0.002 and most <= 0.005,
    )


def _exit(results: Results) -> Part:
    bare = max(run["exit"] for row in results["failing"] if row["variant"] == "nothing" for run in row["runs"])
    worst = max(
        (run["exit"], row["state"]) for row in results["failing"] if row["variant"] == "ours" for run in row["runs"]
    )
    return Part(f"{worst[0]:.2f} s ({worst[1]}); bare at most {bare:.2f} s", worst[0] - bare <= 1.0)


def _memory(results: Results) -> Part:
    rows = {(row["variant"], row["series"]): row for row in results["series"]}
    size = max(size for variant, size in rows if variant == "ours" and size <= 2000)
    ours, sdk = rows["ours", size]["bytes_per_series"], rows["otel sdk", size]["bytes_per_series"]
    return Part(f"{ours:,.0f} bytes a series at {size:,}; SDK {sdk:,.0f}", ours <= 1126)


def _overflow(results: Results) -> Part:
    row = max((row for row in results["series"] if row["variant"] == "ours"), key=lambda row: row["series"])
    return Part(f"of {row['series']:,} combinations {row['points']:,} points", row["points"] <= 2001)


def _start(case: str) -> Callable[[Results], Part]:
    def judge(results: Results) -> Part:
        row = results["startup"][case]
        base = results["startup"][row["base"]]
        more_ms, more_mib = row["least_ms"] - base["least_ms"], row["mib"] - base["mib"]
        text = f"{case}: {more_ms:+.1f} ms, {more_mib:+.1f} MiB over {row['base']}"
        return Part(text, more_ms <= row["most_ms"] and (not row["most_mib"] or more_mib <= row["most_mib"]))

    return judge


def _cloud(results: Results) -> Part:
    rows = results["cloud"]
    bare, ours = rows["nothing"], rows["ours, basic, all traced"]
    cpu = figure(differences([row["cpu"] for row in ours], [row["cpu"] for row in bare]))
    base = figure([row["cpu"] for row in bare]).median
    slower = figure(differences([row["create"] for row in ours], [row["create"] for row in bare]))
    met = cpu.median / base <= 0.01 and slower.low <= 0.0
    return Part(
        f"CPU {cpu.median / base:+.1%} ({cpu.low / base:+.1%} to {cpu.high / base:+.1%}) of {base:.2f} s; create "
        f"{slower.median * 1e3:+.0f} ms ({slower.low * 1e3:+.0f} to {slower.high * 1e3:+.0f})",
        met,
    )


TARGETS: tuple[tuple[str, str, tuple[Callable[[Results], Part], ...]], ...] = (
    ("bound histogram record", "1/30 of the SDK's instructions, 1/4 of prometheus_client's", (
        _share("histogram, bound", "otel sdk", 30), _share("histogram, bound", "prometheus_client", 4))),
    ("record with three dynamic attributes", "1/20 of the SDK's instructions, 1/4 of prometheus_client's", (
        _share("histogram, three attributes", "otel sdk", 20),
        _share("histogram, three attributes", "prometheus_client", 4))),
    ("disabled decorator", "the same function object", (_at_most("decorated function", "ours, off", 15),)),
    ("timed function", "600 ns, below an empty wrapt wrapper", (
        _at_most("decorated function", "ours, timed", 600),
        _below("decorated function", "ours, timed", "an empty wrapt wrapper"))),
    ("span, child", "1/10 of the SDK's instructions", (_share("span, child", "otel sdk", 10),)),
    ("span, root and five set_attribute", "1/8", (
        _share("span, root", "otel sdk", 8), _share("span, five set_attribute", "otel sdk", 8))),
    ("span, sampled out", "1/4", (_share("span, sampled out", "otel sdk", 4),)),
    ("span, caller and export thread together", "1/6", (_share("span, made and exported", "otel sdk", 6),)),
    ("one database call", "1 µs, 2 % instructions", (_at_most("statement", "ours", 1000), _of_a_query)),
    ("one RPC call, both sides", "12 µs", (_one_call,)),
    ("whole request, metrics only", "10 %", _request("ours, metrics only", 10)),
    ("whole request, 1 % traced", "12 %", _request("ours, 1 % traced", 12)),
    ("whole request, all traced", "25 %", _request("ours, basic", 25)),
    ("the minimal cloud, CPU of all services per server create", "1 %, no latency above noise", (_cloud,)),
    ("exporting a span", "1/8 of the stock exporter's CPU", (lambda results: _exported(results, "span, encoded", 8),)),
    ("exporting a point", "1/8", (lambda results: _exported(results, "point, collected and encoded", 8),)),
    ("green hub", "5 ms longest, 2 ms at p99, beyond the bare process", (_gap,)),
    ("exit", "0.6 s more, 1 s at worst", (_exit,)),
    ("start-up", "5 ms; 50 ms and 5 MiB; 60 ms", (
        _start("import otel_openstack"), _start("... and auto"), _start("launcher"))),
    ("memory of a series", "1.1 kB, 2,000 an instrument and then overflow", (_memory, _overflow)),
)  # fmt: skip


def verdicts(results: Results) -> list[Verdict]:
    """Return a row for each promise."""
    rows = []
    for what, target, judges in TARGETS:
        try:
            parts = [judge(results) for judge in judges]
        except (KeyError, ValueError, TypeError, IndexError):
            rows.append(Verdict(what, target, "not measured", None))
        else:
            rows.append(Verdict(what, target, "; ".join(part.text for part in parts), all(part.met for part in parts)))
    return rows
