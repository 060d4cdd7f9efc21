# SPDX-License-Identifier: Apache-2.0
"""Bounds of what a span or an event may hold: the SDK's variables, and a length of texts where those say nothing.

The SDK does not bound the length of a text. A service is not asked before somebody sends it ten megabytes, so here a
value has at most 16,384 characters; `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` and its like win, also empty (no bound).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from opentelemetry.sdk.trace import SpanLimits

MOST_TEXT = 16384
"""Characters of an attribute's value."""
MOST_NAME = 1024
"""Characters of the name of a span or an event, and of an attribute's key."""
MOST_COUNT = 128
MOST_SPAN_BYTES = 1024 * 1024
"""Estimated bytes of one span, whatever its single parts may hold."""

LENGTH, COUNT = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"


class LogLimits(NamedTuple):
    """Bounds of a log record; None for no bound."""

    attributes: int | None
    length: int | None


def of_spans(environ: Mapping[str, str] = os.environ, problems: list[str] | None = None) -> SpanLimits:
    """Return the bounds of spans; a variable that is no number is told in `problems`, and not used."""
    read = _Reader(environ, [] if problems is None else problems)
    count, length = read(COUNT, MOST_COUNT), read(LENGTH, MOST_TEXT)
    limits = SpanLimits(*[0] * 8)
    limits.max_attributes = MOST_COUNT if count is None else count
    limits.max_events = read("OTEL_SPAN_EVENT_COUNT_LIMIT", MOST_COUNT)
    limits.max_links = read("OTEL_SPAN_LINK_COUNT_LIMIT", MOST_COUNT)
    limits.max_span_attributes = read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count)
    limits.max_event_attributes = read("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count)
    limits.max_link_attributes = read("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count)
    limits.max_attribute_length = length
    limits.max_span_attribute_length = read("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length)
    return limits


def of_logs(environ: Mapping[str, str] = os.environ) -> LogLimits:
    """Return the bounds of log records."""
    read = _Reader(environ, [])
    return LogLimits(
        read("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", read(COUNT, MOST_COUNT)),
        read("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", read(LENGTH, MOST_TEXT)),
    )


def completed(limits: SpanLimits) -> SpanLimits:
    """Return the bounds of a declarative file, with ours where it states no length."""
    if limits.max_attribute_length is None:
        limits.max_attribute_length = MOST_TEXT
    if limits.max_span_attribute_length is None:
        limits.max_span_attribute_length = limits.max_attribute_length
    return limits


class _Reader:
    """Reads numbers as the SDK does: what is empty means no bound."""

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def __call__(self, name: str, default: int | None) -> int | None:
        given = self._environ.get(name)
        if given is None:
            return default
        text = given.strip()
        if not text:
            return None
        if text.isascii() and text.isdecimal() and len(text) <= 18:  # noqa: PLR2004 digits of what every integer of the protocol holds
            return int(text)
        self._problems.append(f"{name}={given[:40]!r} must be a number of zero or more; using {default}")
        return default
