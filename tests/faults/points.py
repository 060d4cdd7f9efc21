# SPDX-License-Identifier: Apache-2.0
"""Where our code can fail: every line of a hook, and the entry of everything that a hook calls.

Found by tracing, not by a list. A line counts if it runs under a guard: inside `with watch:` or inside a `try` whose
handler calls `failed`, in its own function or in one of ours that called it. What runs under none (the code of wrappers
between the library and the guard) is collected as bare, for another test to judge.
"""

from __future__ import annotations

import ast
import functools
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import otel_openstack
from otel_openstack.developer import sources
from otel_openstack.patching import Guard

ROOT = Path(otel_openstack.__file__).parent
# Hooks fail at each of their lines; the machinery beneath them at the entry of each of its functions.
BY_LINE = ("instrumentation/", "tracing/tasks.py")
BY_CALL = ("tracing/", "metrics/", "resource.py", "runtime/process.py", "developer/")
HANDLERS = ("patching/guard.py",)
ENTRY = 0
# What a decorated function calls outside its own guard: all of it stands under one inside.
HELD = frozenset(("developer/wrapping.py", name) for name in ("failed", "settle", "attach", "detach"))
# What takes a context off is no more than one call of C: where that failed nothing could be done. Nor can the look at
# which process this is fail, by which a request's end decides what it takes back.
ATOMIC = frozenset({"_reset", "let_go", "start_time_unix_nano", "_recognise"})
# As little: taking a request off an environ, and out of the gauge through a function that was bound at its begin.
ATOMIC_LINES = frozenset({"environ.pop(FLAG, None)", "self._active(-1)"})
ATOMIC_CONDITION = "if self._born == process.entered()"


class Point(NamedTuple):
    """A line of a function, or its entry (line 0)."""

    file: str
    function: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line or 'entry'} {self.function}"


class Step(NamedTuple):
    """The first thing that is called under the guard of one patch, such as its hook's `finish`."""

    guard: str
    function: str

    line = ENTRY

    def __str__(self) -> str:
        return f"{self.function} of {self.guard}"


class Injected(Exception):  # noqa: N818
    """What fails in our code."""


@functools.cache
def place(code: CodeType) -> str:
    """The path of one of our files inside the package, empty for any other."""
    path = Path(code.co_filename)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""


@functools.cache
def guarded_lines(file: str) -> frozenset[int]:
    """The lines of a file that stand under a guard."""
    found: set[int] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if (isinstance(node, ast.With) and any(_is_guard(item.context_expr) for item in node.items)) or (
            isinstance(node, ast.Try) and any(_reports(handler) for handler in node.handlers)
        ):
            for statement in node.body:
                found.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return frozenset(found)


def atomic(line: str) -> bool:
    """Whether a line is one at which nothing can fail."""
    return line in ATOMIC_LINES or line.startswith(ATOMIC_CONDITION)


@functools.cache
def untouched_lines(file: str) -> frozenset[int]:
    """The lines at which tracing cannot raise as code would: `try` itself, which does nothing, and handlers.

    Python 3.11 loses count of the exception that is handled where a trace raises in a handler.
    """
    source = (ROOT / file).read_text()
    found = {number for number, line in enumerate(source.splitlines(), 1) if atomic(line.strip())}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Try):
            found.add(node.lineno)
        if isinstance(node, ast.ExceptHandler):
            for statement in node.body:
                found.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return frozenset(found)


def _is_guard(expression: ast.expr) -> bool:
    return ast.unparse(expression).startswith(("watch", "_watch", "self._watch", "_modules", "guard(", "_Isolation("))


def _reports(handler: ast.ExceptHandler) -> bool:
    catches = isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    plain = [node for node in handler.body if not isinstance(node, ast.Try | ast.With)]
    return catches and any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("failed", "note")
        for statement in plain
        for node in ast.walk(statement)
    )


@functools.cache
def _name(code: CodeType) -> str:
    return str(getattr(code, "co_qualname", code.co_name))  # the qualified one came with Python 3.11


def under_guard(frame: FrameType | None) -> bool:
    """Whether the present line of a frame of ours runs under a guard."""
    while frame is not None:
        file = place(frame.f_code)
        if frame.f_code.co_filename == sources.FILE:
            return True  # a decorated function: whatever it calls but the function itself must not fail it
        if not file:
            return False
        if frame.f_lineno in guarded_lines(file):
            return True
        frame = frame.f_back
    return False


_present: Tracer | None = None


def _dispatch(frame: FrameType, event: str, argument: Any) -> Any:
    return _present._entered(frame, event, argument) if _present is not None else None


def everywhere() -> None:
    """Trace every thread that begins from now on, to its end."""
    threading.settrace(_dispatch)
    rearm()


def _is_main() -> bool:
    """Whether this is the main thread, where signals arrive; of a green process its first greenlet."""
    green = sys.modules.get("eventlet.patcher")
    if green is not None and green.already_patched:
        return sys.modules["greenlet"].getcurrent().parent is None  # type: ignore[no-any-return]
    return threading.get_ident() == threading.main_thread().ident


def rearm(*_: object) -> None:
    """Trace in this (green) thread, where it has not been or where an error raised by a trace has ended it."""
    if sys.gettrace() is not _dispatch:
        sys.settrace(_dispatch)


class Tracer:
    """Sees the points that are passed; raises at the chosen one.

    seen: the points under a guard, in the order of their first pass.
    bare: the lines under none.
    """

    def __init__(self) -> None:
        self.seen: dict[Point | Step, None] = {}
        self.bare: set[Point] = set()
        self.target: Point | Step | None = None
        self.error: type[BaseException] = Injected
        self.fired = 0
        self.most = 1
        self.main_only = False
        self.collecting = False

    def __enter__(self) -> Tracer:  # noqa: PYI034 (typing.Self came with Python 3.11)
        global _present
        _present = self
        rearm()
        return self

    def __exit__(self, *_: object) -> None:
        global _present
        _present = None

    def _entered(self, frame: FrameType, event: str, _: Any) -> Any:
        file = place(frame.f_code)
        if not file or file.startswith(HANDLERS):
            return None
        if frame.f_code.co_name in ATOMIC or (file, frame.f_code.co_name) in HELD:
            return None
        if file.startswith(BY_LINE):
            if self.collecting or type(self.target) is Step:
                self._stepped(frame)
            return self._line
        if file.startswith(BY_CALL):
            self._passed(frame, Point(file, _name(frame.f_code), ENTRY))
        return None

    def _stepped(self, frame: FrameType) -> None:
        above = frame.f_back
        if above is None or above.f_lineno not in guarded_lines(place(above.f_code) or "__init__.py"):
            return
        watch = above.f_locals.get("watch")
        if isinstance(watch, Guard):
            self._passed(frame, Step(watch.name, _name(frame.f_code)))

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self._passed(frame, Point(place(frame.f_code), _name(frame.f_code), frame.f_lineno))
        return self._line

    def _passed(self, frame: FrameType, point: Point | Step) -> None:
        if point == self.target:
            if self.fired < self.most and under_guard(frame) and (not self.main_only or _is_main()):
                self.fired += 1
                raise self.error(str(point))
        elif self.collecting and point not in self.seen:
            # The entry of a function: it is its caller that has to stand under a guard.
            if point.line and point.line in untouched_lines(point.file):
                return
            if under_guard(frame if point.line else frame.f_back):
                self.seen[point] = None
            elif point.line:
                self.bare.add(point)
