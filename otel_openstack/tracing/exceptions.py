# SPDX-License-Identifier: Apache-2.0
"""What of an exception leaves: its type, a scrubbed message, and on request a stack trace made of scrubbed parts.

A stack trace is cut to its end, which holds the error itself. So every message in it is scrubbed before it is put
together: a cut through a finished text cannot take the head off a secret and leave the tail.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from otel_openstack import scrub

MESSAGE_LIMIT = 1024
STACKTRACE_LIMIT = 16384
MOST_LOOKED_AT = 8192
"""Characters of a message that are scrubbed; more would cost a failing request milliseconds."""
MOST_LINKS = 8
MOST_FRAMES = 64
MOST_NOTES = 8

UNPRINTABLE = "<exception str() failed>"
REMOTE_TYPE = "_otel_openstack_remote_type"
"""Attribute of an exception that came back over the wire: the class that it had there (see the RPC client's hook)."""

_DRIVERS = frozenset(
    {"sqlalchemy", "oslo_db", "pymysql", "MySQLdb", "mysql", "psycopg", "psycopg2", "sqlite3", "asyncpg"}
)
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def type_name(error: BaseException) -> str:
    """Return the class name of `error` with its module, as the conventions ask; builtins stand without one."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message(error: BaseException) -> str:
    """Return the scrubbed message of `error`, at most 1,024 characters; of a remote one only its type. Never raises."""
    try:
        remote = _remote_type(error)
        if remote is not None:
            return f"Remote error: {remote}"
        return limited(str(error), database=_of_database(error))
    except Exception:
        return UNPRINTABLE


def limited(text: str, *, database: bool = False) -> str:
    """Return a message scrubbed, at most 1,024 characters of it."""
    text = text[:MOST_LOOKED_AT]
    clean = scrub.database_text(text) if database else scrub.text(text)
    return clean if len(clean) <= MESSAGE_LIMIT else clean[: MESSAGE_LIMIT - 3] + "..."


def description(error: BaseException) -> str:
    """Return the description of the status of a span that `error` has left, in the SDK's form."""
    return f"{type(error).__name__}: {message(error)}"


def stacktrace(error: BaseException) -> str:
    """Return the traceback of `error` and its causes, as Python prints it; of a long one the end. Never raises."""
    try:
        text = "".join(reversed([part for link, joint in _chain(error) for part in (_shown(link), joint)]))
    except Exception:
        return f"{type_name(error)}: {UNPRINTABLE}\n"
    if len(text) <= STACKTRACE_LIMIT:
        return text
    return "...\n" + text[4 - STACKTRACE_LIMIT :].partition("\n")[2]


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Yield the exceptions, the last first, each with what stands between it and the one before it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < MOST_LINKS:
        seen.add(id(current))
        before, joint = current.__cause__, _CAUSE
        if before is None and not current.__suppress_context__:
            before, joint = current.__context__, _CONTEXT
        yield current, joint if before is not None and id(before) not in seen and len(seen) < MOST_LINKS else ""
        current = before


def _shown(error: BaseException) -> str:
    """Return the frames of one exception, its type and message, its notes, and the messages of a group."""
    frames = traceback.format_tb(error.__traceback__, -MOST_FRAMES)
    lines = ["Traceback (most recent call last):\n", *frames] if frames else []
    text = message(error)
    lines.append(f"{type_name(error)}: {text}\n" if text else f"{type_name(error)}\n")
    notes = getattr(error, "__notes__", ())
    lines += [f"{limited(note)}\n" for note in tuple(notes)[:MOST_NOTES] if isinstance(note, str)]
    parts = getattr(error, "exceptions", ())
    if isinstance(parts, tuple):
        lines += [f"  | {description(part)}\n" for part in parts[:MOST_NOTES] if isinstance(part, BaseException)]
    return "".join(lines)


def _remote_type(error: BaseException) -> str | None:
    """Return the class of an exception of another process, None for one of this process."""
    told = vars(error).get(REMOTE_TYPE) if hasattr(error, "__dict__") else None
    kind = type(error)
    if told is None and kind.__name__ == "RemoteError":
        told = getattr(error, "exc_type", None) or kind.__name__
    elif told is None and kind.__name__.endswith("_Remote"):
        told = kind.__name__.removesuffix("_Remote")
    return None if told is None else "".join(c for c in str(told)[:200] if c.isalnum() or c in "._")


def _of_database(error: BaseException) -> bool:
    return any(str(kind.__module__).partition(".")[0] in _DRIVERS for kind in type(error).__mro__)
