# SPDX-License-Identifier: Apache-2.0
"""Reading OTLP JSON lines: files -> export requests -> spans and points. What cannot be read is told and skipped.

Accepted is what the collector's file exporter, this project's and other SDKs write: camelCase or snake_case fields, ids
in hex (or base64, as a plain protobuf printer writes them), 64-bit integers as strings or numbers, enums as numbers
or names.
No function here raises on the content of a file; the input may be anything.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

_RECORDED_NAME = re.compile(r"\.jsonl?([.-][\w.:+-]*)?$")
"""`x.jsonl`, `x.json` and what rotation makes of them: `x.jsonl.1`, `x.json-20261123`, `x.jsonl.2.gz`."""

_SIGNALS = (
    ("resourceSpans", "resource_spans"),
    ("resourceMetrics", "resource_metrics"),
    ("resourceLogs", "resource_logs"),
)
_LONGEST_LINE = 128 * 1024 * 1024
"""A file without newlines must not fill the memory."""
_DEEPEST_VALUE = 16

Value = str | int | float | bool | list[Any] | dict[str, Any] | None


class ReadingError(Exception):
    """Nothing can be read at all. The message is one line and says what to do."""


class Problem(NamedTuple):
    """What was skipped: `lines` lines of `file` for this reason, the first of them `line` (0: the whole file)."""

    file: Path
    line: int
    reason: str
    lines: int

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        more = f" (and {self.lines - 1} more lines of this file)" if self.lines > 1 else ""
        return f"{where}: {self.reason}, skipped{more}"


class Place(NamedTuple):
    """Where a request stands: number of the file in the recording, and byte offset."""

    file: int
    offset: int


class Request(NamedTuple):
    """One line: an Export{Trace,Metrics,Logs}ServiceRequest."""

    place: Place
    body: Mapping[str, Any]


class Recording:
    """The files under a path. Iterating streams them; `problems` grows with what had to be skipped."""

    def __init__(self, path: Path) -> None:
        """Raise ReadingError if there is no such path, or no file in it that could be a recording."""
        self.path = path
        self.files = _files(path)
        self._problems: dict[tuple[Path, str], tuple[int, int]] = {}

    @property
    def problems(self) -> list[Problem]:
        return [Problem(file, line, reason, count) for (file, reason), (line, count) in self._problems.items()]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size_of(file) for file in self.files)

    def requests(self, only: Collection[Place] | None = None) -> Iterator[Request]:
        """Yield every request, or those at the given places."""
        for number, file in enumerate(self.files):
            places = None if only is None else sorted(place.offset for place in only if place.file == number)
            if places == []:
                continue
            try:
                with _open(file) as stream:
                    if places is None:
                        yield from self._all(stream, number)
                    else:
                        yield from self._some(stream, number, places)
            except (OSError, EOFError, gzip.BadGzipFile) as error:
                self._skip(number, 0, f"cannot be read ({getattr(error, 'strerror', None) or error})")

    def _all(self, stream: BinaryIO, number: int) -> Iterator[Request]:
        line = offset = 0
        while raw := stream.readline(_LONGEST_LINE):
            line += 1
            end = offset + len(raw)
            if len(raw) == _LONGEST_LINE and not raw.endswith(b"\n"):
                self._skip(number, line, f"longer than {_LONGEST_LINE >> 20} MiB")
                while (rest := stream.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    end += len(rest)
                end += len(rest)
            elif raw.strip():
                document = raw
                if line == 1 and raw.strip() == b"{":  # one indented document instead of lines
                    document += stream.read(_LONGEST_LINE)
                    end = offset + len(document)
                body = self._parse(document, number, line)
                if body is not None:
                    yield Request(Place(number, offset), body)
            offset = end

    def _some(self, stream: BinaryIO, number: int, offsets: list[int]) -> Iterator[Request]:
        for offset in offsets:
            stream.seek(offset)
            raw = stream.readline(_LONGEST_LINE)
            if offset == 0 and raw.strip() == b"{":
                raw += stream.read(_LONGEST_LINE)
            body = self._parse(raw, number, 0)  # was read before: complaints were made then
            if body is not None:
                yield Request(Place(number, offset), body)

    def _parse(self, raw: bytes, number: int, line: int) -> Mapping[str, Any] | None:
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            cut = not raw.endswith(b"\n")
            self._skip(number, line, "is cut off (still being written?)" if cut else "is not JSON")
            return None
        if isinstance(body, dict) and (not body or any(name in body for names in _SIGNALS for name in names)):
            return body
        self._skip(number, line, "is JSON but no OTLP export request")
        return None

    def _skip(self, number: int, line: int, reason: str) -> None:
        key = (self.files[number], reason)
        first, count = self._problems.get(key, (line, 0))
        self._problems[key] = (first, count + 1)


def _files(path: Path) -> list[Path]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISDIR(mode):
            if not stat.S_ISREG(mode):
                raise ReadingError(
                    f"{path} is neither a file nor a directory: give the directory of the OTLP JSON lines"
                )
            return [path]
        next(path.iterdir(), None)  # rglob would hide that it may not be read
        found = sorted(file for file in path.rglob("*") if _RECORDED_NAME.search(file.name) and file.is_file())
    except OSError as error:
        raise ReadingError(f"{path}: {error.strerror or error}: give a file or directory of OTLP JSON lines") from error
    except ValueError as error:  # a NUL in the name
        raise ReadingError(f"{path}: {error}") from error
    if not found:
        raise ReadingError(f"{path} holds no *.jsonl or *.json: give the directory that the file exporter writes to")
    return found


def _open(file: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def size_of(file: Path) -> int:
    """Return the bytes of a file on disk, 0 if it is gone."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


