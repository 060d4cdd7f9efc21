# SPDX-License-Identifier: Apache-2.0
"""Texts of errors of another process and of databases: what of them says nothing but values is taken out."""

from __future__ import annotations

import re

from otel_openstack.pattern import Pattern
from otel_openstack.scrub.masks import MASK

# oslo.messaging's RemoteError, and the classes that it makes of known exceptions: their message holds a traceback.
_REMOTE = Pattern(r"(?:Remote error: |_Remote: )")
_REMOTE_TYPE = Pattern(r"[\w.]{1,200}")
_TRACEBACK = "Traceback (most recent call last)"


def remote(value: str) -> str:
    """Cut a remote error down to its type, and a message where a traceback begins in it."""
    found = _REMOTE.search(value) if "emote" in value else None
    if found is not None:
        kind = _REMOTE_TYPE.match(value, found.end()) if value[found.start()] == "R" else None
        value = value[: found.end()] + (kind.group() if kind else MASK)
    place = value.find(_TRACEBACK)
    return value if place <= 0 else _trimmed(value[:place])


def _trimmed(value: str) -> str:
    """Return `value` without white space at its end, that of a repr included."""
    while True:
        shorter = value.rstrip()
        shorter = shorter.removesuffix("\\n")
        if len(shorter) == len(value):
            return value
        value = shorter


_DATABASE = (
    "[SQL", "[parameters: ", "pymysql", "MySQLdb", "psycopg", "asyncpg", "sqlite3.", "mysql.connector",
    "Duplicate entry", "Failing row contains",
)  # fmt: skip
# SQLAlchemy ends its messages with these; PostgreSQL shows rows and statements. Nothing after them is worth keeping.
_ENDS = ("[SQL: ", "[SQL parameters hidden", "[parameters: ", "Failing row contains", "\nLINE ", "\\nLINE ")
# Values that stand between two texts; a value may hold quotes and anything else, so the second one is the last.
_BETWEEN = (
    ("Duplicate entry ", " for key"), (" value: ", " for column"), (" value: ", " for function"), (")=(", ") "),
    (" near ", " at line "),
)  # fmt: skip
_BARE = ("Duplicate entry ", ")=(")  # a value follows whether its end is there or not
# A quoted text in a database's message: kept after a word that says it is a name, a value everywhere else.
# An apostrophe within a word is none: "Can't connect to MySQL server on 'host'".
_QUOTED = Pattern(r"(?:(?<=\b[bunx])|(?<![\w\\]))(\\*)'(?:.*?(?<!\\)\1'(?!\w)|.*)", re.DOTALL | re.IGNORECASE)
_DOUBLE_QUOTED = Pattern(r"(?<=: )\"[^\"]*(?:\"|\Z)|(?<=near )\"[^\"]*(?:\"|\Z)")
_WORD_BEFORE = Pattern(r"(\w+)[\s:=\\]*\Z")
_NAMED = frozenset({
    "table", "column", "key", "index", "constraint", "database", "function", "field", "user", "view", "relation",
})  # fmt: skip


def database(value: str, *, known: bool = False) -> str:
    """Take statement, parameters and values out, if the text is that of a database's error."""
    if not known and not any(hint in value for hint in _DATABASE):
        return value
    for end in _ENDS:
        place = value.find(end)
        if place >= 0:
            value = _trimmed(value[:place])
    for first, last in _BETWEEN:
        start = value.find(first)
        if start >= 0:
            start += len(first)
            stop = value.rfind(last)
            if stop >= start:
                value = f"{value[:start]}'?'{value[stop:]}"
            elif first in _BARE:
                value = f"{value[:start]}'?'"
    return _DOUBLE_QUOTED.sub('"?"', _QUOTED.sub(_mask_quoted, value))


def _mask_quoted(match: re.Match[str]) -> str:
    start = match.start()
    before = _WORD_BEFORE.search(match.string[max(0, start - 40) : start])
    if before is not None and before.group(1).lower() in _NAMED:
        return match.group()
    return f"{match.group(1)}'?{match.group(1)}'"
