# SPDX-License-Identifier: Apache-2.0
"""What comes in with a request or a message and goes to propagators: bounded before they parse it.

They are made for honest headers. OpenTelemetry's own need time that grows with the square of the white space in a
`baggage` or a `traceparent`, raise at a lone surrogate, write what they refuse into the log, whole; and what they take
is sent on with every call that the request causes, where it may be too much for the next server.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import TraceState

LONGEST = {"traceparent": 128, "tracestate": 2048}
"""Characters of a header; a longer one is taken for none. A traceparent of version 00 has 55."""
LONGEST_OTHER = 8192
MOST_STATE = 512
"""Characters of a tracestate that are sent on, as W3C wants at least; later members are left out."""
_SPACES = "    "


def header(key: str, value: Any) -> str | None:
    """Return the value of a propagation header as propagators can be given it, None where it cannot be one."""
    if not isinstance(value, str) or len(value) > LONGEST.get(key, LONGEST_OTHER) or not value.isascii():
        return None
    if _SPACES in value or "\t" in value or "\n" in value:
        return " ".join(value.split())
    return value


class Compact(TraceState):
    """A tracestate as one text: a dictionary of its members takes ten times as much, for as long as a span waits."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def _dict(self) -> dict[str, str]:  # type: ignore[override]
        pairs = (member.partition("=") for member in self._text.split(",") if member)
        return {key: value for key, _, value in pairs}

    def to_header(self) -> str:
        """Return the text."""
        return self._text


def compact(state: TraceState) -> TraceState:
    """Return a tracestate from outside with its first members, as many as 512 characters hold."""
    text = state.to_header()
    if len(text) > MOST_STATE:
        text = text[: MOST_STATE + 1].rpartition(",")[0]
    return Compact(text)
