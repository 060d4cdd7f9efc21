# SPDX-License-Identifier: Apache-2.0
"""What a series is called on the wire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from otel_openstack.exporters.statsd.config import DOGSTATSD, INFLUXDB, Config
from otel_openstack.exporters.statsd.templates import ATTRIBUTES, METRIC, Patterns, Template, parse

Labels = Sequence[tuple[str, str]]
"""Attributes as texts, sorted by key."""

_NAME = re.compile(r"[^A-Za-z0-9_.\-]")
_SEGMENT = re.compile(r"[^A-Za-z0-9_\-]")
_INFLUX = re.compile(r"[^A-Za-z0-9_.\-/]")


class Identity(NamedTuple):
    """The name of a series, and what it was before characters were replaced."""

    name: str
    """With the prefix, without the suffix of a derived name (.count, .p50)."""
    inline: str
    """Tags between name and value: InfluxDB's and Graphite's."""
    tail: str
    """Tags at the end of a line: DogStatsD's."""
    raw: str
    """Tells apart what only the replacing made equal."""


class Namer:
    """Makes names; used when a stream is first seen, not for every point."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._otherwise = parse(config.template(), tagged=config.tagged)
        self._templates = Patterns(
            {pattern: parse(text, tagged=config.tagged) for pattern, text in config.names_metrics.items()}
        )

    def identify(self, metric: str, point: Labels, resource: Mapping[str, str]) -> Identity:
        """Return the name of a metric with the attributes of a point and of its resource."""
        template = self._templates.find(metric, self._otherwise)
        name = [self._config.prefix, "."] if self._config.prefix else []
        raw = [metric]
        of_point = dict(point)
        for part in template.parts:
            if not part.placeholder:
                name.append(part.literal)
            elif part.placeholder == METRIC:
                name.append(_NAME.sub("_", metric))
            elif part.placeholder == ATTRIBUTES:
                name.append(self._folded(raw, template, point))
            else:
                value = of_point.get(part.placeholder, resource.get(part.placeholder, ""))
                name.append(self._segment(value))
                raw.append(_raw(part.placeholder, value))
        tidy = ".".join(level for level in "".join(name).split(".") if level) or self._config.names_missing
        inline, tail = self._tags(raw, template, of_point, resource) if self._config.tagged else ("", "")
        return Identity(tidy, inline, tail, "".join(raw))

    def _folded(self, raw: list[str], template: Template, point: Labels) -> str:
        """Fold key and value of each attribute that has no placeholder, so that a value says what it is of."""
        levels = []
        for key, value in point:
            if template.takes(key) or key in self._config.tags_exclude:
                continue
            levels.append(f"{_SEGMENT.sub('_', key)}.{self._segment(value)}")
            raw.append(_raw(key, value))
        return ".".join(levels)

    def _segment(self, value: str) -> str:
        return _SEGMENT.sub("_", value) if value else self._config.names_missing

    def _tags(
        self, raw: list[str], template: Template, point: Mapping[str, str], resource: Mapping[str, str]
    ) -> tuple[str, str]:
        excluded = self._config.tags_exclude
        tags = {key: value for key, value in point.items() if not template.takes(key) and key not in excluded}
        for key in self._config.tags_resource_attributes:
            if key not in point and not template.takes(key) and key in resource:
                tags[key] = resource[key]
        ordered = sorted(tags.items())
        raw += [_raw(key, value) for key, value in ordered]
        if self._config.flavor == DOGSTATSD:
            return "", self._join(ordered, "|#", ",", ":", _dog_value)
        if self._config.flavor == INFLUXDB:
            return self._join(ordered, ",", ",", "=", lambda value: _INFLUX.sub("_", value)), ""
        return self._join(ordered, ";", ";", "=", lambda value: _NAME.sub("_", value)), ""

    def _join(self, tags: Labels, begin: str, between: str, equals: str, clean: Callable[[str], str]) -> str:
        missing = self._config.names_missing or "_"  # a tag cannot be without a value
        pairs = [f"{_NAME.sub('_', key) or missing}{equals}{clean(value) or missing}" for key, value in tags]
        return begin + between.join(pairs) if pairs else ""


def labels(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return attributes as texts, sorted by key."""
    return sorted((key, text(value)) for key, value in attributes.items())


def text(value: Any) -> str:
    """Return the value of an attribute as the collector writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:  # noqa: PLR2004 - as JSON does
        return str(int(value))
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


def _raw(key: str, value: str) -> str:
    """Separate by characters that stand in no key, so that two different sets never read the same."""
    return f"\0{key}\1{value}"


def _dog_value(value: str) -> str:
    """Keep letters and digits of all scripts: DogStatsD's tags may have them, the others' names may not."""
    if value.isascii():
        return _INFLUX.sub("_", value)
    return "".join(c if not _INFLUX.match(c) or (c > "\x7f" and (c.isalpha() or c.isdecimal())) else "_" for c in value)
