# SPDX-License-Identifier: Apache-2.0
"""The instruments of this process: one object for each name of the registry, and the callbacks of observable ones."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, TypeVar

from otel_openstack import levels
from otel_openstack.metrics import cells, choosing, sleeping
from otel_openstack.metrics.instruments import CLASSES, OVERFLOW, Instrument, Label, Labels, Observer, Snapshot
from otel_openstack.patching.guard import Guard, guard
from otel_openstack.runtime import notices, originals, process
from otel_openstack.semconv import instruments as registry
from otel_openstack.semconv.model import Instrument as Model

Observation = tuple[float, tuple[Label, ...]]
T = TypeVar("T")
Callback = Callable[[], Iterable[Observation]]

_instruments: dict[str, Instrument] = {}
_others: dict[str, Model] = {}  # of developers' registries
_adopters: weakref.WeakKeyDictionary[Any, Callable[[Any, Instrument], None]] = weakref.WeakKeyDictionary()
_lock = originals.allocate_lock()
_start_time = 0


class Observable(Instrument):
    """An instrument that is read at collection, by callbacks."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.prompts = False
        self.callbacks: list[tuple[Callback, Guard]] = []
        self.failures = 0
        """How often a callback raised."""
        self.complaints: list[str] = []
        """What to say about failures, once no lock is held."""

    def snapshot(self, observer: Observer | None = None) -> Snapshot:
        """Call the callbacks; what several of them say of the same labels is added up (of a gauge the last counts)."""
        if not self.enabled or self.target is not None:
            return []
        found: dict[Labels, cells.Cell] = {}
        for callback, watch in tuple(self.callbacks):
            self._read(callback, watch, found)
        return list(found.items())

    def observations(self) -> list[tuple[float, dict[str, Any]]]:
        """Return the values with their attributes, as the SDK wants them where it takes our place."""
        found: dict[Labels, cells.Cell] = {}
        for callback, watch in tuple(self.callbacks):
            self._read(callback, watch, found)
        return [(cell[cells.VALUE], self.attributes(labels)) for labels, cell in found.items()]

    def _read(self, callback: Callback, watch: Guard, found: dict[Labels, cells.Cell]) -> None:
        if not watch.on:
            return
        try:
            for value, given in callback():
                if isfinite(value):
                    self._merge(found, self.canonical(given), value)
        except OSError as error:  # of the system, as with no file descriptor left: it may recover, so it is never off
            self.failures += 1
            if not watch.failures:
                watch.failures = 1
                self.complaints.append(f"{self.name} cannot be read: {type(error).__name__}: {error}")
        except Exception as error:
            self.failures += 1
            self.complaints += watch.note("read", error)

    def _merge(self, found: dict[Labels, cells.Cell], labels: Labels, value: float) -> None:
        if labels not in found and len(found) >= self.model.limit:
            labels = OVERFLOW
        cell = found.setdefault(labels, [0, 0])
        self.kind.merge(cell, [value, cell[cells.TIMES] + 1])


class Handle:
    """What `observe` returns."""

    def __init__(self, instrument: Observable, entry: tuple[Callback, Guard]) -> None:
        self._instrument = instrument
        self._entry = entry

    def close(self) -> None:
        """Stop reading this callback. A second call does nothing."""
        if self._entry in self._instrument.callbacks:
            self._instrument.callbacks.remove(self._entry)


def describe(model: Model) -> None:
    """Take the description of an instrument that our own registry does not have.

    Raises:
        ValueError: our own registry has it.
    """
    if model.name in registry.INSTRUMENTS:
        raise ValueError(f"{model.name} is an instrument of otel-openstack itself")
    _others[model.name] = model


def known(name: str) -> Model | None:
    """Return what is known of the instrument `name`."""
    return registry.INSTRUMENTS.get(name) or _others.get(name)


