# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack metrics`: what was measured, per service."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis.metrics import Line, Metric, Metrics
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.reading import add_path, nothing, open_recording, requests, tell_problems
from otel_openstack.cli.terminal import Terminal, clean, columns_of, count, fit, quantity, terminal

_COLUMNS = ("count", "p50", "p95", "max", "total", "last")
_WIDTH = 9


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show what was measured, per service over all its processes: of histograms count, median, 95th percentile "
        "(both interpolated within buckets) and maximum, of counters the total, of levels the last value (of gauges "
        "the largest process' value) and the highest seen in one process."
    )
    parser.add_argument("--by-attributes", action="store_true", help="a line for every set of attributes")
    parser.add_argument("--service", metavar="NAME", help="only this service")
    parser.add_argument("--metric", metavar="TEXT", help="only metrics whose name contains this")
    add_path(parser)


def run(options: argparse.Namespace) -> int:
    recording = open_recording(options.path)
    found = summaries.read(requests(recording))
    if not found.by_key:
        raise nothing(recording, "metrics")
    tell_problems(recording)
    shown = _selected(found, options.service, options.metric)
    if not shown:
        names = ", ".join(clean(name) for name in list(found.services())[:30])
        raise CommandError(f"no metric matches --service and --metric; services in the recording: {names}")
    for line in render(shown, terminal(), by_attributes=options.by_attributes):
        print(line.rstrip())
    return 0


def _selected(found: Metrics, service: str | None, text: str | None) -> dict[str, list[Metric]]:
    chosen = {
        name: [metric for metric in metrics if text is None or text in metric.name]
        for name, metrics in found.services().items()
        if service in {None, name}
    }
    return {name: metrics for name, metrics in chosen.items() if metrics}


def render(services: dict[str, list[Metric]], screen: Terminal, *, by_attributes: bool = False) -> Iterator[str]:
    """Yield the lines of the tables, a table a service. Nothing recorded gets into them unescaped."""
    figures = len(_COLUMNS) * (_WIDTH + 1)
    room = max(24, screen.width - figures - 1)
    for service, metrics in services.items():
        processes = len({key[0].rpartition(" ")[0] for metric in metrics for key in metric.series})
        yield screen.style(f"{clean(service)}", "bold") + screen.style(
            f"  {processes} process{'es' * (processes != 1)}", "dim"
        )
        yield screen.style(fit("  metric", room) + "".join(f" {name:>{_WIDTH}}" for name in _COLUMNS), "dim")
        for metric in metrics:
            yield from _metric(metric, screen, room, by_attributes=by_attributes)
        yield ""


def _metric(metric: Metric, screen: Terminal, room: int, *, by_attributes: bool) -> Iterator[str]:
    rows = list(summaries.lines(metric, by_attributes=by_attributes))
    unit = f" [{clean(metric.unit)}]" if metric.unit else ""
    single = len(rows) == 1 and not rows[0].labels
    if not single:
        yield "  " + clean(metric.name) + screen.style(unit, "dim")
    for row in rows:
        if single:
            sets = f" ({row.attribute_sets} sets)" if row.attribute_sets > 1 else ""
            name, tail = f"  {clean(metric.name)}", f"{unit}{sets}"
        else:
            name, tail = "    " + ", ".join(f"{clean(key)}={clean(value)}" for key, value in row.labels), ""
            name = name if row.labels else "    (no attributes)"
        yield _line(name, tail, row, room, screen)


def _line(name: str, tail: str, row: Line, room: int, screen: Terminal) -> str:
    cells = "".join(f" {cell:>{_WIDTH}}" for cell in _cells(row))
    used = columns_of(name)
    if used + columns_of(tail) > room:  # a long name keeps its line; the figures stay in their columns below
        return f"{name}{screen.style(tail, 'dim')}\n{' ' * room}{cells}"
    return name + screen.style(fit(tail, room - used), "dim") + cells


def _cells(row: Line) -> tuple[str, ...]:
    unit = row.metric.unit
    if row.metric.kind == "histogram":
        spread = row.spread
        figures = [quantity(value, unit) for value in (spread.percentile(0.5), spread.percentile(0.95), spread.most)]
        return (count(spread.count), *figures, "", "")
    if row.metric.monotonic:
        return ("", "", "", "", quantity(row.total, unit), "")
    return ("", "", "", quantity(row.highest, unit), "", quantity(row.current, unit))
