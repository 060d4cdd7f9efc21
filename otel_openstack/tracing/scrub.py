# SPDX-License-Identifier: Apache-2.0
"""Texts of errors without the values that libraries put into them.

SQLAlchemy appends the statement and its parameters to the message of every database error; oslo.db, oslo.messaging and
tracebacks carry that message on, also inside the repr of another text. The databases' own messages quote values too.
"""

from __future__ import annotations

import re
import traceback

MESSAGE_LIMIT = 1024
STACKTRACE_LIMIT = 16384

# From "[SQL: " to the line that SQLAlchemy closes with; where that is missing, the rest of the text goes.
_STATEMENT = re.compile(
    r"(?:\\n|\s)*\[SQL(?:: | parameters hidden).*?(?:\(Background on this error at: [^)]*\)|\Z)", re.DOTALL
)
_PARAMETERS = re.compile(r"(?:\\n|\s)*\[parameters: .*?(?:\](?=\\n|\s*\n|\s*\Z)|\Z)", re.DOTALL)
_BACKGROUND = re.compile(r"(?:\\n|\s)*\(Background on this error at: [^)]*\)")
# A quoted text in a database's message: kept after a word that says it is a name, a value everywhere else.
_QUOTED = re.compile(r"(\w*)([\s:=]*)'((?:[^'\\]|\\.)*)'")
_NAMED = frozenset({"table", "column", "key", "index", "constraint", "database", "function", "field", "user", "view"})
_POSTGRES_KEY = re.compile(r"(Key \([^)]*\))=\(.*?\)(?= |$)")


def message(text: str) -> str:
    """Return `text` without SQL, parameters and quoted values of a database error, at most 1,024 characters."""
    return _bounded(_without_values(text), MESSAGE_LIMIT)


def stacktrace(error: BaseException) -> str:
    """Return the formatted traceback of `error`, scrubbed; of a long one the end, which holds the error itself."""
    text = "".join(traceback.format_exception(error))
    clean = _without_values_in_messages(text) if "[SQL" in text or "[parameters: " in text else text
    return clean if len(clean) <= STACKTRACE_LIMIT else "..." + clean[3 - STACKTRACE_LIMIT :]


def _without_values(text: str) -> str:
    if "[SQL" not in text and "[parameters: " not in text:
        return text
    return _masked(_without_statement(text))


def _without_values_in_messages(text: str) -> str:
    """Mask the lines that hold messages; the indented ones are file names and source code."""
    lines = _without_statement(text).split("\n")
    return "\n".join(line if line.startswith("  ") else _masked(line) for line in lines)


def _masked(text: str) -> str:
    return _POSTGRES_KEY.sub(r"\1=(?)", _QUOTED.sub(_mask, text))


def _without_statement(text: str) -> str:
    return _BACKGROUND.sub("", _PARAMETERS.sub("", _STATEMENT.sub("", text)))


def _mask(match: re.Match[str]) -> str:
    word, between, _ = match.groups()
    return match.group(0) if word.lower() in _NAMED else f"{word}{between}'?'"


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
