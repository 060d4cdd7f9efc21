# SPDX-License-Identifier: Apache-2.0
"""Files of rules: read with the line of each key. A rule with a mistake is left out and told, the others hold."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

from otel_openstack.conventions import RegistryError, Table, parse
from otel_openstack.developer.expressions import ExpressionError
from otel_openstack.notifications.reading import Read, reader

SHIPPED = os.path.join(os.path.dirname(__file__), "rules")
MOST_RULES = 500
MOST_ATTRIBUTES = 32
RULE_KEYS = {"name", "event_type", "publisher", "priority", "require", "event", "attributes", "pair"}
PAIR_KEYS = {"key", "start", "end", "error", "max_age"}
PRIORITIES = ("audit", "debug", "info", "warn", "error", "critical", "sample")
NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,63}", re.ASCII)
ATTRIBUTE = re.compile(r"[a-z][a-z0-9_.]{0,254}")
SUFFIX = re.compile(r"\.[\w.\-]{1,64}", re.ASCII)
HOUR = 3600.0
LONGEST_AGE = 7 * 24 * HOUR


class Pairing(NamedTuple):
    """How the end of something is found for its beginning."""

    key: tuple[Read, ...]
    """What both notifications have."""
    start: str = ".start"
    end: str = ".end"
    error: str = ".error"
    max_age: float = HOUR
    """Seconds after which a beginning is given up."""


class Rule(NamedTuple):
    """Which notifications become events, and of what."""

    name: str
    event_type: re.Pattern[str]
    publisher: re.Pattern[str] | None = None
    priorities: frozenset[str] = frozenset()
    """Empty for all."""
    require: tuple[Read, ...] = ()
    event: str = ""
    """The name of the event; empty is the event type."""
    attributes: tuple[tuple[str, Read], ...] = ()
    pair: Pairing | None = None


def load(files: Iterable[str]) -> tuple[list[Rule], list[str]]:
    """Read rules.

    Args:
        files: paths, or names of the files that are shipped, such as `nova`.

    Returns:
        The rules in the order of the files, and a line for each mistake, with file, line and key.
    """
    rules: list[Rule] = []
    problems: list[str] = []
    for given in files:
        path = given if os.sep in given else os.path.join(SHIPPED, f"{given}.yaml")
        try:
            for item in _items(path):
                _take(path, item, rules, problems)
        except RegistryError as error:
            problems.append(f"notification rules: {error}")
    return rules, problems


def _items(path: str) -> Sequence[Any]:
    name, data = os.path.basename(path), parse(path)
    for key in sorted(data.keys() - {"rules"}):
        raise RegistryError(f"{name}:{data.lines[key]}: {key}: unknown key; known: rules")
    items = data.get("rules")
    if not isinstance(items, list) or len(items) > MOST_RULES:
        raise RegistryError(f"{name}:{data.lines.get('rules', 1)}: rules: not a list of at most {MOST_RULES} rules")
    return items


def _take(path: str, item: Any, rules: list[Rule], problems: list[str]) -> None:
    try:
        rules.append(_rule(os.path.basename(path), item, {rule.name for rule in rules}))
    except RegistryError as error:
        problems.append(f"notification rules: {error}; that rule is left out")


def _rule(file: str, item: Any, names: set[str]) -> Rule:
    if not isinstance(item, Table):
        raise RegistryError(f"{file}: rules: {str(item)[:60]!r} is not a mapping")
    rule = _Reader(file, item).rule()
    if rule.name in names:
        raise RegistryError(f"{file}:{item.lines['name']}: {rule.name}: name: another rule has it")
    return rule


class _Reader:
    """Reads one rule."""

    def __init__(self, file: str, data: Table) -> None:
        self._file = file
        self._data = data

    def rule(self) -> Rule:
        self._keys(self._data, RULE_KEYS)
        name = self._checked("name", self._data.get("name"), NAME)
        publisher = self._data.get("publisher")
        return Rule(
            name,
            self._pattern("event_type", self._data.get("event_type")),
            self._pattern("publisher", publisher) if publisher is not None else None,
            self._priorities(),
            tuple(self._expressions("require", self._data, required=False)),
            str(self._checked("event", self._data["event"], NAME)) if "event" in self._data else "",
            self._attributes(),
            self._pair() if "pair" in self._data else None,
        )

    def _keys(self, data: Table, known: set[str]) -> None:
        for key in data:
            if key not in known:
                near = difflib.get_close_matches(key, sorted(known), 1)
                raise self._fail(key, "unknown key" + (f"; did you mean {near[0]}?" if near else ""), data)

    def _checked(self, key: str, value: Any, form: re.Pattern[str], at: Table | None = None) -> str:
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self._fail(key, "missing" if value is None else f"{value!r} does not look like one", at)
        return value

    def _pattern(self, key: str, value: Any) -> re.Pattern[str]:
        if not isinstance(value, str) or not 0 < len(value) <= 255:  # noqa: PLR2004 - what a routing key may have
            raise self._fail(key, "missing" if value is None else f"{value!r} is not a text with * for any part")
        return re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)

    def _priorities(self) -> frozenset[str]:
        given = self._data.get("priority", [])
        given = given if isinstance(given, list) else [given]
        for value in given:
            if value not in PRIORITIES:
                raise self._fail("priority", f"{value!r} is none of {', '.join(PRIORITIES)}")
        return frozenset(given)

    def _expressions(self, key: str, data: Table, *, required: bool) -> list[Read]:
        given = data.get(key, [])
        given = given if isinstance(given, list) else [given]
        if len(given) > MOST_ATTRIBUTES or (required and not given):
            raise self._fail(key, f"needs expressions, at most {MOST_ATTRIBUTES}, such as payload.instance_id", data)
        return [self._expression(key, text, data) for text in given]

    def _expression(self, key: str, text: Any, data: Table) -> Read:
        try:
            return reader(text)
        except ExpressionError as error:
            raise self._fail(key, str(error), data) from error

    def _attributes(self) -> tuple[tuple[str, Read], ...]:
        given = self._data.get("attributes", Table())
        if not isinstance(given, Table) or len(given) > MOST_ATTRIBUTES:
            raise self._fail("attributes", f"not a mapping of at most {MOST_ATTRIBUTES} names to expressions")
        for name in given:
            self._checked(name, name, ATTRIBUTE, given)
        return tuple((name, self._expression(name, text, given)) for name, text in given.items())

    def _pair(self) -> Pairing:
        given = self._data["pair"]
        if not isinstance(given, Table):
            raise self._fail("pair", "not a mapping with the key `key`")
        self._keys(given, PAIR_KEYS)
        key = tuple(self._expressions("key", given, required=True))
        start, end, error = (
            self._checked(name, given.get(name, f".{name}"), SUFFIX, given) for name in ("start", "end", "error")
        )
        made = Pairing(key, start, end, error, self._age(given))
        if len({made.start, made.end, made.error}) < 3:  # noqa: PLR2004 - the three
            raise self._fail("pair", "start, end and error have to differ")
        return made

    def _age(self, given: Table) -> float:
        age = given.get("max_age", HOUR)
        if isinstance(age, bool) or not isinstance(age, int | float) or not isfinite(age) or not 0 < age <= LONGEST_AGE:
            raise self._fail("max_age", f"{age!r} is not a number of seconds up to {LONGEST_AGE:.0f}", given)
        return float(age)

    def _fail(self, key: str, message: str, at: Mapping[str, Any] | None = None) -> RegistryError:
        table = at if isinstance(at, Table) else self._data
        line = table.lines.get(key, table.line)
        return RegistryError(f"{self._file}:{line}: {str(self._data.get('name', '?'))[:64]}: {key}: {message}")
