# SPDX-License-Identifier: Apache-2.0
"""Check the registry and write what is generated from it.

python registry/generate.py           writes otel_openstack/semconv/ and docs/reference/
python registry/generate.py --check   writes nothing; exits with 1 and a diff where a file differs
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = "registry_manifest.yaml"

Table = dict[str, Any]

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
ANNOTATIONS = {"level", "boundaries", "series_limit", "observable", "blueprint"}
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
ROWS = range(1, 43)
SERIES = 2000
"""Default limit of series: the conventions' advice."""


class RegistryError(Exception):
    """A mistake in the registry, told with file, group and key."""


class Group(NamedTuple):
    file: str
    data: Table

    def fail(self, key: str, message: str) -> RegistryError:
        return RegistryError(f"{self.file}: {self.data.get('id', '?')}: {key}: {message}")


class Registry(NamedTuple):
    schema_url: str
    groups: list[Group]

    def of(self, kind: str) -> list[Group]:
        return [group for group in self.groups if group.data["type"] == kind]

    def attributes(self) -> dict[str, Table]:
        return {item["id"]: item for group in self.groups for item in group.data.get("attributes", ()) if "id" in item}


class Loader(yaml.SafeLoader):
    """Refuses a key that is given twice; YAML by itself keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise RegistryError(f"{Path(self.name).name}:{node.start_mark.line + 1}: key given twice: {key}")
        return super().construct_mapping(node, deep)


# Reading


def read(directory: Path) -> Registry:
    manifest = parse(directory / MANIFEST)
    try:
        schema_url = f"{manifest['schema_base_url']}{manifest['semconv_version']}"
    except KeyError as error:
        raise RegistryError(f"{MANIFEST}: {error.args[0]}: missing") from error
    files = sorted(path for path in directory.glob("*.yaml") if path.name != MANIFEST)
    registry = Registry(schema_url, [group for path in files for group in groups_of(path)])
    check(registry)
    return registry


def parse(path: Path) -> Table:
    try:
        with path.open(encoding="utf-8") as stream:
            data = yaml.load(stream, Loader)  # noqa: S506 a subclass of SafeLoader
    except (OSError, yaml.YAMLError) as error:
        raise RegistryError(f"{path.name}: {error}") from error
    if not isinstance(data, dict):
        raise RegistryError(f"{path.name}: not a mapping")
    return data


def groups_of(path: Path) -> Iterator[Group]:
    data = parse(path)
    for key in sorted(data.keys() - {"groups"}):
        raise RegistryError(f"{path.name}: {key}: unknown key; known: groups")
    groups = data.get("groups")
    if not isinstance(groups, list):
        raise RegistryError(f"{path.name}: groups: not a list")
    for number, group in enumerate(groups, 1):
        if not isinstance(group, dict):
            raise RegistryError(f"{path.name}: group {number}: not a mapping")
        yield Group(path.name, group)


# Checking


def check(registry: Registry) -> None:
    for group in registry.groups:
        check_group(group)
    check_unique(registry)
    known = registry.attributes()
    for group in registry.groups:
        references = [item["ref"] for item in group.data.get("attributes", ()) if "ref" in item]
        for name in references:
            if name not in known:
                raise group.fail("ref", f"no such attribute: {name}")
            if references.count(name) > 1:
                raise group.fail("ref", f"given twice: {name}")


def check_group(group: Group) -> None:
    kind = group.data.get("type")
    if kind not in GROUP_KEYS:
        raise group.fail("type", f"{kind!r} is not one of {sorted(GROUP_KEYS)}")
    check_keys(group, group.data, GROUP_KEYS[kind], "")
    for key in sorted(REQUIRED[kind] - group.data.keys()):
        raise group.fail(key, "missing")
    check_choice(group, "stability", group.data.get("stability", "stable"), STABILITIES)
    for item in group.data.get("attributes", ()):
        check_attribute(group, item)
    if kind == "metric":
        check_metric(group)
    elif group.data.get("annotations"):
        raise group.fail("annotations", "only metrics have them here")
    if kind == "span":
        check_choice(group, "span_kind", group.data["span_kind"], sorted(SPAN_KINDS))


def check_attribute(group: Group, item: Any) -> None:
    if not isinstance(item, dict) or ("ref" in item) == ("id" in item):
        raise group.fail("attributes", f"neither a ref nor a definition: {item!r}")
    if "ref" in item:
        check_keys(group, item, REFERENCE_KEYS, "ref ")
        return
    name = item["id"]
    check_keys(group, item, ATTRIBUTE_KEYS, f"{name}.")
    check_name(group, "id", name)
    for key in sorted({"type", "brief", "stability"} - item.keys()):
        raise group.fail(f"{name}.{key}", "missing")
    check_choice(group, f"{name}.stability", item["stability"], STABILITIES)
    members = item["type"].get("members", ()) if isinstance(item["type"], dict) else None
    if members is None:
        check_choice(group, f"{name}.type", item["type"], sorted(TYPES))
    for member in members or ():
        check_keys(group, member, MEMBER_KEYS, f"{name}.members.")
        for key in sorted({"id", "value"} - member.keys()):
            raise group.fail(f"{name}.members.{key}", "missing")


def check_metric(group: Group) -> None:
    data, extras = group.data, group.data["annotations"]
    check_name(group, "metric_name", data["metric_name"])
    if data["id"] != f"metric.{data['metric_name']}":
        raise group.fail("id", f"must be metric.{data['metric_name']}")
    check_choice(group, "instrument", data["instrument"], sorted(KINDS))
    if not UNIT.fullmatch(str(data["unit"])):
        raise group.fail("unit", f"{data['unit']!r} is neither s, By, 1 nor an annotation such as {{error}}")
    check_keys(group, extras, ANNOTATIONS, "annotations.")
    check_choice(group, "annotations.level", extras.get("level"), LEVELS)
    if not isinstance(extras.get("observable", False), bool):
        raise group.fail("annotations.observable", "not a boolean")
    limit = extras.get("series_limit", SERIES)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise group.fail("annotations.series_limit", "not a positive integer")
    for row in extras.get("blueprint", ()):
        if row not in ROWS:
            raise group.fail("annotations.blueprint", f"no such row: {row!r}")
    check_boundaries(group, extras.get("boundaries"))


def check_boundaries(group: Group, boundaries: Any) -> None:
    histogram = group.data["instrument"] == "histogram"
    if histogram != (boundaries is not None):
        raise group.fail("annotations.boundaries", "missing" if histogram else "only histograms have them")
    if boundaries is None:
        return
    if not all(isinstance(bound, (int, float)) for bound in boundaries) or boundaries != sorted(set(boundaries)):
        raise group.fail("annotations.boundaries", "not a rising list of numbers")
    if group.data["annotations"].get("observable"):
        raise group.fail("annotations.observable", "a histogram cannot be observed")


def check_keys(group: Group, data: Any, known: set[str], prefix: str) -> None:
    if not isinstance(data, dict):
        raise group.fail(prefix.rstrip(". ") or "group", "not a mapping")
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(str(key), sorted(known), 1)
            raise group.fail(f"{prefix}{key}", "unknown key" + (f"; did you mean {near[0]}?" if near else ""))


def check_choice(group: Group, key: str, value: Any, known: tuple[str, ...] | list[str]) -> None:
    if value not in known:
        raise group.fail(key, f"{value!r} is not one of {', '.join(known)}")


def check_name(group: Group, key: str, name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise group.fail(key, f"bad name: {name!r}")


def check_unique(registry: Registry) -> None:
    seen: dict[str, str] = {}
    constants: dict[str, str] = {}
    for group in registry.groups:
        names = [("id", group.data["id"])]
        names += [("attribute", item["id"]) for item in group.data.get("attributes", ()) if "id" in item]
        for key, name in names:
            if name in seen:
                raise group.fail(key, f"given twice: {name}, first in {seen[name]}")
            seen[name] = group.file
            if key == "attribute" and constants.setdefault(constant(name), name) != name:
                raise group.fail(key, f"{name} and {constants[constant(name)]} give the same constant")


# Writing


def constant(name: str) -> str:
    return re.sub(r"[.\-]", "_", name).upper()


HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Generated by registry/generate.py; change registry/*.yaml instead.
"""
LONG = "# ruff: noqa: E501 descriptions stand in one line\n"
WIDTH = 120


