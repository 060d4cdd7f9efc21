# SPDX-License-Identifier: Apache-2.0
"""Instruments: made from the registry, bound to labels once, recorded into without a lock."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import Any, Protocol

from otel_openstack import levels, scrub
from otel_openstack.metrics import cells, choosing, sleeping
from otel_openstack.metrics.cells import Cell, Record
from otel_openstack.runtime import originals, process
from otel_openstack.semconv.model import Instrument as Model

Label = str | bool | int | float | None
Labels = tuple[Label, ...]
Snapshot = list[tuple[Labels, Cell]]

PROCESS_LIMIT = 4000
"""The most series of all instruments together, beside one overflow series for each instrument."""
LONGEST_LABEL = 512
"""Characters of a label."""
ERROR_TYPES_LIMIT = 30
ERROR_TYPE = "error.type"
OTHER = "_OTHER"
OVERFLOW: Labels = ("otel.metric.overflow",)
"""The labels of the series that takes what is beyond a limit; its one attribute has this name and is true."""

# Which group's level governs an instrument: the first prefix that fits, else the general level.
GROUPS = (
    ("http.", "http"),
    ("openstack.http.", "http"),
    ("openstack.wsgi.", "http"),
    ("db.", "db"),
    ("openstack.db.", "db"),
    ("rpc.", "rpc"),
    ("openstack.rpc.", "rpc"),
    ("messaging.", "rpc"),
    ("openstack.messaging.", "rpc"),
    ("openstack.pool.", "pool"),
    ("openstack.event_loop.", "event_loop"),
    ("openstack.lock.", "lock"),
    ("openstack.periodic_task.", "periodic"),
)


class Target(Protocol):
    """An instrument of the OpenTelemetry API that takes the place of our cells."""

    def __call__(self, attributes: dict[str, Any]) -> Record:
        """Return a function that records a value with these attributes."""


class Observer(Protocol):
    """A reader's state that needs min and max since its own last collection."""

    def widen(self, labels: Labels, low: float, high: float) -> None:
        """Take note of a range of values seen."""

    def close_window(self) -> None:
        """Let what was seen so far belong to the collection that is under way."""


class Series:
    """One combination of labels of an instrument."""

    __slots__ = ("cell", "high", "labels", "low", "record", "shards")

    def __init__(self, labels: Labels, kind: cells.Kind, bounds: list[float], *, gil: bool) -> None:
        self.labels = labels
        self.low, self.high = inf, -inf
        self.cell = kind.empty(bounds)
        self.shards: Callable[[], list[cells.Shard]] | None = None
        if gil:
            self.record = kind.recorder(self.cell, bounds)
        else:
            self.record, self.shards = cells.sharded(kind, bounds)


class _Recorders(dict[Labels, Record]):
    """Labels as given -> the function that records; what is missing is made, within the limits."""

    __slots__ = ("_admit",)

    def __init__(self, admit: Callable[[Labels], Record]) -> None:
        super().__init__()
        self._admit = admit

    def __missing__(self, labels: Labels) -> Record:
        return self._admit(labels)