def find(name: str, kind: str) -> Instrument:
    """Return the instrument `name`, made at its first use.

    Raises:
        ValueError: the registry has no such instrument, or has it as another kind or as an observable one.
    """
    instrument = _instruments.get(name)
    if instrument is None:
        instrument = _make(name, kind, observable=False)
    if instrument.model.kind != kind or isinstance(instrument, Observable):
        raise ValueError(_refusal(name, kind))
    return instrument


def observe(name: str, callback: Callback) -> Handle:
    """Read the instrument `name` by calling `callback` at every collection, in the export thread.

    Args:
        name: an observable instrument of the registry.
        callback: returns pairs of a value and its labels; reads without locks, and leaves out what cannot be read.

    Raises:
        ValueError: the registry has no such instrument, or it is recorded into and not observed.
    """
    instrument = _instruments.get(name)
    if instrument is None:
        instrument = _make(name, None, observable=True)
    if not isinstance(instrument, Observable):
        raise ValueError(f"{name} is recorded into, not observed")  # noqa: TRY004 wrong name, not wrong type
    # By module: of two that read one instrument, a failing one does not switch the other off.
    entry = callback, guard(f"{name} ({callback.__module__.rpartition('.')[2]})")
    instrument.callbacks.append(entry)
    return Handle(instrument, entry)


def instruments() -> list[Instrument]:
    """Return all instruments in use."""
    return list(_instruments.values())


def adopt(owner: T, method: Callable[[T, Instrument], None]) -> None:
    """Call `method(owner, instrument)` for every instrument there is, and for each new one, while `owner` lives."""
    with _lock:
        _adopters[owner] = method
        known = instruments()
    for instrument in known:
        method(owner, instrument)


def start_time_unix_nano() -> int:
    """Return since when the instruments count, in ns since the epoch."""
    return max(_start_time, process.start_time_unix_nano())


def reset() -> None:
    """Forget everything recorded, and read the levels again. For tests."""
    global _start_time
    _start_time = originals.time_ns()
    choosing.reset()
    for instrument in instruments():
        if instrument.target is not None:
            instrument.redirect(None)
        instrument.reset()
        instrument.relevel()


def release() -> None:
    """Forget everything recorded and let go of the memory, while the process goes on; the next record starts it."""
    sleeping.forget()
    choosing.reset()
    for instrument in instruments():
        instrument.release()
        instrument.lull()


def complain() -> None:
    """Say what went wrong while instruments were read."""
    for instrument in instruments():
        if isinstance(instrument, Observable) and instrument.complaints:
            complaints, instrument.complaints = instrument.complaints, []
            for complaint in complaints:
                notices.say("warning", complaint)


def _make(name: str, kind: str | None, *, observable: bool) -> Instrument:
    model = known(name)
    if model is None or model.observable is not observable or (kind is not None and model.kind != kind):
        raise ValueError(_refusal(name, kind or "observable"))
    with _lock:
        made = _instruments.get(name)
        if made is None:
            made = _instruments[name] = Observable(model) if observable else CLASSES[model.kind](model)
        adopters = tuple(_adopters.items())
    for owner, method in adopters:
        method(owner, made)
    return made


def _refusal(name: str, kind: str) -> str:
    model = known(name)
    if model is not None:
        what = f"an observable {model.kind}" if model.observable else f"a {model.kind}"
        return f"{name} is {what} in the registry, not a {kind}"
    import difflib  # for a mistake only

    near = difflib.get_close_matches(name, registry.INSTRUMENTS, n=1, cutoff=0.0)
    return f"the registry has no instrument {name}; the nearest is {near[0] if near else 'none'}"


def _in_child() -> None:
    global _lock
    _lock = originals.allocate_lock()
    sleeping.forget()
    for instrument in instruments():
        instrument.reset()


def _relevel() -> None:
    for instrument in instruments():
        instrument.relevel()


process.on_child(_in_child)
levels.on_move(_relevel)
