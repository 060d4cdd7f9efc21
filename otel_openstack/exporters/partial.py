# SPDX-License-Identifier: Apache-2.0
"""The partial success in an OTLP response, read without protobuf: one message with a number and a text."""

from __future__ import annotations

import json

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
COUNTS = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")


def rejected(body: bytes, content_type: str) -> tuple[int, str]:
    """Return how many items the collector rejected, and why; (0, "") if the answer says nothing that can be read."""
    try:
        if "json" in content_type:
            return _from_json(body)
        return _from_protobuf(body)
    except (ValueError, IndexError, TypeError, AttributeError):
        return 0, ""


def _from_json(body: bytes) -> tuple[int, str]:
    partial = json.loads(body or b"{}").get("partialSuccess") or {}
    count = next((int(partial[name]) for name in COUNTS if name in partial), 0)
    return max(0, count), str(partial.get("errorMessage", ""))


def _from_protobuf(body: bytes) -> tuple[int, str]:
    count, message = 0, ""
    for field, partial in _fields(body):
        if field == 1 and isinstance(partial, bytes):
            for inner, value in _fields(partial):
                if inner == 1 and isinstance(value, int):
                    count = value
                elif inner == 2 and isinstance(value, bytes):  # noqa: PLR2004 - the field's number
                    message = value.decode("utf-8", "replace")
    return (count if count < 2**63 else 0), message


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    found: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == VARINT:
            number, position = _varint(data, position)
            found.append((key >> 3, number))
            continue
        if kind == LENGTH:
            length, position = _varint(data, position)
        else:
            length = WIDTHS[kind] if kind in WIDTHS else len(data)
        if position + length > len(data):
            raise ValueError("cut off")
        found.append((key >> 3, data[position : position + length]))
        position += length
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the continuation bit
            return number, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 - a varint has at most 64 bits
            raise ValueError("no varint")