class Instrument:
    """What all kinds share. Made by `metrics.histogram` and its like only, one for each name of the registry."""

    enabled: bool
    """False where the level in force leaves this instrument out: it takes and shows nothing then."""
    possible: bool
    """False where the level can never come that far in this process: what it hands out does nothing."""
    record: Callable[..., None]
    """`record(value, *labels)`: find the series of these labels and record into it."""

    def __init__(self, model: Model, *, gil: bool = cells.GIL) -> None:
        self.model = model
        self.name = model.name
        self.attribute_names = model.attributes + model.dimensions
        """What the labels of a series are; those of dimensions are None where nobody chose them."""
        self.dimensions: tuple[str, ...] = ()
        """Attributes of the request that are chosen now: given behind the labels, or asked for at each record."""
        self.kind = cells.KINDS[model.kind]
        self.bounds: list[float] = [*cells.SENTINELS, *map(float, model.boundaries or ())]
        self.series: list[Series] = []
        self.epoch = 0
        """Grows when everything recorded is forgotten, so that readers forget their state too."""
        self.observers: weakref.WeakSet[Any] = weakref.WeakSet()
        """Those of the readers (`Observer`) that take delta histograms."""
        self.target: Target | None = None
        self.prompts = not model.name.startswith("otel_openstack.")
        """Whether a change of it is a reason to export; not of what every export changes."""
        self.sharded = not gil
        """Whether each thread has a cell of its own, see `cells.sharded`."""
        self._error_place = model.attributes.index(ERROR_TYPE) if ERROR_TYPE in model.attributes else None
        self._error_types: set[Label] = set()
        self._held = 0
        self._overflow: Record | None = None
        self._bound: set[Record] = set()
        self._recorders = _Recorders(self._admit)
        self._lock = originals.allocate_lock()
        self.relevel()

    def relevel(self) -> None:
        """Read the level again. What was bound before goes on counting, though nobody is shown it."""
        self.possible = levels.possible(self.model.level, group(self.name), self.name)
        self.enabled = levels.active(self.model.level, group(self.name), self.name)
        self._choosers = choosing.choosers(self.model.dimensions)
        self.dimensions = self.model.dimensions if self._choosers else ()
        self.record = self._dynamic() if self.enabled else _ignore

    def bind(self, *labels: Label) -> Record:
        """Return the function that records into the series of these labels.

        Labels stand in the order of the registry's attributes. None, or one left out at the end, is an absent one.

        Raises:
            ValueError: there are more labels than the instrument has attributes.
        """
        if not self.possible:
            return _ignore
        if self.dimensions:
            return lambda value: self.record(value, *labels)
        found = self._recorders[labels]
        self._bound.add(found)
        return found

    def _dynamic(self) -> Callable[..., None]:
        recorders = self._recorders
        if self.dimensions:
            size = len(self.model.attributes)
            return self._dimensioned(choosing.labelling(self.dimensions, self._choosers, size))

        def record(value: float, *labels: Label) -> None:
            recorders[labels](value)

        return record

    def _dimensioned(self, chosen: Callable[[Labels], Labels]) -> Callable[..., None]:
        recorders = self._recorders

        def record(value: float, *labels: Label) -> None:
            recorders[chosen(labels)](value)

        return record

    # Making series: at the first sight of labels only.

    def _admit(self, given: Labels) -> Record:
        with self._lock:
            labels = self._within_share(self.canonical(given))
            recorder = self._recorders.get(labels)
            if recorder is None:
                if not _budget.take(self._held, self.model.limit):
                    self._overflow = self._overflow or self._new(OVERFLOW)
                    return self._overflow
                self._held += 1
                recorder = self._recorders[labels] = self._new(labels)
            if len(self._recorders) < 2 * self.model.limit:
                self._recorders[given] = recorder
            return recorder

    def canonical(self, given: Labels) -> Labels:
        """Return the labels with all places filled, plain types, and the number of error types bounded."""
        missing = len(self.attribute_names) - len(given)
        if missing < 0:
            raise ValueError(f"{self.name} has the attributes {self.attribute_names}, not {len(given)} labels")
        labels = tuple(_clean(_plain(label)) for label in given) + (None,) * missing
        place = self._error_place
        if place is None or labels[place] is None or labels[place] in self._error_types:
            return labels
        if len(self._error_types) < ERROR_TYPES_LIMIT:
            self._error_types.add(labels[place])
            return labels
        return (*labels[:place], OTHER, *labels[place + 1 :])

    def attributes(self, labels: Labels) -> dict[str, Any]:
        """Return the attributes that labels stand for."""
        if labels is OVERFLOW:
            return {"otel.metric.overflow": True}
        pairs = zip(self.attribute_names, labels, strict=True)
        return {name: label for name, label in pairs if label is not None}

    def _within_share(self, labels: Labels) -> Labels:
        """Return labels that leave the last quarter of the series to what is of no project: it is told apart longer."""
        size = len(self.model.attributes)
        if not self.dimensions or labels in self._recorders or 4 * self._held < 3 * self.model.limit:
            return labels
        return (*labels[:size], *(label and choosing.OTHER for label in labels[size:]))

    def _new(self, labels: Labels) -> Record:
        series = Series(labels, self.kind, self.bounds, gil=not self.sharded)
        self.series.append(series)
        if self.target is not None:
            self._forward(series, self.target)
        else:
            self._lull(series)
        return series.record

    def _lull(self, series: Series) -> None:
        if not process.started() and series.shards is None and self.target is None:
            sleeping.lull(series.record, series.cell)

    def _forward(self, series: Series, target: Target) -> None:
        record = target(self.attributes(series.labels))
        if series.shards is None:
            sleeping.rouse(series.record, series.cell)
            cells.redirect(series.record, series.cell, record)
        else:  # what is bound already keeps its cells there
            series.record = record

    # Collecting: called by readers, off the hot path.

    def snapshot(self, observer: Observer | None = None) -> Snapshot:
        """Copy all that was recorded since the process, or the last `reset`, began; `observer` is who asks."""
        if self.target is not None or not self.enabled:
            return []
        with self._lock:
            take = bool(self.observers)
            if not self.sharded and not take:
                taken = [(series, series.cell[:]) for series in self.series]
            else:
                taken = [(series, self._copy(series, take=take)) for series in self.series]
            if take:
                self._share_extremes(taken)
            if observer is not None:
                observer.close_window()
        times = self.kind.times
        return [(series.labels, cell) for series, cell in taken if times(cell)]

    def _copy(self, series: Series, *, take: bool) -> Cell:
        if series.shards is None:
            return _copy(series.cell, take=take)
        total = self.kind.empty(self.bounds)
        for lock, _, cell in series.shards():
            with lock:
                part = _copy(cell, take=take)
            self.kind.merge(total, part)
        return total

    def _share_extremes(self, taken: list[tuple[Series, Cell]]) -> None:
        """Min and max were taken out of the cells: let every reader that wants its own window have them."""
        for series, cell in taken:
            for observer in self.observers:
                observer.widen(series.labels, cell[cells.LOW], cell[cells.HIGH])
            series.low = cell[cells.LOW] = min(series.low, cell[cells.LOW])
            series.high = cell[cells.HIGH] = max(series.high, cell[cells.HIGH])

    # Changing what is there: when a provider is built, a child begins, a test ends.

    def refine(self, boundaries: Iterable[float]) -> None:
        """Split buckets, so that a view's boundaries are bounds too. What is there already stays in the upper part."""
        with self._lock:
            old = self.bounds[cells.FIRST_BUCKET :]
            new = sorted({*old, *map(float, boundaries)})
            if new == old or self.target is not None:
                return
            places = [cells.FIRST_BUCKET + new.index(bound) for bound in old] + [cells.FIRST_BUCKET + len(new)]
            for cell in self._cells():
                wider = self.kind.empty([*cells.SENTINELS, *new])
                wider[: cells.FIRST_BUCKET] = cell[: cells.FIRST_BUCKET]
                for place, number in zip(places, cell[cells.FIRST_BUCKET :], strict=True):
                    wider[place] = number
                cell[:] = wider  # before the code, so that no index of a record under way is out of range
            self.bounds[cells.FIRST_BUCKET :] = new
            for series in self.series:
                if series.shards is None:
                    sleeping.rouse(series.record, series.cell)
            for recorder in self._writers():
                cells.rewrite(recorder, self.kind, self.bounds)
            self.lull()

    def redirect(self, target: Target | None) -> None:
        """Record into `target` from now on, through what was bound before as well; None goes back to our cells."""
        with self._lock:
            for series in self.series:
                if self.target is not None and series.shards is None:
                    cells.restore(series.record, series.cell, self.kind, self.bounds)
                if target is not None:
                    self._forward(series, target)
            self.target = target

    def reset(self) -> None:
        """Forget all that was recorded: in a forked child, where no other thread can be recording, and in tests."""
        self._lock = originals.allocate_lock()
        self._empty()
        self.lull()

    def lull(self) -> None:
        """Let the next record start the process, where it is not started."""
        for series in self.series:
            self._lull(series)

    def release(self) -> None:
        """Let go of the series that nobody holds bound, and begin the others anew, while threads go on recording."""
        with self._lock:
            kept = [series for series in self.series if series.record in self._bound]
            _budget.held -= self._held
            self._held = sum(series.labels is not OVERFLOW for series in kept)
            _budget.held += self._held
            self.series[:] = kept
            self._error_types.clear()
            self._recorders.clear()
            self._recorders.update({series.labels: series.record for series in kept if series.labels is not OVERFLOW})
            self._overflow = self._overflow if self._overflow in self._bound else None
            self._empty()

    def _empty(self) -> None:
        empty = self.kind.empty(self.bounds)
        for cell in self._cells():
            cell[: len(empty)] = empty  # a target may stand behind
        for series in self.series:
            series.low, series.high = inf, -inf
        for observer in self.observers:
            observer.close_window()
        self.epoch += 1

    def _cells(self) -> Iterator[Cell]:
        for series in self.series:
            if series.shards is None:
                yield series.cell
            else:
                yield from (cell for _, _, cell in series.shards())

    def _writers(self) -> Iterator[Record]:
        """Yield the functions that know where in a cell a bucket is."""
        for series in self.series:
            if series.shards is None:
                yield series.record
            else:
                yield from (write for _, write, _ in series.shards())