# -- fields of hostile JSON: each returns a value of its type whatever stands there


def items(holder: object, camel: str, snake: str | None = None) -> list[Any]:
    """Return the objects of a repeated field."""
    value = field(holder, camel, snake)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def field(holder: object, camel: str, snake: str | None = None) -> Any:
    if not isinstance(holder, dict):
        return None
    value = holder.get(camel)
    return holder.get(snake) if value is None and snake else value


def integer(value: object) -> int:
    """Return a 64-bit integer, 0 for anything else."""
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            return 0
    if isinstance(value, float) and abs(value) < 1 << 64:  # also false for NaN
        value = int(value)
    return value if isinstance(value, int) and abs(value) < 1 << 64 else 0


def number(value: object) -> float | None:
    """Return a finite number, or None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)) and abs(value) < 1e300:  # noqa: PLR2004 - NaN and infinities are out too
        return float(value)
    return None


def numbers(value: object) -> list[float]:
    return [number(item) or 0.0 for item in value] if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def identity(value: object, size: int) -> str:
    """Return an id of `size` bytes as lower-case hex; "" if it is none or all zero."""
    if not isinstance(value, str) or not value:
        return ""
    if len(value) != 2 * size and value.endswith("="):
        try:
            value = base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            return ""
    if len(value) != 2 * size or not value.isascii() or not value.isalnum() or not value.strip("0"):
        return ""
    return value.lower()


def enum(value: object, names: tuple[str, ...], prefix: str) -> str:
    """Return the short name of an enum given as number or as name; the first name for anything else."""
    if isinstance(value, str):
        short = value.removeprefix(prefix)
        if short in names:
            return short
    index = integer(value)
    return names[index] if 0 <= index < len(names) else names[0]


def attributes(raw: object) -> dict[str, Value]:
    """Return a list of KeyValue as a dict."""
    return {key: any_value(pair.get("value")) for pair in _pairs(raw) if (key := text(pair.get("key")))}


def _pairs(raw: object) -> list[Any]:
    return [pair for pair in raw if isinstance(pair, dict)] if isinstance(raw, list) else []


def any_value(raw: object, depth: int = 0) -> Value:  # noqa: PLR0911 - one per kind of value
    if not isinstance(raw, dict) or depth > _DEEPEST_VALUE:
        return None
    for kind, value in raw.items():
        match kind:
            case "stringValue" | "string_value" | "bytesValue" | "bytes_value":
                return text(value)
            case "intValue" | "int_value":
                return integer(value)
            case "doubleValue" | "double_value":
                return number(value)
            case "boolValue" | "bool_value":
                return value is True
            case "arrayValue" | "array_value":
                return [any_value(item, depth + 1) for item in items(value, "values")]
            case "kvlistValue" | "kvlist_value":
                pairs = items(value, "values")
                return {text(pair.get("key")): any_value(pair.get("value"), depth + 1) for pair in pairs}
    return None
