# SPDX-License-Identifier: Apache-2.0
"""The format of registry files: read with the line of each key, and checked.

It is that of OpenTelemetry's semantic conventions; what is our own stands under `annotations`. Our own registry is read
so when its tables are generated, those of developers when a decorator first asks for a name.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

# The keys of the conventions' format; our own extras stand under annotations.
COMMON = {"id", "type", "brief", "note", "stability", "annotations", "attributes"}
GROUP_KEYS = {
    "metric": COMMON | {"metric_name", "instrument", "unit"},
    "attribute_group": COMMON | {"display_name"},
    "span": COMMON | {"span_kind"},
    "event": COMMON | {"name"},
}
REQUIRED = {
    "metric": {"id", "metric_name", "instrument", "unit", "brief", "stability", "annotations"},
    "attribute_group": {"id", "brief", "attributes"},
    "span": {"id", "span_kind", "brief", "stability"},
    "event": {"id", "name", "brief", "stability"},
}
ANNOTATIONS = {
    "metric": {"level", "boundaries", "series_limit", "observable", "blueprint", "dimensions"},
    "span": {"level"},
    "event": {"level"},
    "attribute_group": set[str](),
}
ATTRIBUTE_KEYS = {"id", "type", "brief", "note", "stability", "examples", "deprecated", "annotations"}
MEMBER_KEYS = {"id", "value", "brief", "note", "stability"}
REFERENCE_KEYS = {"ref", "requirement_level", "brief", "note", "examples"}
TYPES = {"string", "int", "double", "boolean", "string[]"}
KINDS = {"histogram", "counter", "updowncounter", "gauge"}
LEVELS = ("basic", "detailed", "deep")
STABILITIES = ("stable", "release_candidate", "development")
SPAN_KINDS = {"client", "server", "producer", "consumer", "internal"}
UNIT = re.compile(r"s|By|1|\{[a-z_]+\}")
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
DIMENSIONS = {"project": "openstack.project_id", "domain": "openstack.domain_id"}
"""What may go on metrics, of all that is known of a request: ids of users, servers and requests never."""
ROWS = range(1, 43)
SERIES = 2000
"""Default limit of series: the conventions' advice."""
MOST_BYTES = 4 * 2**20
DEEPEST = 32
MOST_VALUES = 100_000
"""With aliases written out: what stands in a message of ours may be one of them."""


class RegistryError(Exception):
    """A mistake in a registry file, told with file, line, group and key."""


class Table(dict[str, Any]):
    """A mapping of the file that knows where it and its keys stand (lines from 1)."""

    line: int
    lines: dict[str, int]


class Group(NamedTuple):
    """One group of a file."""

    file: str
    data: Table

    def fail(self, key: str, message: str, at: Any = None) -> RegistryError:
        """Return the error to raise; `at` is the mapping that the key stands in, or should."""
        table = at if isinstance(at, Table) else self.data
        line = table.lines.get(key.rpartition(".")[2], table.line)
        return RegistryError(f"{self.file}:{line}: {self.data.get('id', '?')}: {key}: {message}")


# Reading


def groups_of(path: str) -> Iterator[Group]:
    """Read the groups of a file, unchecked.

    Raises:
        RegistryError: it cannot be read, or is not a list of groups.
    """
    name, data = os.path.basename(path), parse(path)
    for key in sorted(data.keys() - {"groups"}):
        raise RegistryError(f"{name}:{data.lines[key]}: {key}: unknown key; known: groups")
    groups = data.get("groups")
    if not isinstance(groups, list):
        raise RegistryError(f"{name}:{data.lines.get('groups', 1)}: groups: not a list")
    for number, group in enumerate(groups, 1):
        if not isinstance(group, Table):
            raise RegistryError(f"{name}:{data.lines['groups']}: group {number}: not a mapping")
        yield Group(name, group)


def parse(path: str) -> Table:
    """Read a YAML file whose outermost form is a mapping. A key that is given twice is refused."""
    name = os.path.basename(path)
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RegistryError(f"{name}: {error}") from error
    return parse_text(name, text)