class Histogram(Instrument):
    """Values by bucket, with sum, min and max; negative values are left out."""


class Counter(Instrument):
    """A sum that only grows; negative values are left out."""

    @property
    def add(self) -> Callable[..., None]:
        """`add(value, *labels)`."""
        return self.record


class UpDownCounter(Instrument):
    """A sum that grows and shrinks."""

    @property
    def add(self) -> Callable[..., None]:
        """`add(value, *labels)`."""
        return self.record


class Gauge(Instrument):
    """The last value."""

    @property
    def set(self) -> Callable[..., None]:
        """`set(value, *labels)`."""
        return self.record


CLASSES: dict[str, type[Instrument]] = {
    "histogram": Histogram,
    "counter": Counter,
    "updowncounter": UpDownCounter,
    "gauge": Gauge,
}


class _Budget:
    """How many series this process holds. A child keeps them: what is bound stays bound."""

    def __init__(self) -> None:
        self.held = 0

    def take(self, held_by_instrument: int, limit: int) -> bool:
        if held_by_instrument >= limit or self.held >= PROCESS_LIMIT:
            return False
        self.held += 1
        return True


_budget = _Budget()


def group(name: str) -> str | None:
    """Return the group whose level governs the instrument `name`."""
    return next((group for prefix, group in GROUPS if name.startswith(prefix)), None)


def _clean(label: Label) -> Label:
    """Bound a text, and take out what is secret in it: the last guard, for labels are classes, routes and names."""
    return scrub.text(label[:LONGEST_LABEL]) if isinstance(label, str) else label


def _plain(label: Any) -> Label:
    """Give a label one of the types of attributes; an enum becomes its value."""
    if label is None or type(label) in (str, bool, int, float):
        return label  # type: ignore[no-any-return]
    for plain in (str, int, float):
        if isinstance(label, plain):
            return plain(getattr(label, "value", label))
    return str(getattr(label, "value", label))


def _copy(cell: Cell, *, take: bool) -> Cell:
    """Copy a cell; with `take`, let min and max begin anew. As in a recorder, nothing can come in between."""
    if take and len(cell) > cells.FIRST_BUCKET:
        copy = cell[:]
        cell[1] = inf
        cell[2] = -inf
        return copy
    return cell[:]


def _ignore(*_: Any) -> None:
    """Stands for everything that is below the level."""
