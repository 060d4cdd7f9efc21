# SPDX-License-Identifier: Apache-2.0
"""What to send where, in which dialect: fields are the keys of the collector's exporter, nested ones joined by `_`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace

from otel_openstack import settings
from otel_openstack.exporters.statsd.templates import parse, text_problem

ETSY, DOGSTATSD, INFLUXDB, GRAPHITE = FLAVORS = ("etsy", "dogstatsd", "influxdb", "graphite")
RULES = ("avg", "last", "max", "min", "sum")
SAMPLE_TYPES = {"distribution": "d", "histogram": "h", "timing": "ms"}
DEFAULT_NAMES = {ETSY: "{service.name}.{metric}.{attributes}"}
TAGGED_NAMES = "{metric}"
LEAST_PACKET, LARGEST_PACKET = 64, 65507
LONGEST_PATH = 107
"""Bytes of a Unix socket's path."""


@dataclass(frozen=True)
class Config:
    """Where statsd listens and what it is told. Times in seconds, sizes in bytes, rates a second (0 is no limit)."""

    endpoint: str = "127.0.0.1:8125"
    flavor: str = ETSY
    prefix: str = ""
    flush_interval: float = 10.0
    max_packet_size: int = 1432
    write_timeout: float = 1.0
    staleness: float = 180.0
    max_streams: int = 100_000
    rate_limit_packets_per_second: int = 500
    rate_limit_bytes_per_second: int = 0
    names_default: str = ""
    names_metrics: Mapping[str, str] = field(default_factory=dict)
    names_missing: str = "none"
    tags_resource_attributes: tuple[str, ...] = ("service.name",)
    tags_exclude: tuple[str, ...] = ()
    combine: Mapping[str, str] = field(default_factory=dict)
    histogram_percentiles: tuple[float, ...] = (50.0, 95.0, 99.0)
    histogram_type: str = "distribution"
    histogram_max_samples: int = 100

    @property
    def tagged(self) -> bool:
        """Whether the flavor has tags."""
        return self.flavor != ETSY

    @property
    def path(self) -> str:
        """The path of a Unix datagram socket; empty for UDP."""
        return self.endpoint if "/" in self.endpoint else ""

    def address(self) -> tuple[str, int]:
        """Return host and port of UDP.

        Raises:
            ValueError: the endpoint is not host:port.
        """
        host, colon, port = self.endpoint.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= 0xFFFF:  # noqa: PLR2004
            raise ValueError(f"{self.endpoint!r} is neither host:port nor the path of a socket")
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host, int(port)

    def template(self) -> str:
        """Return the template of metrics that no pattern matches."""
        return self.names_default or DEFAULT_NAMES.get(self.flavor, TAGGED_NAMES)


def read(options: settings.Settings) -> tuple[Config, list[str]]:
    """Return what the options `statsd_*` say, and a line for each that is wrong; that one then has its default."""
    known = {option.name for option in fields(settings.Settings)}
    given = {
        name: getattr(options, f"statsd_{name}") for name in Config.__dataclass_fields__ if f"statsd_{name}" in known
    }
    config = Config(**given)
    plain = Config(flavor=config.flavor) if config.flavor in FLAVORS else Config()
    told: list[str] = []
    for key, problem in tuple(problems(config)):
        name = key.partition("::")[0]
        told.append(f"{settings.PREFIX}STATSD_{name.upper()}: {problem}; using {getattr(plain, name)!r}")
        config = replace(config, **{name: getattr(plain, name)})
    return config, told


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield what is wrong: the key (with `::` and the part of it, if it has parts), and why."""
    yield from _endpoint(config)
    yield from _one_of("flavor", config.flavor, FLAVORS)
    yield from text_problem("prefix", config.prefix)
    yield from text_problem("names_missing", config.names_missing)
    yield from _between("max_packet_size", config.max_packet_size, LEAST_PACKET, LARGEST_PACKET)
    yield from _between("max_streams", config.max_streams, 1, 10_000_000)
    yield from _between("histogram_max_samples", config.histogram_max_samples, 1, 10_000)
    yield from _one_of("histogram_type", config.histogram_type, tuple(SAMPLE_TYPES))
    for name in ("flush_interval", "write_timeout"):
        if not 0 < getattr(config, name) < math.inf:
            yield name, "must be more than 0 seconds"
    yield from _rates(config)
    yield from _templates(config)
    for pattern, rule in config.combine.items():
        yield from _one_of(f"combine::{pattern}", rule, RULES)
    for percentile in config.histogram_percentiles:
        if not 0 < percentile < 100 or config.histogram_percentiles.count(percentile) > 1:  # noqa: PLR2004
            yield "histogram_percentiles", f"{percentile} is there twice, or not between 0 and 100"
            break


def _endpoint(config: Config) -> Iterator[tuple[str, str]]:
    if config.path:
        if "\0" in config.path or len(config.path.encode("utf-8", "replace")) > LONGEST_PATH:
            yield "endpoint", f"{config.path!r} is not the path of a socket (at most {LONGEST_PATH} bytes)"
        return
    try:
        config.address()
    except ValueError as error:
        yield "endpoint", str(error)


def _rates(config: Config) -> Iterator[tuple[str, str]]:
    if config.rate_limit_packets_per_second < 0:
        yield "rate_limit_packets_per_second", "must not be negative; 0 is no limit"
    limit = config.rate_limit_bytes_per_second
    if limit < 0 or 0 < limit < config.max_packet_size:
        yield (
            "rate_limit_bytes_per_second",
            f"must be 0 (no limit) or at least max_packet_size ({config.max_packet_size})",
        )


def _templates(config: Config) -> Iterator[tuple[str, str]]:
    given = {f"names_metrics::{pattern}": text for pattern, text in config.names_metrics.items()}
    for key, text in {"names_default": config.template(), **given}.items():
        try:
            parse(text, tagged=config.tagged)
        except ValueError as error:
            yield key, str(error)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if value not in allowed:
        yield key, f"{value!r} is none of {', '.join(allowed)}"


def _between(key: str, value: int, low: int, high: int) -> Iterator[tuple[str, str]]:
    if not low <= value <= high:
        yield key, f"{value} is not between {low} and {high}"
