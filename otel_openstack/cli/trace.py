# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack trace`: one trace as a tree."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

from otel_openstack.analysis import tree as trees
from otel_openstack.analysis.spans import Index, Trace
from otel_openstack.analysis.totals import PARTS, Totals, totals
from otel_openstack.analysis.tree import Row, Tree
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.reading import add_path, nothing, open_recording, requests, tell_problems
from otel_openstack.cli.terminal import (
    Terminal,
    clean,
    columns_of,
    count,
    duration,
    fit,
    seconds,
    service_style,
    terminal,
)

DEFAULT_LINES = 90
_DURATION = 8
_DEEPEST = 24
_BRANCHES = {True: ("├ ", "└ ", "│ ", "  "), False: ("| ", "` ", "| ", "  ")}
_MARKS = {True: (" ", "╸", "╺", "━"), False: (" ", "-", "-", "=")}
_LISTED = 40
_SEPARATOR = {True: " \u00b7 ", False: ", "}
_TIMES = "\u00d7"
_FAILED = {True: "\u2717", False: "!"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show one trace as a tree: service, operation, duration, when it ran, and what it spent in databases and "
        "caches. A call and its answer share a line (the caller's duration), repeated siblings too (\u00d711, "
        "their sum). Without a selector: --latest, which is the newest trace that somebody asked for (no periodic, "
        "looping or start-up work) and that more than one service took part in; if there is none, the newest one."
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--trace-id", metavar="ID", help="the trace with this id, or the only one that begins so")
    which.add_argument(
        "--request-id", metavar="ID", help="the trace that served this request id (req-…, local or global)"
    )
    which.add_argument("--latest", action="store_true", help="the newest one, see above")
    which.add_argument("--list", action="store_true", help="list the traces instead, newest first")
    parser.add_argument("--unfold", action="store_true", help="a line for every span, none folded or left out")
    parser.add_argument(
        "--lines", metavar="N", type=int, default=DEFAULT_LINES,
        help="leave out the shortest spans beyond N lines; 0: none (default: %(default)s)",
    )  # fmt: skip
    add_path(parser)


def run(options: argparse.Namespace) -> int:
    recording = open_recording(options.path)
    index = Index(recording)
    for request in requests(recording):
        index.add(request)
    if not index.traces:
        raise nothing(recording, "spans")
    tell_problems(recording)
    screen = terminal()
    if options.list:
        _print_list(index, screen)
        return 0
    trace, others = _choose(index, options)
    tree = trees.build(index.load([trace])[trace.trace_id])
    limit = 0 if options.unfold else max(0, options.lines)
    for line in render(tree, screen, repeated=not options.unfold, limit=limit):
        print(line)
    for other in others[:_LISTED]:
        name = f"{clean(other.service)}  {clean(other.name)}"
        print(screen.style(f"also: --trace-id {other.trace_id}  {_plural(other.spans, 'span')}  {name}", "dim"))
    return 0


def _choose(index: Index, options: argparse.Namespace) -> tuple[Trace, list[Trace]]:
    """Return the trace to show and the others that match too."""
    hint = f"`otel-openstack trace --list {options.path}` shows what there is"
    if options.trace_id is not None:
        found = index.with_prefix(options.trace_id)
        if not found:
            raise CommandError(f"no trace {options.trace_id} in {options.path}; {hint}")
        if len(found) > 1:
            raise CommandError(
                f"{len(found)} traces begin with {options.trace_id or 'nothing'}: give more of the id; {hint}"
            )
        return found[0], []
    if options.request_id is not None:
        found = index.with_request(options.request_id)
        if not found:
            raise CommandError(f"no span with request id {options.request_id} in {options.path}; {hint}")
        return found[0], found[1:]
    latest = index.latest()
    if latest is None:
        raise CommandError(f"no trace in {options.path}")
    return latest, []


def render(tree: Tree, screen: Terminal, *, repeated: bool = True, limit: int = 0) -> list[str]:
    """Return the lines of a trace. Nothing recorded gets into them unescaped."""
    colours: dict[str, str] = {}
    rows = trees.rows(trees.fold(tree.roots, repeated=repeated), limit)
    out = [*_head(tree, screen), "", *_table(rows, tree, screen, colours)]
    for parent, nodes in list(tree.orphans.items())[:_LISTED]:
        orphans = trees.rows(trees.fold(nodes, repeated=repeated), limit)
        out += [
            "",
            screen.style(f"Parent span {parent} was not recorded:", "red"),
            *_table(orphans, tree, screen, colours),
        ]
    return [*out, "", *_foot(tree, screen, colours)]


def _head(tree: Tree, screen: Terminal) -> list[str]:
    first = min(tree.spans, key=lambda span: (bool(span.parent_id), span.start))
    services = len({span.service for span in tree.spans})
    errors = sum(span.error for span in tree.spans)
    facts = [
        duration(tree.duration), _plural(len(tree.spans), "span"), _plural(services, "service"),
        _plural(errors, "error"), f"started {moment(tree.start)}",
    ]  # fmt: skip
    if tree.duplicates:
        facts.append(f"{_plural(tree.duplicates, 'span')} recorded twice")
    if tree.orphans:
        facts.append(_plural(len(tree.orphans), "missing parent"))
    separator = _SEPARATOR[screen.unicode]
    title = f"{clean(first.service)}  {clean(first.name)}"
    return [
        screen.style(fit(title, screen.width).rstrip(), "bold"),
        screen.style(f"trace {first.trace_id}", "dim"),
        separator.join(facts),
    ]


def _plural(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'s' * (number != 1)}"


def _table(rows: list[Row], tree: Tree, screen: Terminal, colours: dict[str, str]) -> list[str]:
    labels = [_label(row, screen) for row in rows]
    notes = [_notes(row, screen) for row in rows]
    separator = _SEPARATOR[screen.unicode]
    longest_note = max((columns_of(separator.join(note)) for note in notes), default=0)
    note_width = min(longest_note, screen.width * 3 // 10)
    longest_label = max(
        (columns_of(prefix + service + name + times) + 2 for prefix, service, name, times in labels), default=0
    )
    label_width = min(longest_label, screen.width - _DURATION - note_width - 6 - max(12, screen.width // 7))
    bar_width = screen.width - label_width - _DURATION - note_width - 6
    lines = []
    for row, label, note in zip(rows, labels, notes, strict=True):
        colour = service_style(row.group.service, colours)
        lines.append(
            _paint_label(label, label_width, colour, screen)
            + " " + fit(duration(row.shown.total), _DURATION, right=True)
            + "  " + screen.style(_bar(row, tree, bar_width, screen), "red" if row.errors else colour)
            + "  " + _paint_notes(note, bool(row.errors), note_width, screen)
        )  # fmt: skip
    return [line.rstrip() for line in lines]


def _label(row: Row, screen: Terminal) -> tuple[str, str, str, str]:
    """Return (branches, service, operation, how often)."""
    last, middle = (_BRANCHES[screen.unicode][i] for i in (1, 0))
    down, blank = _BRANCHES[screen.unicode][2:]
    parts: list[str] = []
    at = row
    while at.parent is not None and len(parts) < _DEEPEST:
        parts.append((last if at.last else middle) if at is row else (blank if at.last else down))
        at = at.parent
    times = f" {_TIMES if screen.unicode else 'x'}{len(row.group.spans)}" if len(row.group.spans) > 1 else ""
    return "".join(reversed(parts)), clean(row.group.service), clean(row.group.name), times


def _paint_label(label: tuple[str, str, str, str], width: int, colour: str, screen: Terminal) -> str:
    branches, service, name, times = label
    text = fit(f"{branches}{service}  {name}", width - columns_of(times)).rstrip()
    filled = fit(text + times, width)
    tail, rest = filled[: len(branches)], filled[len(branches) :]
    painted, plain = rest[: len(service)], rest[len(service) :]
    return screen.style(tail, "dim") + screen.style(painted, colour) + plain


def _notes(row: Row, screen: Terminal) -> list[str]:
    """Return what there is to say beside the bar, the errors first, then what matters most."""
    spans = row.shown.spans
    sums = totals(row.spans)
    errors = ", ".join(clean(error) for error in row.errors)
    failed = sum(span.error for span in spans) or sum(span.error for span in row.spans)
    share = f"{failed} of {len(spans)}: " if len(spans) > 1 else ""
    answered = row.group.total if row.caller and row.caller.kind == "CLIENT" else row.shown.total
    slow_way = row.shown.total - answered > max(row.shown.total // 4, 5_000_000)
    notes = (
        f"{_FAILED[screen.unicode]} {share}{errors}" if errors else "",
        _part(sums, "db"),
        f"queued {seconds(sums.queue_wait)}" if sums.queue_wait > 0.001 else "",  # noqa: PLR2004 - less explains nothing
        f"server {duration(answered)}" if slow_way else "",
        f"+{row.hidden} shorter spans" if row.hidden else "",
        f"longest {duration(max(span.duration for span in spans))}" if len(spans) > 1 else "",
        _part(sums, "cache"),
    )
    return [note for note in notes if note]


def _part(sums: Totals, part: str) -> str:
    return f"{part} {count(sums.calls[part])} in {seconds(sums.seconds[part])}" if part in sums.calls else ""


def _paint_notes(notes: list[str], failed: bool, width: int, screen: Terminal) -> str:
    """Return as many notes as there is room for; the first in any case, cut if it must be."""
    separator = _SEPARATOR[screen.unicode]
    used = columns_of(notes[0]) if notes else 0
    kept = notes[:1]
    for note in notes[1:]:
        if used + len(separator) + columns_of(note) <= width:
            kept.append(note)
            used += len(separator) + columns_of(note)
    if failed:
        first = fit(kept[0], width).rstrip()
        return screen.style(first, "red") + screen.style("".join(separator + note for note in kept[1:]), "dim")
    return screen.style(fit(separator.join(kept), width).rstrip(), "dim")


def _bar(row: Row, tree: Tree, width: int, screen: Terminal) -> str:
    """Draw when the row's spans ran, in half columns of the trace's time; every span is at least one of them."""
    if width < 1:
        return ""
    halves = bytearray(2 * width)
    scale = 2 * width / max(1, tree.duration)
    for span in row.shown.spans:
        first = min(int((span.start - tree.start) * scale), 2 * width - 1)
        after = max(first + 1, min(round((span.end - tree.start) * scale), 2 * width))
        halves[first:after] = b"\1" * (after - first)
    empty, left, right, full = _MARKS[screen.unicode]
    glyphs = {(0, 0): empty, (1, 0): left, (0, 1): right, (1, 1): full}
    return "".join(glyphs[halves[i], halves[i + 1]] for i in range(0, 2 * width, 2))


def _foot(tree: Tree, screen: Terminal, colours: dict[str, str]) -> list[str]:
    """Where the time went: per service the time in its own spans, and all that they say of databases and the like."""
    busy = trees.self_times(tree)
    most = max(busy.values(), default=0) or 1
    width = max((columns_of(clean(service)) for service in busy), default=0)
    width = min(max(width, len("service")), 40)
    out = [
        screen.style(
            f"{fit('service', width)}  {'own time':>8}  {'spans':>5}  {'':20}  in databases, caches, RPC, HTTP",
            "dim",
        )
    ]
    for service, nanoseconds in list(busy.items())[:_LISTED]:
        spans = [span for span in tree.spans if span.service == service]
        sums = totals(spans)
        parts = [
            f"{part} {count(sums.calls[part])} in {seconds(sums.seconds[part])}" for part in PARTS if part in sums.calls
        ]
        colour = service_style(service, colours)
        bar = _MARKS[screen.unicode][3] * max(1, round(20 * nanoseconds / most)) if nanoseconds else ""
        out.append(
            f"{screen.style(fit(clean(service), width), colour)}  {duration(nanoseconds):>8}  {len(spans):>5}  "
            f"{screen.style(fit(bar, 20), colour)}  {', '.join(parts)}".rstrip()
        )
    slowest = totals(tree.spans).slowest
    if slowest[0]:
        out += ["", fit(f"slowest statement: {seconds(slowest[0])}  {clean(slowest[1])}", screen.width).rstrip()]
    return out


def _print_list(index: Index, screen: Terminal) -> None:
    colours: dict[str, str] = {}
    print(
        screen.style(
            f"{'started':19}  {'trace id':32}  {'duration':>8} {'spans':>6} {'services':>8} {'errors':>6}  root", "dim"
        )
    )
    for trace in index.newest_first():
        errors = f"{trace.errors:>6}"
        name = fit(clean(trace.name), max(10, screen.width - 90 - columns_of(clean(trace.service)))).rstrip()
        print(
            f"{moment(trace.start)[:19]}  {trace.trace_id}  {duration(trace.end - trace.start):>8} {trace.spans:>6} "
            f"{len(trace.services):>8} {screen.style(errors, 'red') if trace.errors else errors}  "
            f"{screen.style(clean(trace.service), service_style(trace.service, colours))} {name}"
            f"{'' if trace.has_root else '  (root not recorded)'}"
        )


def moment(nanoseconds: int) -> str:
    """Return a time of day in UTC."""
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds} ns"
