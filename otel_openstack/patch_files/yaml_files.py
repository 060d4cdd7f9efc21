# SPDX-License-Identifier: Apache-2.0
"""Patch files in YAML: instruments, and the callables that are measured with them.

    instruments:
      nova.server.build.duration:
        instrument: histogram
        unit: s
        attributes: [nova.host]
    patches:
      - target: nova.compute.manager.ComputeManager._do_build_and_run_instance
        time: nova.server.build.duration
        attributes: {nova.host: self.host}

A mistake costs the entry that it is in, and the entries that use an instrument that it is in.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from otel_openstack import conventions
from otel_openstack.conventions import Group, RegistryError, Table
from otel_openstack.developer import expressions, names, parts, reading
from otel_openstack.developer.names import Entry
from otel_openstack.developer.parts import Part
from otel_openstack.patch_files.model import Contents, PatchFileError, Place, Wanted, refusal

ERROR_TYPE = "error.type"
TOP_KEYS = ("instruments", "patches")
INSTRUMENT_KEYS = {"instrument", "unit", "brief", "attributes", "boundaries", "level", "series_limit"}
ANNOTATED = ("boundaries", "level", "series_limit")
PATCH_KEYS = {
    "target", "time", "count", "event", "span", "on", "attributes", "values", "number", "phases", "level", "kind"
}  # fmt: skip
KINDS = {"time": parts.TIMED, "count": parts.COUNTED, "event": parts.EVENT, "span": parts.TRACED}
METRICS = {"time": ("histogram", "s"), "count": ("counter", None)}
BELONGS = {"number": "count", "phases": "event", "kind": "span"}
"""A key that says something of one kind of measurement only."""
OCCASIONS = ("call", "exception")
MOST_PATCHES = 1000


def read(file: str, text: str) -> Contents:
    """Read a file; it raises nothing that is wrong with the text."""
    try:
        data = conventions.parse_text(file, text)
    except RegistryError as error:
        return Contents(file, problems=(str(error),))
    reading = _Reading(file, data)
    return Contents(file, tuple(reading.wanted()), tuple(reading.problems))


class _Reading:
    """One file on its way."""

    def __init__(self, file: str, data: Table) -> None:
        self.problems: list[str] = []
        self._file = file
        self._data = data
        self._broken: set[str] = set()
        """Instruments whose description is wrong."""

    def wanted(self) -> Iterator[Wanted]:
        """Take the instruments, yield the entries."""
        for key in self._data:
            if key not in TOP_KEYS:
                self._say(_unknown(self._place(self._data, key), key, TOP_KEYS))
        for name, table in self._tables("instruments", dict):
            try:
                self._describe(name, table)
            except (PatchFileError, RegistryError) as error:
                self._broken.add(name)
                self._say(error)
        for number, table in self._tables("patches", list):
            try:
                if number > MOST_PATCHES:
                    raise self._place(table).fail("patches", f"more than {MOST_PATCHES}: the rest is left out")
                yield self._entry(table)
            except PatchFileError as error:
                self._say(error)
                if number > MOST_PATCHES:
                    return

    def _say(self, error: Exception) -> None:
        self.problems.append(str(error))

    def _tables(self, key: str, kind: type) -> Iterator[tuple[Any, Table]]:
        """Yield names or numbers, and the mappings that stand there."""
        given: Any = self._data.get(key)
        if given is None:
            return
        if not isinstance(given, kind):
            self._say(self._place(self._data, key).fail(key, f"not a {'mapping' if kind is dict else 'list'}"))
            return
        listed: Any = given
        for name, table in listed.items() if isinstance(given, Table) else enumerate(listed, 1):
            if isinstance(table, Table):
                yield name, table
            else:
                at = self._place(given, str(name)) if isinstance(given, Table) else self._place(self._data, key)
                self._say(at.fail(f"{key} {name}" if isinstance(name, int) else name, "not a mapping"))

    def _place(self, table: Table, key: str = "") -> Place:
        return Place(self._file, table.lines.get(key, table.line))

    # Instruments

    def _describe(self, name: str, table: Table) -> None:
        _check_keys(self._place, table, INSTRUMENT_KEYS)
        try:
            names.describe(Group(self._file, self._group(name, table)))
        except RegistryError as error:
            raise PatchFileError(str(error).replace(": annotations.", ": ", 1)) from error

    def _group(self, name: str, table: Table) -> Table:
        """Return the same as a group of a registry."""
        attributes = table.get("attributes", [])
        if not isinstance(attributes, list) or not all(isinstance(one, str) for one in attributes):
            raise self._place(table, "attributes").fail(f"{name}: attributes", "not a list of names")
        labels = [*dict.fromkeys((*attributes, ERROR_TYPE))]
        extras = {"level": "basic", **{key: table[key] for key in ANNOTATED if key in table}}
        if table.get("instrument") == "histogram" and table.get("unit") == "s":
            extras.setdefault("boundaries", list(names.SECONDS))
        at = self._data["instruments"].lines[name]
        data = {
            "id": f"metric.{name}",
            "type": "metric",
            "metric_name": name,
            "brief": table.get("brief", "Of a patch file."),
            "stability": "development",
            **{key: table[key] for key in ("instrument", "unit") if key in table},
            "attributes": [
                _table(table.lines.get("attributes", at), id=label, type="string", brief=label, stability="development")
                for label in labels
            ],
            "annotations": _table(at, table, **extras),
        }
        return _table(at, table, **data)

    # Entries

    def _entry(self, table: Table) -> Wanted:
        target, at = table.get("target"), self._place(table, "target")
        refused = "missing" if target is None else refusal(target)
        if refused:
            raise at.fail("target", refused)
        _check_keys(self._place, table, PATCH_KEYS, f"{target}: ")
        kinds = [key for key in KINDS if key in table]
        if not kinds:
            raise at.fail(str(target), f"says nothing to measure: give one of {', '.join(KINDS)}")
        for key, kind in BELONGS.items():
            if key in table and kind not in table:
                raise self._place(table, key).fail(f"{target}: {key}", f"goes with {kind}, which is not there")
        return Wanted(at, str(target), _Parts(self._place, table, str(target), self._broken).parts(kinds))


class _Parts:
    """The parts of one entry."""

    def __init__(self, place: Any, table: Table, target: str, broken: set[str]) -> None:
        self._place = place
        self._table = table
        self._target = target
        self._broken = broken
        self._level = self._one_of("level", conventions.LEVELS, None)
        self._only_errors = self._one_of("on", OCCASIONS, "call") == "exception"

    def parts(self, kinds: list[str]) -> tuple[Part, ...]:
        """Return them.

        Raises:
            PatchFileError: something is wrong.
        """
        attributes, values = self._attributes(), self._values()
        taken: set[str] = set()
        found = []
        for kind in kinds:
            entry = self._named(kind)
            known = {*attributes, *values} if entry.attributes is None else set(entry.attributes)
            taken |= known
            found.append(
                Part(
                    KINDS[kind],
                    entry.name,
                    {key: value for key, value in attributes.items() if key in known},
                    {key: value for key, value in values.items() if key in known},
                    number=self._number() if kind == "count" else None,
                    phases=self._phases() if kind == "event" else parts.PHASES,
                    only_errors=self._only_errors,
                    level=self._level,
                )
            )
        for section, given in (("attributes", attributes), ("values", values)):
            for key in given.keys() - taken:
                raise self._fail(f"{section}.{key}", self._untaken(kinds), self._table[section], key)
        return tuple(found)

    def _fail(self, key: str, message: str, table: Table | None = None, at: str = "") -> PatchFileError:
        place: Place = self._place(self._table if table is None else table, at or key)
        return place.fail(f"{self._target}: {key}", message)

    def _untaken(self, kinds: list[str]) -> str:
        metrics = ", ".join(str(self._table[kind]) for kind in kinds if kind in METRICS)
        return f"is not among the attributes of {metrics}, and there is no span or event that would take it"

    def _named(self, kind: str) -> Entry:
        """Return what is known of the name after `time`, `count`, `event` or `span`."""
        name = self._table[kind]
        if not isinstance(name, str) or not conventions.NAME.fullmatch(name):
            raise self._fail(kind, f"{name!r} is no name such as nova.server.build")
        if kind not in METRICS:
            span_kind = (
                self._one_of("kind", sorted(conventions.SPAN_KINDS), "internal") if kind == "span" else "internal"
            )
            names.declare(kind, name, span_kind=str(span_kind))
            return names.known(kind, name) or Entry(name)
        if name in self._broken:
            raise self._fail(kind, f"the description of {name} is wrong, see above")
        entry = names.known("metric", name)
        if entry is None or entry.model is None:
            raise self._fail(kind, f"no instrument {name}: describe it under instruments{self._near(name)}")
        wanted, unit = METRICS[kind]
        model = entry.model
        if not entry.usable or model.kind != wanted or model.observable or (unit and model.unit != unit):
            what = f"an {'observed ' if model.observable else ''}instrument of kind {model.kind} in {model.unit}"
            raise self._fail(kind, f"{name} is {what}; {kind} needs a {wanted}{f' in {unit}' if unit else ''}")
        return entry

    def _near(self, name: str) -> str:
        near = difflib.get_close_matches(name, names.metrics(), n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _mapping(self, key: str) -> Table:
        given = self._table.get(key, Table())
        if not isinstance(given, Table):
            raise self._fail(key, "not a mapping")
        for name in given:
            if not conventions.NAME.fullmatch(name):
                raise self._fail(f"{key}.{name}", "no name of an attribute, such as nova.host", given, name)
        return given

    def _attributes(self) -> dict[str, str]:
        given = self._mapping("attributes")
        for key, text in given.items():
            self._expression(f"attributes.{key}", text, given, key)
        return dict(given)

    def _number(self) -> str | None:
        given = self._table.get("number")
        if given is not None:
            self._expression("number", given, self._table, "number")
        return given

    def _expression(self, key: str, text: Any, table: Table, at: str) -> None:
        try:
            parsed = expressions.parse(text)
        except expressions.ExpressionError as error:
            raise self._fail(key, str(error), table, at) from error
        if self._only_errors and parsed.root == expressions.RESULT:
            raise self._fail(key, "there is no result where a call raises", table, at)

    def _values(self) -> dict[str, Any]:
        given = self._mapping("values")
        for key, value in given.items():
            if value is None or reading.bounded(value) != value:
                what = f"no text of up to {reading.LONGEST_VALUE} characters, number or flag"
                raise self._fail(f"values.{key}", what, given, key)
        return dict(given)

    def _phases(self) -> tuple[str, ...]:
        given = self._table.get("phases", list(parts.PHASES))
        if not isinstance(given, list) or not given or any(one not in parts.PHASES for one in given):
            raise self._fail("phases", f"not a list of {', '.join(parts.PHASES)}")
        return tuple(given)

    def _one_of(self, key: str, known: Iterable[str], default: str | None) -> str | None:
        given = self._table.get(key)
        if given is None:
            return default
        if given not in known:
            raise self._fail(key, f"{given!r} is not one of {', '.join(known)}")
        return str(given)


def _table(line: int, lines: Table | None = None, /, **data: Any) -> Table:
    """Return `data` that stands in `line`, its keys where they stand in `lines`."""
    made = Table(data)
    made.line = line
    made.lines = {} if lines is None else {key: at for key, at in lines.lines.items() if key in data}
    return made


def _check_keys(place: Any, table: Table, known: set[str], before: str = "") -> None:
    for key in table:
        if key not in known:
            raise _unknown(place(table, key), f"{before}{key}", known)


def _unknown(place: Place, key: str, known: Iterable[str]) -> PatchFileError:
    near = difflib.get_close_matches(key.rpartition(" ")[2], sorted(known), n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
    return place.fail(key, f"unknown key; {hint}")