def instruments_module(registry: Registry) -> str:
    metrics = sorted(registry.of("metric"), key=lambda group: str(group.data["metric_name"]))
    lines = [
        HEADER + LONG + '"""The instruments of the registry, by name."""\n',
        "from __future__ import annotations\n",
        "from otel_openstack.semconv.model import Instrument\n",
        f'SCHEMA_URL = "{registry.schema_url}"\n',
    ]
    names = [group.data["metric_name"] for group in metrics]
    lines += [f'{constant(name)} = "{name}"' for name in names]
    lines += ["", "INSTRUMENTS: dict[str, Instrument] = {"]
    lines += [instrument_row(group.data) for group in metrics]
    return "\n".join([*lines, "}", ""])


def instrument_row(data: Table) -> str:
    extras = data["annotations"]
    bounds = extras.get("boundaries")
    values: dict[str, str | list[str]] = {
        "name": constant(data["metric_name"]),
        "kind": quoted(data["instrument"]),
        "unit": quoted(data["unit"]),
        "description": quoted(data["brief"]),
        "attributes": [quoted(item["ref"]) for item in data.get("attributes", ())],
        "level": quoted(extras["level"]),
        "boundaries": "None" if bounds is None else [repr(float(bound)) for bound in bounds],
        "observable": repr(extras.get("observable", False)),
        "limit": repr(extras.get("series_limit", SERIES)),
        "stability": quoted(data["stability"]),
    }
    fields = "".join(field(key, value) for key, value in values.items())
    return f"    {constant(data['metric_name'])}: Instrument(\n{fields}    ),"


