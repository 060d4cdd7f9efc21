# SPDX-License-Identifier: Apache-2.0
"""The options of this distribution: one table, read from the environment and the declarative configuration file.

A row is a field of `Settings`. Its environment variable is `OTEL_OPENSTACK_` and the name in capitals; in the file it
stands under `distribution: otel_openstack:` by its own name. The environment wins over the file, as for every tool an
operator knows. Standard `OTEL_*` variables are not listed here: they keep their own meaning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

PREFIX = "OTEL_OPENSTACK_"
LEVELS = ("off", "basic", "detailed", "deep")
TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")
CALLERS = ("loopback", "service", "all", "none")
ENDPOINTS = ("loopback", "callers", "catalog", "all", "none")
UNREGISTERED = ("warn", "error")
DIMENSIONS = ("project", "domain")
"""What may go on metrics."""
CARRIED = ("project", "domain", "user", "instance", "request", "global_request")
"""What may go into baggage."""
MOST_VALUES = 1000
"""The most projects that may be asked for on metrics."""
VALUE = r"[A-Za-z0-9_.-]{1,64}"
HOST = r"(?:\*\.)?(?=[^/]*[a-z_-])[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?"


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise ValueError(f"must be one of {', '.join(LEVELS)}")
    return text.lower()


def _ceiling(text: str) -> str:
    return _level(text) if text else ""


def _unregistered(text: str) -> str:
    if text.lower() not in UNREGISTERED:
        raise ValueError(f"must be one of {', '.join(UNREGISTERED)}")
    return text.lower()


def _levels(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("must look like rpc=detailed,db=off")
    return {group.strip(): _level(level.strip()) for group, _, level in pairs}


def _flag(text: str) -> bool:
    if text.lower() not in TRUE + FALSE:
        raise ValueError("must be true or false")
    return text.lower() in TRUE


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError("must be a number of seconds, not negative")
    return number


def _size(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    factor = units.get(text[-1:].upper(), 1)
    number = int(text if factor == 1 else text[:-1]) * factor
    if number <= 0:
        raise ValueError("must be a number of bytes above zero, such as 64M")
    return number


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("must be a whole number, not negative")
    return int(text)


def _log_level(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 50 or int(text) % 10 == 0:  # noqa: PLR2004 - CRITICAL
        raise ValueError("must be a number from 1 to 49 that is no level of logging's own")
    return int(text)


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError("must look like http.*={metric},db.*={host.name}.{metric}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(name) for name in _names(text))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _dimensions(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    chosen = {name.strip(): _choice(choice.strip()) for name, equals, choice in pairs if equals}
    wrong = [name for name, _, _ in pairs if name.strip() not in DIMENSIONS]
    if wrong:
        raise ValueError(f"{wrong[0].strip()} cannot go on metrics; only {' and '.join(DIMENSIONS)} can")
    if len(chosen) != len(pairs):
        raise ValueError("must look like project=top:20")
    return chosen


def _choice(text: str) -> str:
    """Check `off`, `all`, `all:NUMBER`, `top:NUMBER` or ids between `|`."""
    kind, colon, number = text.partition(":")
    if text.lower() in ("off", "all"):
        return text.lower()
    if kind.lower() in ("all", "top") and colon:
        if not number.isdecimal() or not 1 <= int(number) <= MOST_VALUES:
            raise ValueError(f"{text} needs a number from 1 to {MOST_VALUES}")
        return f"{kind.lower()}:{int(number)}"
    values = text.split("|")
    if len(values) > MOST_VALUES or not all(re.fullmatch(VALUE, value) for value in values) or kind.lower() == "top":
        raise ValueError(f"{text or 'nothing'} is not off, all, all:NUMBER, top:NUMBER or ids between |")
    return text


def _carried(text: str) -> tuple[str, ...]:
    names = tuple(name.lower() for name in _names(text))
    wrong = [name for name in names if name not in CARRIED]
    if wrong:
        raise ValueError(f"{wrong[0]} is not one of {', '.join(CARRIED)}")
    return names


def _callers(text: str) -> tuple[str, ...]:
    return tuple(_place(name.lower(), CALLERS, hosts=False) for name in _names(text))


def _endpoints(text: str) -> tuple[str, ...]:
    return tuple(_place(name.lower(), ENDPOINTS, hosts=True) for name in _names(text))


def _place(name: str, words: tuple[str, ...], *, hosts: bool) -> str:
    if name in words or _is_network(name) or (hosts and re.fullmatch(HOST, name)):
        return name
    kinds = f"an address, a network such as 10.20.0.0/24{', a host name, *.cloud.example' if hosts else ''}"
    raise ValueError(f"{name} is not {kinds} or one of {', '.join(words)}")


def _is_network(text: str) -> bool:
    from ipaddress import ip_network

    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _option(default: Any, parse: Callable[[str], Any], help_text: str) -> Any:
    metadata = {"parse": parse, "help": help_text}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The options in force. Times are in seconds, sizes in bytes."""

    level: str = _option("basic", _level, "How deep to measure: off, basic, detailed or deep.")
    levels: dict[str, str] = _option(
        {},
        _levels,
        "Levels of single groups, services and instruments, such as rpc=detailed,nova-compute=deep,"
        "myservice.build=off. The name of an instrument, span or event counts before what stands before a dot of it "
        "(myservice), that before the group, that before the service.",
    )
    level_ceiling: str = _option(
        "",
        _ceiling,
        "The highest level that a running process can be moved to, by [otel_openstack] level in the service's own "
        "configuration and SIGHUP; what lies above it is not there at all. By default the level at start.",
    )
    registry_files: tuple[str, ...] = _option(
        (), _names, "Registry files of developers to read beside those that services name themselves."
    )
    unregistered: str = _option(
        "warn",
        _unregistered,
        "What a decorator does whose name or attribute no registry file has: `warn` in the log, or `error`.",
    )
    metric_dimensions: dict[str, str] = _option(
        {},
        _dimensions,
        "What of the request goes on the metrics that the registry allows it on: `project=top:20` (the 20 projects "
        "with most traffic, at most four times as many series over the life of a process, the rest in `_other`), "
        "`project=all` (the first 1000, or `all:NUMBER`), `project=ID|ID`, `off`; `domain` in the same way. "
        "`otel-openstack series` says how many series that makes.",
    )
    baggage_dimensions: tuple[str, ...] = _option(
        (),
        _carried,
        "What of the request travels as baggage with calls by RPC and HTTP, where trace context does: project, domain, "
        "user, instance, request, global_request.",
    )
    disabled_patches: tuple[str, ...] = _option(
        (), _names, "Patches not to apply, by the names that the inventory shows; a trailing * matches the rest."
    )
    patch_files: tuple[str, ...] = _option(
        (),
        _names,
        "Patch files, in YAML or Tach's own format, that say which methods of a service to measure; "
        "`otel-openstack patch check` says what becomes of each. See docs/patch-files.md.",
    )
    patch_presets: tuple[str, ...] = _option(
        (), _names, "Shipped patch files to use: cinder, glance, keystone, neutron, nova, placement."
    )
    instrumentors: tuple[str, ...] = _option(
        (), _names, "Instrumentors of other packages to load although they overlap with ours, such as sqlalchemy."
    )
    subprocesses: tuple[str, ...] = _option(
        (),
        _names,
        "Programs, by file name, to measure when a service starts them, such as swift-object-server; every other"
        " subprocess but the service's own workers gets an environment without OpenTelemetry.",
    )
    file_directory: str = _option("otlp", str, "Directory of the otlp_file exporter.")
    file_max_bytes: int = _option(64 * 2**20, _size, "Size at which a file of the otlp_file exporter is rotated.")
    file_total_bytes: int = _option(
        1024 * 2**20, _size, "Bound over all files in that directory, those of dead processes included."
    )
    trusted_callers: tuple[str, ...] = _option(
        ("loopback", "service"),
        _callers,
        "Whose trace context and baggage a request over HTTP takes over: addresses and networks, `loopback` (Unix "
        "sockets too), `service` (whoever a token with the role service identifies), `all` or `none`. Of any other "
        "caller the traceparent becomes a link, and the rest is dropped.",
    )
    trusted_endpoints: tuple[str, ...] = _option(
        ("loopback", "callers", "catalog"),
        _endpoints,
        "Where outgoing HTTP requests carry trace context and baggage to: host names (`*.cloud.example` for all below "
        "it), addresses and networks, `loopback`, `callers` (the addresses and networks of trusted_callers), "
        "`catalog` (what keystoneauth1 finds in the catalog or is configured with), `all` or `none`.",
    )
    slow_call_threshold: float = _option(
        0.1, _seconds, "A database or cache call that takes longer becomes a span of its own at level basic."
    )
    request_events: bool = _option(
        False, _flag, "Emit the consolidated totals of every request as a log event too, whether it is sampled or not."
    )
    span_queue_bytes: int = _option(4 * 2**20, _size, "Bound of the queue of finished spans; above it spans drop.")
    switch_file: str = _option(
        "/run/otel-openstack/off",
        str,
        "While this file exists, every process is switched off: nothing is measured and sent. Empty for no switch.",
    )
    statsd_endpoint: str = _option(
        "127.0.0.1:8125",
        str,
        "Where OTEL_METRICS_EXPORTER=statsd sends to: host:port of UDP, or the path of a Unix datagram socket. These "
        "options have the names of the collector's exporter, whose README describes them.",
    )
    statsd_flavor: str = _option("etsy", str, "The dialect: etsy, dogstatsd, influxdb or graphite.")
    statsd_prefix: str = _option("", str, "Stands before every name, with a dot between.")
    statsd_flush_interval: float = _option(10.0, _seconds, "Time between two flushes.")
    statsd_max_packet_size: int = _option(1432, _size, "Payload of a packet, never exceeded; a longer line is dropped.")
    statsd_write_timeout: float = _option(1.0, _seconds, "How long a packet may wait for a peer that takes none.")
    statsd_max_streams: int = _option(100_000, _count, "Sets of attributes that are kept; points of further ones drop.")
    statsd_rate_limit_packets_per_second: int = _option(
        500, _count, "Packets a second at most, 0 for no limit; a flush that has more takes longer."
    )
    statsd_rate_limit_bytes_per_second: int = _option(0, _count, "Bytes a second at most, 0 for no limit.")
    statsd_names_default: str = _option(
        "",
        str,
        "Template of names; empty is {service.name}.{metric}.{attributes} for etsy, else {metric}. Several processes "
        "of one host that send gauges need {process.pid} or {service.instance.id} in it.",
    )
    statsd_names_metrics: dict[str, str] = _option(
        {}, _pairs, "Templates by name or pattern of a metric, such as http.*={service.name}.{metric}.{http.route}."
    )
    statsd_names_missing: str = _option("none", str, "Stands where an attribute is absent or empty.")
    statsd_tags_resource_attributes: tuple[str, ...] = _option(
        ("service.name",), _names, "Attributes of the resource that become tags."
    )
    statsd_tags_exclude: tuple[str, ...] = _option(
        (), _names, "Attributes of points that become neither tags nor parts of {attributes}."
    )
    statsd_combine: dict[str, str] = _option(
        {}, _pairs, "How gauges that a template makes one combine, by name or pattern: sum, max, min, last or avg."
    )
    statsd_histogram_percentiles: tuple[float, ...] = _option(
        (50.0, 95.0, 99.0), _numbers, "Percentiles of a histogram that are sent as gauges; not for dogstatsd."
    )
    statsd_histogram_type: str = _option(
        "distribution", str, "Type of dogstatsd's samples: distribution, histogram or timing."
    )
    statsd_histogram_max_samples: int = _option(100, _count, "Samples of a series in a flush, for dogstatsd.")
    notification_rules: tuple[str, ...] = _option(
        (),
        _names,
        "Files of rules for notifications that become log events: paths, or names of files that are shipped (nova).",
    )
    metric_log_level: int = _option(
        25, _log_level, "The log level METRIC of measurements that services log, between INFO (20) and WARNING (30)."
    )
    flush_interval: float = _option(1.0, _seconds, "Finished spans and changed points leave at least this often.")
    exit_timeout: float = _option(0.5, _seconds, "How long the end of a process may wait for the last export.")
    strict: bool = _option(False, _flag, "Raise errors of hooks instead of logging them. For our own tests.")


