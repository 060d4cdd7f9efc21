# SPDX-License-Identifier: Apache-2.0
"""Type checkers see decorated functions as they were."""

from __future__ import annotations

import re
import subprocess
import sys

CODE = """\
from collections.abc import AsyncIterator, Iterator
from typing_extensions import reveal_type
from otel_openstack import counted, deep, event, timed, traced

@timed("a", {"b": "x"})
@counted("a", number="x")
@event("a")
@traced("a")
def function(x: int, *, key: str = "") -> list[str]: ...
@timed("a")
def generator(x: int) -> Iterator[int]:
    yield x
@traced("a")
async def coroutine(x: int) -> bytes: ...
@event("a")
async def stream(x: int) -> AsyncIterator[int]:
    yield x
class Manager:
    @timed("a")
    def method(self, x: int) -> float: ...
    @timed("a")
    @classmethod
    def build(cls, x: int) -> "Manager": ...
    @property
    @timed("a")
    def size(self) -> int: ...
reveal_type(function)
reveal_type(generator)
reveal_type(coroutine)
reveal_type(stream)
reveal_type(Manager().method)
reveal_type(Manager.build)
reveal_type(Manager().size)
reveal_type(deep)
function("wrong")
function(1, keys="")
with timed("a", values={"b": 1}) as block:
    block.set("k", 2)
    block.sat("k", 2)
"""

REVEALED = [
    "def (x: int, *, key: str =) -> list[str]",
    "def (x: int) -> Iterator[int]",
    "def (x: int) -> Coroutine[Any, Any, bytes]",
    "def (x: int) -> AsyncIterator[int]",
    "def (x: int) -> float",
    "def (x: int) -> Manager",
    "int",
    "bool",
]
ERRORS = ["arg-type", "call-arg", "attr-defined"]


def test_mypy_sees_the_functions_own_types(tmp_path):
    (tmp_path / "service.py").write_text(CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--disable-error-code=empty-body"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", "service.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    # Releases differ in how they write names and defaults.
    plain = [re.sub(r"\b(?:builtins|typing|collections\.abc|service)\.", "", text) for text in revealed]
    plain = [text.replace(" = ...", " =") for text in plain]
    assert plain == REVEALED, done.stdout
    assert re.findall(r"error: .*\[([a-z-]+)\]", done.stdout) == ERRORS, done.stdout
