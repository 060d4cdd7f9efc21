# SPDX-License-Identifier: Apache-2.0
"""Spans -> a tree -> what a person can read: repeated siblings folded, call and answer in one line.

Nothing here recurses: a trace may be a chain of 20,000 spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from otel_openstack.analysis.spans import Span

_ANSWERED_BY = {"CLIENT": "SERVER", "PRODUCER": "CONSUMER"}


@dataclass(slots=True, eq=False)
class Node:
    """A span with its children in the order of their start."""

    span: Span
    children: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Tree:
    """A trace. `orphans` are the subtrees whose parent was not recorded, by that parent's id."""

    roots: list[Node]
    orphans: dict[str, list[Node]]
    spans: list[Span]
    duplicates: int
    start: int
    end: int

    @property
    def duration(self) -> int:
        """Nanoseconds from the first start to the last end."""
        return self.end - self.start


def build(spans: Iterable[Span]) -> Tree:
    """Build the tree of one trace. A span recorded twice is taken once; a loop of parents is cut."""
    nodes: dict[str, Node] = {}
    duplicates = 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        duplicates += span.span_id in nodes
        nodes.setdefault(span.span_id, Node(span))
    roots, orphans = _connect(nodes)
    kept = [node.span for node in nodes.values()]
    start = min((span.start for span in kept), default=0)
    return Tree(roots, orphans, kept, duplicates, start, max((span.end for span in kept), default=start))


def _connect(nodes: dict[str, Node]) -> tuple[list[Node], dict[str, list[Node]]]:
    roots: list[Node] = []
    orphans: dict[str, list[Node]] = {}
    looped = _loops(nodes)
    for node in nodes.values():
        parent = nodes.get(node.span.parent_id)
        if not node.span.parent_id:
            roots.append(node)
        elif parent is None or node.span.span_id in looped:
            orphans.setdefault(node.span.parent_id, []).append(node)
        else:
            parent.children.append(node)
    return roots, orphans


def _loops(nodes: dict[str, Node]) -> set[str]:
    """Return one span id of every loop of parents."""
    seen: dict[str, str] = {}
    looped: set[str] = set()
    for start in nodes:
        at = start
        while at in nodes and at not in seen:
            seen[at] = start
            at = nodes[at].span.parent_id
        if at in nodes and seen[at] == start:
            looped.add(at)
    return looped


@dataclass(slots=True, eq=False)
class Group:
    """Siblings of one service, name and kind (or one span alone), with the groups of all their children merged."""

    service: str
    name: str
    kind: str
    spans: list[Span]
    children: list[Group] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Nanoseconds, summed over the spans."""
        return sum(span.duration for span in self.spans)

    @property
    def errors(self) -> list[str]:
        """The types of the errors, each once."""
        return list(dict.fromkeys(span.error_type for span in self.spans if span.error))


def fold(nodes: list[Node], *, repeated: bool = True) -> list[Group]:
    """Return the groups of these siblings; with `repeated=False` every span is a group of its own."""
    top: list[Group] = []
    work = [(nodes, top)]
    while work:
        siblings, out = work.pop()
        groups: dict[tuple[str, ...], tuple[Group, list[Node]]] = {}
        for node in siblings:
            span = node.span
            key = (span.service, span.name, span.kind) if repeated else (span.span_id,)
            group, children = groups.setdefault(key, (Group(span.service, span.name, span.kind, []), []))
            group.spans.append(span)
            children.extend(node.children)
        for group, children in sorted(groups.values(), key=lambda pair: min(span.start for span in pair[0].spans)):
            out.append(group)
            work.append((children, group.children))
    return top


@dataclass(slots=True, eq=False)
class Row:
    """A line: a group, or a call (`caller`) and the group that answered it. `hidden` spans below it are not shown."""

    group: Group
    caller: Group | None
    depth: int
    parent: Row | None
    last: bool = True
    hidden: int = 0

    @property
    def children(self) -> list[Group]:
        return self.group.children

    @property
    def spans(self) -> list[Span]:
        return self.caller.spans + self.group.spans if self.caller else self.group.spans

    @property
    def shown(self) -> Group:
        """The group whose duration is the line's: who called waits for the answer; who cast does not."""
        return self.caller if self.caller and self.caller.kind == "CLIENT" else self.group

    @property
    def errors(self) -> list[str]:
        return list(dict.fromkeys((self.caller.errors if self.caller else []) + self.group.errors))


def rows(groups: list[Group], limit: int = 0) -> list[Row]:
    """Return the lines, top down. Beyond `limit` (0: none) the shortest without error are counted above only."""
    every = list(_walk(groups))
    return _shorten(every, limit) if limit and len(every) > limit else every


def _walk(groups: list[Group]) -> Iterator[Row]:
    stack = [_row(group, 0, None, last=group is groups[-1]) for group in reversed(groups)]
    while stack:
        row = stack.pop()
        yield row
        below = row.children
        stack.extend(_row(group, row.depth + 1, row, last=group is below[-1]) for group in reversed(below))


def _row(group: Group, depth: int, parent: Row | None, *, last: bool) -> Row:
    answer = group.children[0] if len(group.children) == 1 else None
    if answer and answer.kind == _ANSWERED_BY.get(group.kind) and len(answer.spans) == len(group.spans):
        return Row(answer, group, depth, parent, last)
    return Row(group, None, depth, parent, last)


def _shorten(every: list[Row], limit: int) -> list[Row]:
    weight: dict[Row, float] = {}
    for row in reversed(every):  # children first: no parent weighs less than its child, so none is cut off from it
        own = float("inf") if row.errors else row.shown.total
        weight[row] = max(own, weight.get(row, 0))
        if row.parent:
            weight[row.parent] = max(weight[row], weight.get(row.parent, 0))
    keep = set(sorted(every, key=lambda row: (-weight[row], row.depth))[:limit])
    previous: dict[Row | None, Row] = {}
    for row in every:
        if row in keep:
            row.last = False
            previous[row.parent] = row
        else:
            above = row.parent
            while above and above not in keep:
                above = above.parent
            if above:
                above.hidden += len(row.spans)
    for row in previous.values():
        row.last = True
    return [row for row in every if row in keep]


def self_times(tree: Tree) -> dict[str, int]:
    """Return per service the nanoseconds in its spans that none of their children covers, most first."""
    busy: dict[str, int] = {}
    stack = tree.roots + [node for nodes in tree.orphans.values() for node in nodes]
    while stack:
        node = stack.pop()
        stack.extend(node.children)
        span = node.span
        busy[span.service] = busy.get(span.service, 0) + span.duration - _covered(span, node.children)
    return dict(sorted(busy.items(), key=lambda item: -item[1]))


def _covered(span: Span, children: list[Node]) -> int:
    covered, at = 0, span.start
    for child in children:  # in the order of their start
        start, end = max(at, child.span.start), min(span.end, child.span.end)
        if end > start:
            covered += end - start
            at = end
    return covered
