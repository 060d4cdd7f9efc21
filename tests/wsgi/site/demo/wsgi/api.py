# SPDX-License-Identifier: Apache-2.0
"""A service that nobody has seen: a plain function called `application` in a module called `*.wsgi.*`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper


def stream() -> Iterator[bytes]:
    for _ in range(3):
        time.sleep(0.1)
        yield b"x" * 10


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 65536


def midway() -> Iterator[bytes]:
    yield b"x" * 10
    raise ValueError("on purpose")


def read(environ: dict[str, Any]) -> int:
    total, size = 0, int(environ.get("CONTENT_LENGTH") or 0)
    while total < size:
        part = environ["wsgi.input"].read(min(65536, size - total))
        if not part:
            break
        total += len(part)
    return total


def application(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/raise":
        raise KeyError("on purpose")
    if path == "/read":
        body: Any = [str(read(environ)).encode()]
    else:
        body = {"/stream": stream, "/endless": endless, "/midway": midway}.get(path, lambda: [b"abc"])()
    headers = [("Content-Type", "text/plain")]
    if path == "/file":
        start_response("200 OK", [*headers, ("Content-Length", str(Path(__file__).stat().st_size))])
        wrap = environ.get("wsgi.file_wrapper", FileWrapper)
        return wrap(Path(__file__).open("rb"), 1024)
    if isinstance(body, list):
        headers.append(("Content-Length", str(len(body[0]))))
    start_response("200 OK", headers)
    return body
