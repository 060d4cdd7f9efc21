# SPDX-License-Identifier: Apache-2.0
"""The decorators as context managers: `with timed("myservice.build.duration") as block:`.

A block has no arguments and no result, so expressions can only begin with `context`; what the block itself knows is
given as `values`, or to `block.set` once it is known. It is kept in the context, so one measurement may be entered by
many threads, green threads and tasks at a time. Only generators that take turns in one thread cannot share one.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from otel_openstack import levels
from otel_openstack.developer import problems, reading
from otel_openstack.developer.binding import Bound, Measured, Told, Traced, bind, numeric
from otel_openstack.developer.expressions import CONTEXT, Expression, reader
from otel_openstack.developer.parts import Part
from otel_openstack.patching import Guard, guard
from otel_openstack.patching.patch import release
from otel_openstack.runtime import process, switch

MOST_KNOWN = 1000


class Block:
    """A block under way."""

    __slots__ = ("_amount", "_bound", "_operation", "_start", "_values")

    def __init__(self, bound: Bound | None, values: dict[str, Any]) -> None:
        self._bound = bound
        self._values = values
        self._amount: float | None = None
        self._operation: Any = None
        self._start = 0.0

    def set(self, key: str, value: Any) -> None:
        """Set an attribute: a text, number or flag; anything else is left out."""
        self._values[key] = reading.bounded(value)

    def add(self, number: float) -> None:
        """Count `number` instead of 1; what is added in several steps adds up."""
        self._amount = (self._amount or 0) + number

    def begin(self) -> None:
        """Begin; may fail."""
        bound = self._bound
        if isinstance(bound, Traced):
            self._operation = bound.begin_with(self._values)
        elif isinstance(bound, Told):
            bound.start_with(self._values)
        self._start = perf_counter()

    def finish(self, error: BaseException | None) -> None:
        """End; may fail."""
        elapsed, bound = perf_counter() - self._start, self._bound
        if isinstance(bound, Traced):
            self._operation.finish(error, {key: value for key, value in self._values.items() if value is not None})
        elif isinstance(bound, Told):
            bound.finish_with(elapsed, error, self._values)
        elif isinstance(bound, Measured):
            bound.record_with(elapsed if self._amount is None else numeric(self._amount), error, self._values)

    def let_go(self) -> None:
        """See `patching.patch.release`."""
        if self._operation is not None:
            release(self._operation)


Open = tuple[Any, Block, "Guard", "Open"] | None
_open: ContextVar[Any] = ContextVar("otel_openstack_blocks", default=None)
_bounds: dict[tuple[Any, ...], tuple[Bound | None, Guard]] = {}
NOTHING = Block(None, {})


def enter(measurement: Any, part: Part) -> Block:
    """Begin a block for `measurement`."""
    bound, watch = _bound(part)
    block = Block(None, {})
    if bound is None or not bound.active() or not watch.on:
        if switch.off:
            switch.look()
    else:
        with watch:
            process.ensure()
            begun = Block(bound, {**_context(bound), **part.values})
            begun.begin()
            block = begun  # one that could not begin has no end
    _open.set((measurement, block, watch, _open.get()))
    return block


def leave(measurement: Any, error: BaseException | None) -> None:
    """End the last block that `measurement` has begun in this context."""
    block, watch = _taken(measurement)
    if block is None or block._bound is None:
        return
    try:
        block.finish(None if isinstance(error, GeneratorExit) else error)
    except BaseException as failure:
        block.let_go()
        if not isinstance(failure, Exception):
            raise
        watch.failed("finish", failure)


def _taken(measurement: Any) -> tuple[Block | None, Any]:
    """Take the block off what is open: the last one, unless generators have left theirs out of order."""
    last = _open.get()
    passed = []
    while last is not None and last[0] is not measurement:
        passed.append(last)
        last = last[3]
    if last is None:
        return None, None
    rest = last[3]
    for measured, block, watch, _ in reversed(passed):
        rest = (measured, block, watch, rest)
    _open.set(rest)
    return last[1], last[2]


def _bound(part: Part) -> tuple[Bound | None, Guard]:
    """Bind a part once for all blocks that say the same."""
    key = part.key()
    known = _bounds.get(key)
    if known is None:
        if len(_bounds) >= MOST_KNOWN:
            _bounds.clear()
        bound = None if levels.nothing_possible() else bind(part)
        for expression in () if bound is None else (*bound.inputs, *bound.outputs):
            if expression.root != CONTEXT:
                problems.report(f"{part.name}: {expression.text}: a block has no {expression.root}; give it as values")
        known = _bounds[key] = (bound, guard(f"block {part.name}"))
    return known


def _context(bound: Bound) -> dict[str, Any]:
    found = {}
    for key, expression in zip(bound.keys, bound.inputs, strict=False):
        if isinstance(expression, Expression) and expression.root == CONTEXT:
            found[key] = reader(expression)(reading.request_context())
    return found


def forget() -> None:
    """Forget what is bound, for tests."""
    _bounds.clear()
