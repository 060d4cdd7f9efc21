# SPDX-License-Identifier: Apache-2.0
"""What the registry files of developers say of a name: its unit, its level, its attributes.

A file is noted when its package is imported and read when the first decorator asks, once in a process. What is wrong
with a group costs that group; the rest of the file counts.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from otel_openstack import conventions, settings
from otel_openstack.conventions import Group, RegistryError
from otel_openstack.developer import problems
from otel_openstack.semconv.model import Instrument

SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 60.0)
"""Boundaries of a histogram that no registry has."""


class Entry(NamedTuple):
    """What is known of a name.

    attributes: in the order of the file; None takes any.
    model: of a metric.
    span_kind: of a span, such as `internal`.
    usable: False of a name whose description is wrong: it is not measured.
    """

    name: str
    level: str = "basic"
    attributes: tuple[str, ...] | None = None
    model: Instrument | None = None
    span_kind: str = "internal"
    usable: bool = True


_paths: list[str] = []
_read: set[str] = set()
_broken: list[str] = []  # files of which nothing could be read
_entries: dict[tuple[str, str], Entry] = {}
_declared: dict[tuple[str, str], Entry] = {}  # by patch files; a registry wins
_attributes: set[str] = set()


def add(path: str) -> None:
    """Take note of a registry file; it is read when a name is first asked for."""
    if path not in _paths:
        _paths.append(path)


def forget() -> None:
    """Forget all files, for tests."""
    for collected in (_paths, _read, _broken, _entries, _declared, _attributes):
        collected.clear()


def find(kind: str, name: str, instrument: str = "") -> Entry:
    """Return what is known of `name`.

    Args:
        kind: metric, span or event.
        name: as the developer writes it.
        instrument: of a metric, what it has to be: histogram, counter, updowncounter, gauge.

    Raises:
        TelemetryError: no registry has it (or only another kind of instrument), where that is an error. Elsewhere it
            is said once, and an entry of the defaults returned.
    """
    entry = known(kind, name)
    if entry is None:
        problems.report(_unknown(kind, name))
        return _default(kind, name, instrument)
    if entry.usable and entry.model is not None and (entry.model.kind != instrument or entry.model.observable):
        what = f"an observable {entry.model.kind}" if entry.model.observable else f"a {entry.model.kind}"
        problems.report(f"{name} is {what} in the registry, not a {instrument}")
        return entry._replace(usable=False)
    return entry


def known(kind: str, name: str) -> Entry | None:
    """Return what the registries read so far say of `name`, and those of the operator; None if they have no such."""
    _read_files()
    return _entries.get((kind, name)) or _declared.get((kind, name)) or _ours(kind, name)


def metrics() -> list[str]:
    """Return the names of all metrics that are known by now, our own included."""
    from otel_openstack.semconv.instruments import INSTRUMENTS

    return [*(name for kind, name in (*_entries, *_declared) if kind == "metric"), *INSTRUMENTS]


def describe(group: Group) -> None:
    """Take one metric that a patch file describes in the format of a registry.

    Raises:
        RegistryError: it is wrong, or there is another of its name.
    """
    conventions.check_group(group)
    kind, name = _name(group.data)
    entry = _made(group)
    if (known(kind, name) or entry) != entry:
        raise group.fail("metric_name", f"{name} is there already, and is another")
    _declared[kind, name] = entry


def declare(kind: str, name: str, level: str = "basic", span_kind: str = "internal") -> None:
    """Take a span or an event that a patch file names, with whatever attributes it gives."""
    _declared.setdefault((kind, name), Entry(name, level, span_kind=span_kind))


def _ours(kind: str, name: str) -> Entry | None:
    """Return an instrument of our own registry, into which a developer may record too."""
    from otel_openstack.semconv.instruments import INSTRUMENTS

    model = INSTRUMENTS.get(name) if kind == "metric" else None
    return None if model is None else Entry(name, model.level, model.attributes, model)


def _default(kind: str, name: str, instrument: str) -> Entry:
    """Return what an unregistered name is measured as; nothing, if a file that may describe it could not be read."""
    if _broken:
        return Entry(name, usable=False)
    if kind != "metric":
        return Entry(name)
    bounds = SECONDS if instrument == "histogram" else None
    unit = "s" if instrument == "histogram" else "1"
    model = Instrument(
        name, instrument, unit, "", ("error.type",), "basic", bounds, False, conventions.SERIES, "development"
    )
    return Entry(name, "basic", None, model)


def _unknown(kind: str, name: str) -> str:
    if not _read:
        return f"no registry file is known that could have the {kind} {name}: call otel_openstack.use_registry"
    near = difflib.get_close_matches(name, [known for of, known in _entries if of == kind], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    files = ", ".join(sorted(os.path.basename(path) for path in _read))
    broken = f"; not measured, since {', '.join(_broken)} cannot be read" if _broken else ""
    return f"no {kind} {name} in the registry ({files}){hint}{broken}"


def _read_files() -> None:
    """Read what is new. Two threads may read the same file at a time: that is no harm, as a lock could be."""
    for path in (*_paths, *settings.get().registry_files):
        if path not in _read:
            try:
                _read_file(path)
            finally:
                _read.add(path)


def _read_file(path: str) -> None:
    try:
        groups = list(conventions.groups_of(path))
    except RegistryError as error:
        _broken.append(os.path.basename(path))
        problems.report(f"registry file {path} cannot be used: {error}", "error")
        return
    _attributes.update(_defined(groups))
    known = _attributes | _ours_attributes()
    for group in groups:
        try:
            conventions.check_group(group)
            conventions.check_references(group, known)
            _take(group)
        except RegistryError as error:
            _disable(group)
            problems.report(f"registry file {path}: {error}; not measured", "error")


def _defined(groups: Iterable[Group]) -> set[str]:
    items = (item for group in groups for item in group.data.get("attributes") or () if isinstance(item, dict))
    return {item["id"] for item in items if isinstance(item.get("id"), str)}


def _ours_attributes() -> set[str]:
    from otel_openstack.semconv import attributes

    return {value for key, value in vars(attributes).items() if key.isupper()}


def _take(group: Group) -> None:
    kind, name = _name(group.data)
    if not name:
        return  # attributes
    entry = _made(group)
    if _entries.get((kind, name), entry) != entry or _ours(kind, name) is not None:
        raise group.fail("metric_name" if kind == "metric" else "name", f"{name} is there already, and is another")
    _entries[kind, name] = entry


def _made(group: Group) -> Entry:
    data = group.data
    kind, name = _name(data)
    attributes = tuple(item.get("ref") or item["id"] for item in data.get("attributes", ()))
    extras = data.get("annotations", {})
    model = _model(data, attributes) if kind == "metric" else None
    return Entry(name, extras.get("level", "basic"), attributes, model, data.get("span_kind", "internal"))


def _disable(group: Group) -> None:
    """Let nobody measure by defaults what a file describes wrongly."""
    kind, name = _name(group.data)
    if name and (kind, name) not in _entries:
        _entries[kind, name] = Entry(name, usable=False)


def _name(data: Any) -> tuple[str, str]:
    """Return kind and name of a group; a span is called by its id, with or without `span.` before it."""
    kind, given = str(data.get("type")), str(data.get("id", ""))
    name = {"metric": data.get("metric_name"), "event": data.get("name"), "span": given.removeprefix("span.")}.get(kind)
    return kind, name if isinstance(name, str) else ""


def _model(data: Any, attributes: tuple[str, ...]) -> Instrument:
    extras = data["annotations"]
    bounds = extras.get("boundaries")
    return Instrument(
        name=data["metric_name"],
        kind=data["instrument"],
        unit=str(data["unit"]),
        description=str(data["brief"]),
        attributes=attributes,
        level=extras["level"],
        boundaries=None if bounds is None else tuple(map(float, bounds)),
        observable=extras.get("observable", False),
        limit=extras.get("series_limit", conventions.SERIES),
        stability=data["stability"],
        dimensions=tuple(conventions.DIMENSIONS[name] for name in extras.get("dimensions", ())),
    )