_current: Settings | None = None


def load(environ: Mapping[str, str], file_section: Mapping[str, Any] | None = None) -> tuple[Settings, list[str]]:
    """Read the options.

    Args:
        environ: the environment variables.
        file_section: what stands under `distribution: otel_openstack:` in the declarative file, if there is one.

    Returns:
        The settings, and what is wrong with what was given: one line each, naming the option. A wrong value falls back
        to the default, an unknown option is left out.
    """
    table = {option.name: option for option in fields(Settings)}
    problems: list[str] = []
    values: dict[str, Any] = {}
    given = [(f"{key}", key, value) for key, value in (file_section or {}).items()]
    given += [(key, key[len(PREFIX) :].lower(), value) for key, value in environ.items() if key.startswith(PREFIX)]
    for shown, name, value in given:
        if name not in table:
            problems.append(_unknown(shown, name, table, prefix=PREFIX if shown.startswith(PREFIX) else ""))
            continue
        try:
            values[name] = table[name].metadata["parse"](_text(value))
        except ValueError as error:
            problems.append(f"{shown}={value!r}: {error}; using {_default(table[name])!r}")
    return Settings(**values), problems


def names_patch(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether one of `patterns`, as in disabled_patches, is `name` or the beginning of it."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in patterns)


def disabled(environ: Mapping[str, str]) -> bool:
    """Return whether the operator switched OpenTelemetry off altogether."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def get() -> Settings:
    """Return the settings in force: those given to `use`, else what the environment says."""
    global _current
    if _current is None:
        _current, _ = load(os.environ)
    return _current


def use(chosen: Settings | None) -> None:
    """Put `chosen` in force; None reads the environment again at the next `get`."""
    global _current
    _current = chosen


def _text(value: Any) -> str:
    """Give a YAML value the form that the same option has in an environment variable."""
    if isinstance(value, Mapping):
        pairs = [(key, "|".join(map(str, item)) if isinstance(item, list) else item) for key, item in value.items()]
        return ",".join(f"{key}={item}" for key, item in pairs)
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return str(value).strip()


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def _unknown(shown: str, name: str, table: Mapping[str, Any], prefix: str) -> str:
    import difflib  # for a mistake only

    near = difflib.get_close_matches(name, table, n=1)
    suggestion = f"did you mean {prefix}{near[0].upper() if prefix else near[0]}?" if near else "see the options' table"
    return f"unknown option {shown}: {suggestion}"
