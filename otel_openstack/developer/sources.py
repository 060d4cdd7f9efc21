# SPDX-License-Identifier: Apache-2.0
"""The source of a wrapper: one frame, with nothing in it that its parts do not need.

A wrapper has the parameters of its function and is of its kind (function, generator, coroutine, asynchronous
generator). Its only free variable is the function. What else it uses are globals of its own, all named `_otel_...`.

    pass through        return f(a, b)
    a timed function    start = clock(); try: result = f(a, b) ...; record(clock() - start); return result

The call stands in a `try` that only notes what it raises. What may fail of ours stands in another one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import CodeType
from typing import NamedTuple

from otel_openstack.developer.signatures import Parameters

FUNCTION, GENERATOR, COROUTINE, ASYNC_GENERATOR = "function", "generator", "coroutine", "async generator"
NAME = "_otel_function"
FILE = "<otel-openstack: wrapper>"

Lines = list[str]


class Work(NamedTuple):
    """What stands round the call.

    before: may fail, and is guarded; after the lines of `empty` have given every variable a value.
    quick: at the end, cannot fail.
    after: at the end, may fail; uses `_otel_result`.
    failed: what is called when the call raises, with seconds, error and `state`.
    spans: variables that hold operations, outermost first.
    clock: whether the duration is needed.
    """

    empty: Lines
    before: Lines
    quick: Lines
    after: Lines
    failed: str
    state: str
    spans: tuple[str, ...]
    clock: bool


def passing(kind: str, parameters: Parameters) -> str:
    """Return the source of a wrapper that does nothing."""
    return _define(kind, parameters, _through(kind, parameters))


def measuring(kind: str, parameters: Parameters, work: Work, *, first: bool) -> str:
    """Return the source of a wrapper that does `work`; the first time in a process it settles before."""
    lines = ["if not _otel_watch.on:", *_in(["_otel_look()", *_through(kind, parameters), *_leave(kind)])]
    lines += ["_otel_settle()"] if first else []
    if work.before:
        lines += [*work.empty, "try:", *_in(work.before), "except Exception as _otel_error:"]
        lines += _in(["_otel_watch.failed('before', _otel_error)"])
    elapsed = "_otel_clock() - _otel_start" if work.clock else "0.0"
    lines += ["_otel_start = _otel_clock()"] if work.clock else []
    fail = [f"{work.failed}({elapsed}, _otel_error, {work.state})", "raise"]
    ends = _ends(work, elapsed)
    call = f"{NAME}({parameters.passed})"
    if kind == ASYNC_GENERATOR:
        lines += ["_otel_result = None", "try:", *_in(_relay(call, work.spans))]
    elif kind == GENERATOR and work.spans:
        lines += ["try:", *_in(_driven(call, work.spans))]
    else:
        lines += ["try:", *_in(_call(kind, call, "_otel_result"))]
    if kind in (GENERATOR, ASYNC_GENERATOR):  # its consumer has had enough: that is an end, not an error
        lines += ["except GeneratorExit:", *_in(["_otel_result = None", *ends, "raise"])]
    lines += ["except BaseException as _otel_error:", *_in(fail), *ends]
    return _define(kind, parameters, [*lines, *_return(kind)])


@functools.lru_cache(maxsize=512)
def compiled(source: str) -> CodeType:
    """Return the code of the wrapper in `source`."""
    code = compile(source, FILE, "exec", dont_inherit=True, optimize=0)
    for name in ("_otel_make", "_otel_wrapper"):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return code


def _define(kind: str, parameters: Parameters, body: Lines) -> str:
    asynchronous = "async " if kind in (COROUTINE, ASYNC_GENERATOR) else ""
    head = f"{asynchronous}def _otel_wrapper({parameters.declared}):"
    # The function is the only free variable, whether it is used or not, so that one code can take another's place.
    keep = ["if 0:", *_in([NAME, *(["yield"] if kind in (GENERATOR, ASYNC_GENERATOR) else [])])]
    lines = [f"def _otel_make({NAME}):", *_in([head, *_in([*keep, *body]), "return _otel_wrapper"])]
    return "\n".join([*lines, ""])


def _through(kind: str, parameters: Parameters) -> Lines:
    call = f"{NAME}({parameters.passed})"
    if kind == ASYNC_GENERATOR:
        return _relay(call, ())
    return [f"return ({_awaited(kind)}{call})"]


def _leave(kind: str) -> Lines:
    return ["return"] if kind == ASYNC_GENERATOR else []


def _return(kind: str) -> Lines:
    return [] if kind == ASYNC_GENERATOR else ["return _otel_result"]


def _awaited(kind: str) -> str:
    return {GENERATOR: "yield from ", COROUTINE: "await "}.get(kind, "")


def _call(kind: str, call: str, into: str) -> Lines:
    return [f"{into} = {_awaited(kind)}{call}"]


def _ends(work: Work, elapsed: str) -> Lines:
    lines: Lines = []
    if work.clock and (work.after or len(work.quick) != 1):
        lines, elapsed = [f"_otel_elapsed = {elapsed}"], "_otel_elapsed"
    lines += [line.replace("_otel_elapsed", elapsed) for line in work.quick]
    if work.after:
        lost = f"_otel_lost(({''.join(f'{span}, ' for span in work.spans)}), _otel_error)"
        lines += ["try:", *_in(work.after), "except BaseException as _otel_error:", *_in([lost])]
    return lines


def _driven(call: str, spans: Sequence[str]) -> Lines:
    """Return what drives a generator step by step: its span is current while it works, not while its consumer does."""
    return [
        *_steps(call, spans, "next(_otel_inner)", "_otel_inner."),
        "except StopIteration as _otel_stop:",
        *_in(["_otel_result = _otel_stop.value"]),
    ]


def _relay(call: str, spans: Sequence[str]) -> Lines:
    """Return what passes everything on between an asynchronous generator and its consumer; Python has no form for it.

    Plain `return`s out of it are not needed: it ends where the generator does.
    """
    return [
        *_steps(call, spans, "await _otel_inner.__anext__()", "await _otel_inner.a"),
        "except StopAsyncIteration:",
        *_in(["pass"]),
    ]


def _steps(call: str, spans: Sequence[str], first: str, then: str) -> Lines:
    """Return the loop over a generator; `first` takes a step, `then` begins the call of throw, close or send."""
    on = [f"_otel_attach({', '.join(spans)})"] if spans else []
    off = [f"_otel_detach({', '.join(reversed(spans))})"] if spans else []
    thrown = [*on, f"_otel_item = {then}throw(_otel_thrown)"]
    return [
        f"_otel_inner = {call}",
        "try:",
        *_in([f"_otel_item = {first}", "while True:"]),
        *_in(_in([*off, "try:", *_in(["_otel_sent = yield _otel_item"])])),
        *_in(_in(["except GeneratorExit:", *_in([*on, f"{then}close()", "raise"])])),
        *_in(_in(["except BaseException as _otel_thrown:", *_in(thrown)])),
        *_in(_in(["else:", *_in([*on, f"_otel_item = {then}send(_otel_sent)"])])),
    ]


def _in(lines: Lines) -> Lines:
    return [f" {line}" for line in lines]
