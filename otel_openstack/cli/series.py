# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack series`: how many series a choice of dimensions makes, before it is made."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from otel_openstack import settings
from otel_openstack.analysis import metrics as summaries
from otel_openstack.analysis.spans import Span, spans_of
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.reading import nothing, open_recording, requests, tell_problems
from otel_openstack.cli.terminal import Terminal, clean, fit, terminal
from otel_openstack.conventions import DIMENSIONS
from otel_openstack.metrics import choosing
from otel_openstack.semconv.instruments import HTTP_SERVER_REQUEST_DURATION, INSTRUMENTS, RPC_SERVER_CALL_DURATION
from otel_openstack.semconv.model import Instrument

# Spans that tell what a metric recorded: kinds, the attribute that only they have, the metric.
TOLD_BY = (
    (("SERVER",), "http.request.method", HTTP_SERVER_REQUEST_DURATION),
    (("SERVER", "CONSUMER"), "rpc.method", RPC_SERVER_CALL_DURATION),
)
TAKING = {name: model for name, model in INSTRUMENTS.items() if model.dimensions}
"""The metrics that a choice concerns."""
EXAMPLE = "project=top:20"
_WIDTH = 11

Choices = dict[str, str]
Process = tuple[str, str]


class Row(NamedTuple):
    """What a choice makes of one metric of one service. Series over all processes, but for `most`: of one process."""

    service: str
    metric: str
    processes: int
    now: int
    replayed: int | None
    most: int
    limit: int


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say how many series OTEL_OPENSTACK_METRIC_DIMENSIONS=CHOICE makes: from a recording, whose requests are "
        "replayed through the choice, or from numbers. What is said to be at most is the bound over the life of a "
        "process; a metric never has more than its limit, beyond which it no longer tells projects apart."
    )
    parser.add_argument("choice", metavar="CHOICE", help=f"such as {EXAMPLE}, project=all:500 or project=ID|ID")
    parser.add_argument(
        "path", metavar="PATH", type=Path, nargs="?", help="file or directory of OTLP JSON lines; or give numbers"
    )
    parser.add_argument("--projects", metavar="N", type=_positive, help="how many projects (or domains) there are")
    parser.add_argument("--series", metavar="N", type=_positive, help="series that a process has of a metric now")
    parser.add_argument("--processes", metavar="N", type=_positive, default=1, help="processes (default: 1)")


def run(options: argparse.Namespace) -> int:
    choices = parse(options.choice)
    if options.path is not None:
        rows = _of_recording(options, choices)
    elif options.series is None or options.projects is None:
        raise CommandError("give a recording, or both --series N and --projects N")
    else:
        most = _most(options.series, choices, dict.fromkeys(DIMENSIONS, options.projects))
        limit = next(iter(TAKING.values())).limit
        now = options.series * options.processes
        rows = [Row("any", "a metric", options.processes, now, None, most, limit)]
    for line in render(rows, choices, terminal()):
        print(line.rstrip())
    return 0


def parse(text: str) -> Choices:
    """Return the choices of an option's text; raise CommandError where it is none."""
    found, problems = settings.load({"OTEL_OPENSTACK_METRIC_DIMENSIONS": text})
    if problems:
        raise CommandError(problems[0].partition(": ")[2].rpartition("; using")[0])
    return found.metric_dimensions


def _of_recording(options: argparse.Namespace, choices: Choices) -> list[Row]:
    recording = open_recording(options.path)
    replay, found = Replay(choices), summaries.Metrics()
    for request in requests(recording):
        found.add(request)
        for span in spans_of(request):
            replay.add(span)
    tell_problems(recording)
    known = replay.known()
    if options.projects is not None:
        known = {name: max(number, options.projects) for name, number in known.items()}
    rows = list(_rows(found, replay, choices, known))
    if not rows:
        raise nothing(recording, f"metrics that take a dimension ({', '.join(TAKING)})")
    return rows