def parse_text(name: str, text: str) -> Table:
    """Read YAML as `parse` does; `name` stands in errors."""
    import yaml  # for those who have such a file only: it costs a process 10 ms

    if len(text) > MOST_BYTES:
        raise RegistryError(f"{name}: more than {MOST_BYTES} characters")
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        node = yaml.compose(text, Loader=loader)
        data = _Builder(name, yaml).value(node, 0) if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RegistryError(f"{name}{line}: {error.problem or error}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise RegistryError(f"{name}: {error}") from error
    if not isinstance(data, Table):
        raise RegistryError(f"{name}: not a mapping")
    return data


class _Builder:
    """Makes values of YAML's nodes; what an alias stands for is made once."""

    def __init__(self, file: str, yaml: Any) -> None:
        self._file = file
        self._yaml = yaml
        self._made: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}

    def value(self, node: Any, depth: int) -> Any:
        if id(node) not in self._made:
            if depth > DEEPEST:
                raise RegistryError(f"{self._file}:{node.start_mark.line + 1}: nested more than {DEEPEST} deep")
            self._made[id(node)] = self._new(node, depth)
            self._weigh(node)
        return self._made[id(node)]

    def _weigh(self, node: Any) -> None:
        inside = [] if isinstance(node, self._yaml.ScalarNode) else node.value
        parts = [part for item in inside for part in (item if isinstance(item, tuple) else (item,))]
        size = self._sizes[id(node)] = 1 + sum(self._sizes.get(id(part), 1) for part in parts)
        if size > MOST_VALUES:
            raise RegistryError(f"{self._file}:{node.start_mark.line + 1}: more than {MOST_VALUES} values")

    def _new(self, node: Any, depth: int) -> Any:
        if isinstance(node, self._yaml.MappingNode):
            return self._table(node, depth)
        if isinstance(node, self._yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return self._yaml.constructor.SafeConstructor().construct_object(node)

    def _table(self, node: Any, depth: int) -> Table:
        table = Table()
        table.line, table.lines = node.start_mark.line + 1, {}
        for key_node, value_node in node.value:
            plain = isinstance(key_node, self._yaml.ScalarNode)  # as it is written: `on` is a key, no flag
            key = key_node.value if plain else str(self.value(key_node, depth + 1))
            line = key_node.start_mark.line + 1
            if key in table:
                raise RegistryError(f"{self._file}:{line}: key given twice: {key}")
            table.lines[key] = line
            table[key] = self.value(value_node, depth + 1)
        return table


# Checking: all raise RegistryError.


def check_group(group: Group) -> None:
    """Check one group by itself."""
    kind = group.data.get("type")
    if not isinstance(kind, str) or kind not in GROUP_KEYS:
        raise group.fail("type", f"{kind!r} is not one of {sorted(GROUP_KEYS)}")
    _check_keys(group, group.data, GROUP_KEYS[kind], "")
    for key in sorted(REQUIRED[kind] - group.data.keys()):
        raise group.fail(key, "missing")
    for key in ("id", "brief", "metric_name", "name"):
        if key in group.data and not isinstance(group.data[key], str):
            raise group.fail(key, "not a text")
    _check_choice(group, "stability", group.data.get("stability", "stable"), STABILITIES)
    _check_annotations(group, kind)
    items = group.data.get("attributes", ())
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise group.fail("attributes", "not a list")
    for item in items:
        _check_attribute(group, item)
    if kind == "metric":
        _check_metric(group)
    if kind == "span":
        _check_choice(group, "span_kind", group.data["span_kind"], sorted(SPAN_KINDS))


def check_references(group: Group, known: Iterable[str]) -> None:
    """Check that the attributes a group refers to are there, each once."""
    references = [item["ref"] for item in group.data.get("attributes", ()) if "ref" in item]
    for item in group.data.get("attributes", ()):
        if "ref" not in item:
            continue
        if item["ref"] not in known:
            raise group.fail("ref", f"no such attribute: {item['ref']}", item)
        if references.count(item["ref"]) > 1:
            raise group.fail("ref", f"given twice: {item['ref']}", item)


def _check_annotations(group: Group, kind: str) -> None:
    extras = group.data.get("annotations", {})
    if kind == "attribute_group" and extras:
        raise group.fail("annotations", "an attribute group has none")
    _check_keys(group, extras, ANNOTATIONS[kind], "annotations.")
    if kind == "metric" or "level" in extras:
        _check_choice(group, "annotations.level", extras.get("level"), LEVELS, extras)


def _check_attribute(group: Group, item: Any) -> None:
    if not isinstance(item, dict) or ("ref" in item) == ("id" in item):
        raise group.fail("attributes", f"neither a ref nor a definition: {item!r}", item)
    if "ref" in item:
        _check_keys(group, item, REFERENCE_KEYS, "ref ")
        return
    name = item["id"]
    _check_keys(group, item, ATTRIBUTE_KEYS, f"{name}.")
    _check_name(group, "id", name, item)
    for key in sorted({"type", "brief", "stability"} - item.keys()):
        raise group.fail(f"{name}.{key}", "missing", item)
    _check_choice(group, f"{name}.stability", item["stability"], STABILITIES, item)
    members = item["type"].get("members", ()) if isinstance(item["type"], dict) else None
    if members is None:
        _check_choice(group, f"{name}.type", item["type"], sorted(TYPES), item)
    for member in members or ():
        _check_keys(group, member, MEMBER_KEYS, f"{name}.members.")
        for key in sorted({"id", "value"} - member.keys()):
            raise group.fail(f"{name}.members.{key}", "missing", member)


def _check_metric(group: Group) -> None:
    data, extras = group.data, group.data["annotations"]
    _check_name(group, "metric_name", data["metric_name"])
    if data["id"] != f"metric.{data['metric_name']}":
        raise group.fail("id", f"must be metric.{data['metric_name']}")
    _check_choice(group, "instrument", data["instrument"], sorted(KINDS))
    if not UNIT.fullmatch(str(data["unit"])):
        raise group.fail("unit", f"{data['unit']!r} is neither s, By, 1 nor an annotation such as {{error}}")
    if not isinstance(extras.get("observable", False), bool):
        raise group.fail("annotations.observable", "not a boolean", extras)
    limit = extras.get("series_limit", SERIES)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise group.fail("annotations.series_limit", "not a positive integer", extras)
    for row in extras.get("blueprint", ()):
        if row not in ROWS:
            raise group.fail("annotations.blueprint", f"no such row: {row!r}", extras)
    _check_boundaries(group, extras.get("boundaries"))
    _check_dimensions(group, extras.get("dimensions", []))


def _check_dimensions(group: Group, names: Any) -> None:
    extras = group.data["annotations"]
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names):
        raise group.fail("annotations.dimensions", "not a list of different names", extras)
    labels = [item.get("ref") or item.get("id") for item in group.data.get("attributes", ())]
    for name in names:
        _check_choice(group, "annotations.dimensions", name, tuple(DIMENSIONS), extras)
        if DIMENSIONS[name] in labels:
            raise group.fail("annotations.dimensions", f"{DIMENSIONS[name]} is an attribute already", extras)
    if names and extras.get("observable"):
        raise group.fail("annotations.dimensions", "what is observed belongs to no request", extras)


