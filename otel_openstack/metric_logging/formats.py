# SPDX-License-Identifier: Apache-2.0
"""Records as text: JSON, or lines of statsd. Without secrets, without line breaks."""

from __future__ import annotations

import json
import logging
from typing import Any

from opentelemetry import trace

from otel_openstack import resource, scrub
from otel_openstack.developer import reading
from otel_openstack.exporters.statsd.config import DOGSTATSD, ETSY, Config, problems
from otel_openstack.exporters.statsd.lines import plain
from otel_openstack.exporters.statsd.naming import Identity, Namer, labels
from otel_openstack.metric_logging.records import Measurement, Value, measurement

MOST_NAMES = 4096
PLAIN = frozenset({str, int, float, bool})
TEMPLATE = "{service.name}.{metric}.{attributes}"
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
CONTEXT = ("request_id", "global_request_id", "project_id", "user_id", "domain_id")


def attributes(measured: Measurement) -> dict[str, Value]:
    """Return the attributes that may leave: bounded plain values without secrets."""
    found: dict[str, Value] = {}
    for key, value in measured.attributes.items():
        known = reading.bounded(scrub.rule(str(key))(value))
        if known is not None:
            found[str(key)] = known
    return found


class JSONFormatter(logging.Formatter):
    """One JSON object a record, with the ids of its trace and of its request. Its `format` has no meaning."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record, measurement or not."""
        measured = measurement(record)
        told: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname,
            "logger": record.name,
            "service": resource.service_name(),
            "pid": record.process,
        }
        if measured is not None:
            told |= {"metric": scrub.text(str(measured.name)), "value": measured.value, "kind": measured.kind}
            told |= {"unit": measured.unit, "attributes": attributes(measured)}
        else:
            told["message"] = scrub.text(record.getMessage())
        told |= _request()
        return _encode(told)


def _request() -> dict[str, str]:
    """Return the ids of the request that this thread works for."""
    told: dict[str, str] = {}
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        told |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    context = reading.request_context()
    for name in CONTEXT if context is not None else ():
        value = reading.bounded(reading.attribute(context, name))
        if isinstance(value, str) and value:
            told[name] = value
    return told


class StatsdFormatter(logging.Formatter):
    """A line of statsd for a measurement, nothing for another record; names are made as the collector makes them.

    Seconds become milliseconds, statsd's unit of time. `format` is the template of names, such as `nova.{metric}`.
    """

    flavor = ETSY
    template = TEMPLATE

    def __init__(self, fmt: str | None = None, *_: object, prefix: str = "", **__: object) -> None:
        """Prepare.

        Args:
            fmt: the template of names; placeholders are `{metric}`, `{attributes}` and keys of attributes.
            prefix: stands before every name, with a dot between.

        Raises:
            ValueError: the template cannot be understood.
        """
        super().__init__()
        config = Config(flavor=self.flavor, prefix=prefix, names_default=fmt or self.template)
        for key, problem in problems(config):
            raise ValueError(f"{key}: {problem}")
        self._namer = Namer(config)
        self._names: dict[Any, Identity] = {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; empty for what is no measurement."""
        measured = measurement(record)
        if measured is None:
            return ""
        identity = self._identity(measured)
        head = f"{identity.name}{identity.inline}:"
        if measured.kind == "histogram":
            seconds = measured.unit == "s"
            kind = "ms" if seconds or self.flavor == ETSY else "h"
            return f"{head}{plain(measured.value * 1000 if seconds else measured.value)}|{kind}{identity.tail}"
        kind = "c" if measured.kind == "counter" else "g"
        zero = f"{head}0|g{identity.tail}\n" if kind == "g" and measured.value < 0 else ""
        return f"{zero}{head}{plain(measured.value)}|{kind}{identity.tail}"

    def _identity(self, measured: Measurement) -> Identity:
        """Return the name, made once for each set of attributes: a line costs a third of what making its name does."""
        given = tuple(measured.attributes.items())
        for _, value in given:
            if type(value) not in PLAIN:  # to hash it would run code of the service
                given = tuple(attributes(measured).items())
                break
        service = resource.service_name()
        key = (measured.name, given, tuple([type(value) for _, value in given]), service)
        known = self._names.get(key)
        if known is None:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            told = labels(attributes(measured))
            known = self._names[key] = self._namer.identify(scrub.text(measured.name), told, {"service.name": service})
        return known


class DogStatsdFormatter(StatsdFormatter):
    """The same for DogStatsD: attributes are tags."""

    flavor = DOGSTATSD
    template = "{metric}"