def quoted(text: str) -> str:
    return '"' + text.strip().replace("\\", "\\\\").replace('"', '\\"') + '"'


def field(key: str, value: str | list[str]) -> str:
    """Lay out one keyword as the formatter does, so that generated files pass it."""
    if isinstance(value, str):
        return f"        {key}={value},\n"
    line = f"        {key}=(" + ", ".join(value) + ("," if len(value) == 1 else "") + "),\n"
    if len(line.rstrip()) <= WIDTH:
        return line
    return f"        {key}=(\n" + "".join(f"            {item},\n" for item in value) + "        ),\n"


def attributes_module(registry: Registry) -> str:
    lines = [HEADER + '"""Names of the registry\'s attributes."""\n']
    lines += [f'{constant(name)} = "{name}"' for name in sorted(registry.attributes())]
    return "\n".join([*lines, ""])


NOTE = "<!-- Generated by registry/generate.py; change registry/*.yaml instead. -->\n"


def metrics_page(registry: Registry) -> str:
    lines = [
        NOTE + "# Metrics\n",
        f"Schema: <{registry.schema_url}>. Attributes stand in the order of the labels of a bound instrument.",
        "A measurement that cannot be taken in a process is absent there, never a zero.",
        "Rows are those of the blueprint, where it asks for the measurement.\n",
    ]
    for file in sorted({group.file for group in registry.of("metric")}):
        lines += [f"## {Path(file).stem.replace('_', ' ').capitalize()}\n"]
        for group in registry.of("metric"):
            if group.file == file:
                lines += metric_section(group.data)
    return "\n".join(lines)


def metric_section(data: Table) -> list[str]:
    extras = data["annotations"]
    facts = [
        ("kind", data["instrument"] + (", read at collection" if extras.get("observable") else "")),
        ("unit", f"`{data['unit']}`"),
        ("level", extras["level"]),
        ("stability", data["stability"].replace("_", " ")),
        ("attributes", ", ".join(f"`{item['ref']}`" for item in data.get("attributes", ())) or "none"),
        ("boundaries", ", ".join(f"{bound:g}" for bound in extras.get("boundaries", ()))),
        ("series at most", str(extras.get("series_limit", SERIES))),
        ("blueprint rows", ", ".join(map(str, extras.get("blueprint", ())))),
    ]
    rows = [f"- {key}: {value}" for key, value in facts if value]
    return [f"### `{data['metric_name']}`\n", data["brief"], "", *rows, ""]


def attributes_page(registry: Registry) -> str:
    lines = [NOTE + "# Attributes\n"]
    for group in registry.of("attribute_group"):
        lines += [f"## {group.data.get('display_name', group.data['id'])}\n", group.data["brief"], ""]
        lines += ["| attribute | type | meaning | values |", "|---|---|---|---|"]
        lines += [attribute_row(item) for item in group.data["attributes"]]
        lines += [""]
    return "\n".join(lines)


def attribute_row(item: Table) -> str:
    members = item["type"]["members"] if isinstance(item["type"], dict) else None
    values = [member["value"] for member in members] if members else item.get("examples", ())
    shown = ", ".join(f"`{value}`" for value in values)
    return f"| `{item['id']}` | {'enum' if members else item['type']} | {item['brief']} | {shown} |"


def spans_page(registry: Registry) -> str:
    lines = [NOTE + "# Spans and events\n"]
    for group in [*registry.of("span"), *registry.of("event")]:
        data = group.data
        lines += [f"## `{data.get('name', data['id'])}`\n", data["brief"], ""]
        lines += [
            f"- kind: {data.get('span_kind', 'log event')}",
            f"- stability: {data['stability'].replace('_', ' ')}",
        ]
        lines += [f"- {data['note']}"] if "note" in data else []
        lines += ["- attributes: " + ", ".join(f"`{item['ref']}`" for item in data.get("attributes", ())), ""]
    return "\n".join(lines)


OUTPUTS: Mapping[str, Callable[[Registry], str]] = {
    "otel_openstack/semconv/instruments.py": instruments_module,
    "otel_openstack/semconv/attributes.py": attributes_module,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/attributes.md": attributes_page,
    "docs/reference/spans.md": spans_page,
}


def compare(path: Path, name: str, new: str) -> str:
    """Return the difference to the file as it is, empty where there is none."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), name, f"{name} (generated)"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 where a file differs")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry", help="directory of the YAML files")
    parser.add_argument("--root", type=Path, default=ROOT, help="directory to write under")
    options = parser.parse_args(arguments)
    try:
        registry = read(options.registry)
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 2
    differences = ""
    for name, render in OUTPUTS.items():
        path, text = options.root / name, render(registry)
        if options.check:
            differences += compare(path, name, text)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(differences, end="")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