class Replay:
    """The requests of a recording, put through the choice in the order in which they ended."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._spans: list[tuple[int, Process, Instrument, tuple[Any, ...], tuple[Any, ...]]] = []

    def add(self, span: Span) -> None:
        """Take a span, if it tells what a metric recorded."""
        for kinds, attribute, name in TOLD_BY:
            if span.kind in kinds and attribute in span.attributes:
                model, given = TAKING[name], span.attributes
                labels = tuple(str(given.get(key)) for key in model.attributes)
                values = tuple(given.get(key) for key in DIMENSIONS.values())
                self._spans.append((span.end, (span.service, span.instance), model, labels, values))

    def known(self) -> dict[str, int]:
        """Return how many different projects and domains there are."""
        columns = zip(DIMENSIONS, zip(*(entry[4] for entry in self._spans), strict=True), strict=False)
        return {**dict.fromkeys(DIMENSIONS, 0), **{name: len({*values} - {None}) for name, values in columns}}

    def series(self) -> dict[tuple[str, str], int]:
        """Return (service, metric) -> series that the choice would have made."""
        choosers: dict[Process, list[Any]] = {}
        made: dict[tuple[str, str], set[Any]] = defaultdict(set)
        for _, process, model, labels, values in sorted(self._spans, key=lambda entry: entry[0]):
            if process not in choosers:
                choosers[process] = [choosing.chooser(self._choices.get(name, "off")) for name in DIMENSIONS]
            pairs = zip(choosers[process], values, strict=True)
            chosen = tuple(None if who is None or value is None else who.label(value) for who, value in pairs)
            made[process[0], model.name].add((process, labels, chosen))
        return {key: len(found) for key, found in made.items()}


def _rows(found: summaries.Metrics, replay: Replay, choices: Choices, known: dict[str, int]) -> Iterator[Row]:
    replayed = replay.series()
    for service, metrics in found.services().items():
        for metric in metrics:
            model = TAKING.get(metric.name)
            if model is None:
                continue
            sets: dict[str, set[Any]] = defaultdict(set)
            for process, labels in metric.series:
                plain = tuple(pair for pair in labels if pair[0] not in model.dimensions)
                sets[process].add(plain)
            now = sum(map(len, sets.values()))
            most = max(_most(len(plain), choices, known) for plain in sets.values())
            told = replayed.get((service, metric.name))
            yield Row(service, metric.name, len(sets), now, told, most, model.limit)


def _most(sets: int, choices: Choices, known: dict[str, int]) -> int:
    """Return the most series of a process that has `sets` without dimensions: each with every label, and without."""
    for name, choice in choices.items():
        if choice != "off":
            own = own_at_most(choice, known[name])
            sets *= own + 1 + (own < known[name])  # those of no project, and `_other`
    return sets


def own_at_most(choice: str, known: int) -> int:
    """Return how many of `known` projects can get series of their own in a process."""
    kind, _, number = choice.partition(":")
    if kind == "top":
        return min(choosing.ROOM * int(number), known)
    if kind == "all":
        return min(int(number or settings.MOST_VALUES), known)
    return len(choice.split("|"))


def render(rows: list[Row], choices: Choices, screen: Terminal) -> Iterator[str]:
    """Yield the lines of the table."""
    yield screen.style(", ".join(f"{name}={choice}" for name, choice in choices.items()) or "off", "bold")
    room = max(40, screen.width - 5 * (_WIDTH + 1))
    titles = ("processes", "series now", "replayed", "at most", "limit")
    yield screen.style(fit("", room) + "".join(f" {title:>{_WIDTH}}" for title in titles), "dim")
    for row in rows:
        figures = (row.processes, row.now, row.replayed, min(row.most, row.limit + 1) * row.processes, row.limit)
        cells = "".join(f" {'' if figure is None else format(figure, ','):>{_WIDTH}}" for figure in figures)
        yield fit(f"{clean(row.service)}  {clean(row.metric)}", room) + cells
    over = [row for row in rows if row.most > row.limit]
    for row in over:
        yield screen.style(
            f"{clean(row.service)}: up to {row.most:,} in a process are more than the limit of {row.limit:,}: beyond "
            f"three quarters of it more projects are added up in _other. Choose fewer.",
            "red",
        )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