def _check_boundaries(group: Group, boundaries: Any) -> None:
    extras = group.data["annotations"]
    histogram = group.data["instrument"] == "histogram"
    if histogram != (boundaries is not None):
        raise group.fail("annotations.boundaries", "missing" if histogram else "only histograms have them", extras)
    if boundaries is None:
        return
    numbers = isinstance(boundaries, list) and all(
        type(bound) in (int, float) and isfinite(bound) for bound in boundaries
    )
    if not numbers or boundaries != sorted(set(boundaries)):
        raise group.fail("annotations.boundaries", "not a rising list of numbers", extras)
    if extras.get("observable"):
        raise group.fail("annotations.observable", "a histogram cannot be observed", extras)


def _check_keys(group: Group, data: Any, known: set[str], prefix: str) -> None:
    if not isinstance(data, Mapping):
        raise group.fail(prefix.rstrip(". ") or "group", "not a mapping")
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), sorted(known), 1)
            raise group.fail(f"{prefix}{key}", "unknown key" + (f"; did you mean {near[0]}?" if near else ""), data)


def _check_choice(group: Group, key: str, value: Any, known: Sequence[str], at: Any = None) -> None:
    if value not in known:
        raise group.fail(key, f"{value!r} is not one of {', '.join(known)}", at)


def _check_name(group: Group, key: str, name: Any, at: Any = None) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise group.fail(key, f"bad name: {name!r}", at)
