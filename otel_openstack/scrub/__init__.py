# SPDX-License-Identifier: Apache-2.0
"""Texts without secrets: the one scrubber that everything passes which leaves this process or goes to its log.

A pattern is there for every way in which secrets were seen to get into telemetry: SQLAlchemy's statement and
parameters, values that databases quote, errors of another process with its traceback, user and password in URLs,
queries, tokens of keystone, `password=...` in all its spellings, keys. What follows a secret's name is masked up to
where it ends, or to the end of the text: a text may have been cut to its beginning before, never to its end.

The time is linear in the length of the text: no pattern has two unbounded parts that can match the same characters, a
pattern that finds its beginning takes what it has looked at, and a prefix is bounded. Nothing here raises.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from otel_openstack.pattern import Pattern
from otel_openstack.scrub import errors, sql
from otel_openstack.scrub.masks import MASK, MAY_BE_CUT, NAMES, masked

LONGEST = 65536
"""Characters of a text that are looked at; the rest is cut off."""
LONGEST_KEY = 1024

# Of these a text has at least one, or it holds no secret that is known here. Most texts have none.
_HINTS = ("=", ":", "oken", "OKEN", "gAAAA", "eyJ", "earer ", "asic ", "--", ">", "Duplicate entry", "BEGIN ")


def text(value: str) -> str:
    """Return `value` without what is secret in it; the same object where there is nothing."""
    if len(value) > LONGEST:
        value = value[:LONGEST]
    for hint in _HINTS:
        if hint in value:
            return errors.database(masked(errors.remote(value)))
    return value


def url(value: str) -> str:
    """Return a URL, or the path and query of one, without user and without the values of its query."""
    head, mark, query = value[:LONGEST].partition("?")
    return text(head.partition("#")[0]) + mark + _query(query)


def statement(value: str) -> str:
    """Return SQL without its literals."""
    return text(sql.without_literals(value[:LONGEST]))


def database_text(value: str) -> str:
    """Return the text of an error that is known to come from a database."""
    return errors.database(masked(errors.remote(value[:LONGEST])), known=True)


@functools.lru_cache(maxsize=1024)
def rule(key: str) -> Callable[[Any], Any]:
    """Return what makes of any value of the attribute `key` the one that may leave."""
    if key in URLS:
        return _urls
    if key in STATEMENTS:
        return _statements
    if _HIDDEN_KEY.search(key) is not None:
        return hidden
    return any_value


def attributes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes whose every value has passed the rule of its key."""
    return {key: rule(str(key)[:LONGEST_KEY])(value) for key, value in given.items()}


def any_value(value: Any) -> Any:
    """Return a cleaned attribute value without secrets; sequences and mappings in it are looked through."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        shown = value.decode("latin-1")
        clean = text(shown)
        return value if clean is shown else clean.encode("latin-1", "replace")
    if isinstance(value, tuple | list):
        return _sequence(value)
    return attributes(value) if isinstance(value, Mapping) else value


def hidden(value: Any) -> Any:
    """Return a mask for whatever can hold a secret; numbers and flags pass."""
    return MASK if value and isinstance(value, str | bytes | tuple | list | Mapping) else value


# Which attributes have a rule of their own.
URLS = frozenset({
    "url.full", "url.original", "url.query", "http.url", "http.target", "http.request.header.referer",
    "http.response.header.location",
})  # fmt: skip
STATEMENTS = frozenset({"db.statement", "db.query.text"})

_HIDDEN_KEY = Pattern(rf"{NAMES}|^db\.(?:query|operation|statement)\.parameter|\.(?:body|payload)$", re.IGNORECASE)
_OPTION = Pattern(rf"--?[\w-]*{NAMES}[\w-]*", re.IGNORECASE)


def _urls(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_urls, value))
    if not isinstance(value, str):
        return any_value(value)
    return url(value) if "?" in value or "/" in value else text(_query(value[:LONGEST]))


def _statements(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_statements, value))
    return statement(value) if isinstance(value, str) else any_value(value)


def _sequence(values: tuple[Any, ...] | list[Any]) -> tuple[Any, ...]:
    """Scrub each, and mask what follows an option such as `--os-password`: a command line is a sequence."""
    found: list[Any] = []
    masked = False
    for value in values:
        found.append(hidden(value) if masked else any_value(value))
        masked = isinstance(value, str) and len(value) <= MAY_BE_CUT and _OPTION.fullmatch(value) is not None
    return tuple(found)


def _query(query: str) -> str:
    """Keep the names of a query's parameters."""
    if not query:
        return ""
    parts = (part.partition("=") for part in query.partition("#")[0].split("&"))
    return "&".join(f"{name}={MASK}" if equals else (MASK if name else "") for name, equals, _ in parts)
