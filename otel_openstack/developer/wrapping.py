# SPDX-License-Identifier: Apache-2.0
"""Puts one wrapper round a callable for all that is to be measured of it.

    wrapper = measured(function, [Part("timed", "myservice.build.duration")])

Decorators and patch files both come here. A wrapper of ours that is wrapped again is made anew with the parts of both,
so the stack grows by one frame, however many there are. Its code is exchanged in place when the level moves: at off it
only passes the call on. A wrapper starts, in each process, with code that settles it.
"""

from __future__ import annotations

import builtins
import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from time import perf_counter
from types import CellType, CodeType, FunctionType
from typing import Any

from otel_openstack import levels
from otel_openstack.developer import parts as declared
from otel_openstack.developer import problems, reading, signatures, sources
from otel_openstack.developer.binding import NO_SPAN, Bound, Measured, Told, Traced, bind
from otel_openstack.developer.expressions import CONTEXT, Call, Expression, reader
from otel_openstack.developer.parts import Part
from otel_openstack.developer.sources import Work
from otel_openstack.patching import guard
from otel_openstack.patching.patch import release
from otel_openstack.runtime import process, switch

MOST_CODES = 64
MARK = "_otel_openstack"
"""The attribute of a wrapper that holds its site."""


class Site:
    """A callable and what is measured of it. It owns the wrapper's globals, and exchanges its code."""

    def __init__(self, function: Callable[..., Any], bounds: Sequence[Bound], name: str) -> None:
        self.function = function
        self.bounds = tuple(bounds)
        self.kind = _kind(function)
        self.parameters = signatures.of(function)
        self.wrapper: Callable[[], Any] = _nothing
        self._settled = False
        self._expressions: list[Expression | Call] = []
        self._guard = guard(name)
        self._codes: dict[tuple[Any, ...], tuple[CodeType, dict[str, Any]]] = {}
        self._globals: dict[str, Any] = {
            "__name__": "otel_openstack.developer.wrapper",
            "__builtins__": builtins,
            "_otel_watch": self._guard,
            "_otel_look": _look,
            "_otel_clock": perf_counter,
            "_otel_lost": self.lost,
            "_otel_settle": self.settle,
            "_otel_attach": self.attach,
            "_otel_detach": self.detach,
        }
        place = id(self)
        _sites[place] = weakref.ref(self, lambda _: _sites.pop(place, None) and None)

    def make(self) -> Any:
        """Return the wrapper, which whoever asks has to hold."""
        function: Any = self.function
        wrapper = FunctionType(self._code(), self._globals, None, None, (CellType(function),))
        if isinstance(function, FunctionType):
            wrapper.__defaults__ = function.__defaults__
            wrapper.__kwdefaults__ = dict(function.__kwdefaults__) if function.__kwdefaults__ else None
        self.wrapper = weakref.ref(wrapper)
        return wrapper

    def settle(self) -> None:
        """Make sure that this process exports, take what costs memory, and exchange the code for the lasting one."""
        try:
            process.ensure()
            changed = [bound.settle() for bound in self.bounds]
            if any(changed):
                self._codes.clear()  # which know the recorders
            self._settled = process.started()
            self.refresh()
        except Exception as failure:
            self._guard.failed("settle", failure)

    def unsettle(self) -> None:
        """Begin anew: the process is another one, or is on again."""
        self._settled = False
        self.refresh()

    def refresh(self) -> None:
        """Exchange the code for what the level in force asks for; calls under way end as they began."""
        wrapper = self.wrapper()
        if wrapper is not None:
            wrapper.__code__ = self._code()

    def _code(self) -> CodeType:
        active = tuple(bound for bound in self.bounds if bound.active())
        key = (self._settled, *((bound, bound.chooses) for bound in active))
        known = self._codes.get(key)
        if known is None:
            if len(self._codes) >= MOST_CODES:
                self._codes.clear()
            known = self._codes[key] = self._written(active)
        self._globals.update(known[1])
        return known[0]

    def _written(self, active: Sequence[Bound]) -> tuple[CodeType, dict[str, Any]]:
        names: dict[str, Any] = {}
        if active:
            work = _Writer(self, active, names).work()
            source = sources.measuring(self.kind, self.parameters, work, first=not self._settled)
        else:
            source = sources.passing(self.kind, self.parameters)
        name = getattr(self.function, "__name__", "call")
        return _named(sources.compiled(source), name, getattr(self.function, "__qualname__", name)), names

    def place(self, expression: Expression | Call) -> int:
        """Return the number of an expression."""
        if expression not in self._expressions:
            self._expressions.append(expression)
        return self._expressions.index(expression)

    def attach(self, *spans: Any) -> None:
        """Make the spans of a generator current: it goes on."""
        try:
            for span in spans:
                span.attach()
        except Exception as failure:
            self._guard.failed("attach", failure)

    def detach(self, *spans: Any) -> None:
        """Make them so no more: its consumer goes on."""
        try:
            for span in spans:
                span.detach()
        except Exception as failure:
            self._guard.failed("detach", failure)

    def lost(self, spans: tuple[Any, ...], failure: BaseException) -> None:
        """Let go of the spans whose end failed; what is not of ours goes on."""
        for span in reversed(spans):
            release(span)
        if not isinstance(failure, Exception):
            raise failure
        self._guard.failed("finish", failure)


class _Writer:
    """Writes what stands round the call for the active parts, and says which globals that needs.

    A global means the same whatever parts are active, since calls that are under way use them when the code has been
    exchanged: they are numbered by the parts and expressions of the site.
    """

    def __init__(self, site: Site, active: Sequence[Bound], names: dict[str, Any]) -> None:
        self._site = site
        self._active = sorted(active, key=lambda bound: not isinstance(bound, Traced))  # events belong to the spans
        self._names = names
        self._inputs: dict[Expression | Call, str] = {}
        self._outputs: dict[Expression, str] = {}
        self._before: list[str] = []
        self._read: list[str] = []
        for bound in active:
            for expression in bound.inputs:
                self._input(expression)
            for expression in bound.outputs:
                self._output(expression)

    def work(self) -> Work:
        """Return the lines."""
        quick: list[str] = []
        ends: list[str] = []
        spans: dict[Bound, str] = {}
        for bound in self._active:
            number = self._number(bound)
            if isinstance(bound, Traced) and not bound.part.only_errors:
                spans[bound] = f"_otel_span{number}"
                self._let(f"begin{number}", bound.begin)
                self._before.append(f"{spans[bound]} = _otel_begin{number}({self._given(bound)})")
            elif isinstance(bound, Told):
                self._let(f"start{number}", bound.start)
                self._let(f"end{number}", bound.end)
                self._before.append(f"_otel_start{number}({self._given(bound)})")
                ends.append(f"_otel_end{number}(_otel_elapsed, {self._given(bound, late=True)})")
            elif isinstance(bound, Measured) and not bound.part.only_errors:
                (quick if bound.constant else ends).append(self._recorded(number, bound))
        ends += [self._finished(bound, spans[bound]) for bound in reversed(list(spans))]
        failed = f"failed{'_'.join(str(self._number(bound)) for bound in self._active)}"
        self._let(failed, self._failure(list(spans)))
        self._let("none", NO_SPAN)
        variables = list(self._inputs.values())
        empty = [f"{' = '.join(variables)} = None"] if variables else []
        empty += [f"{span} = _otel_none" for span in spans.values()]
        given = "".join(f"{variable}, " for variable in variables)
        return Work(
            empty=empty,
            before=self._before,
            quick=quick,
            after=[*self._read, *ends] if ends else [],
            failed=f"_otel_{failed}",
            state=f"({given}), ({''.join(f'{span}, ' for span in spans.values())})",
            spans=tuple(spans.values()),
            clock=any(_needs_clock(bound) for bound in self._active),
        )

    def _recorded(self, number: int, bound: Measured) -> str:
        timed = bound.part.kind == declared.TIMED
        if bound.constant:
            self._let(f"record{number}", bound.recorder())
            return f"_otel_record{number}({'_otel_elapsed' if timed else bound.part.step})"
        if bound.number is not None:
            self._let(f"end{number}", lambda *given: bound.end(0.0, given))
            return f"_otel_end{number}({self._given(bound, late=True)})"
        self._let(f"record{number}", bound.record)
        variables = dict(zip(bound.keys, self._variables(bound, late=True), strict=True))
        labels = []
        for place, key in enumerate(bound.model.attributes):
            constant = bound.part.values.get(key)
            if key not in variables and constant is not None:
                self._let(f"label{number}_{place}", constant)
                variables[key] = f"_otel_label{number}_{place}"
            labels.append(variables.get(key, "None"))
        return f"_otel_record{number}({', '.join(['_otel_elapsed' if timed else str(bound.part.step), *labels])})"

    def _finished(self, bound: Bound, span: str) -> str:
        if not bound.outputs or not isinstance(bound, Traced):
            return f"{span}.finish()"
        number = self._number(bound)
        self._let(f"late{number}", bound.late)
        late = ", ".join(self._variables(bound, late=True)[len(bound.inputs) :])
        return f"{span}.finish(None, _otel_late{number}({late}))"

    def _failure(self, spans: list[Bound]) -> Callable[..., None]:
        """Return what records a call that raised, last in first out; it may be a generator that was closed."""
        places = {bound: [list(self._inputs).index(found) for found in bound.inputs] for bound in self._active}
        order = [*(bound for bound in self._active if bound not in spans), *reversed(spans)]
        lost = self._site.lost

        def failed(elapsed: float, error: BaseException, given: tuple[Any, ...], operations: tuple[Any, ...]) -> None:
            try:
                if _ends_iteration(self._site.function, error):
                    error_shown: BaseException | None = None
                else:
                    error_shown = error
                for bound in order:
                    values = tuple(given[place] for place in places[bound])
                    operation = operations[spans.index(bound)] if bound in spans else None
                    if error_shown is not None:
                        bound.fail(elapsed, error_shown, values, operation)
                    elif operation is not None:
                        operation.finish()
                    elif isinstance(bound, Measured):
                        bound.end(elapsed, values)
            except BaseException as failure:
                lost(operations, failure)

        return failed

    def _input(self, expression: Expression | Call) -> None:
        if expression in self._inputs:
            return
        if isinstance(expression, Call):
            self._computed(expression)
            return
        root = self._site.parameters.source(expression.root)
        if root is None and expression.root == CONTEXT:
            self._let("context", reading.request_context)
            root = "_otel_context()"
        if root is None:
            root = "None"
        number = self._site.place(expression)
        variable = self._inputs[expression] = f"_otel_v{number}"
        self._let(f"read{number}", reader(expression))
        self._before.append(f"{variable} = _otel_read{number}({root})")

    def _computed(self, call: Call) -> None:
        number = self._site.place(call)
        variable = self._inputs[call] = f"_otel_v{number}"
        self._let(f"read{number}", lambda *args, **kwargs: reading.bounded(call.function(*args, **kwargs)))
        self._before.append(f"{variable} = _otel_read{number}({self._site.parameters.passed})")

    def _output(self, expression: Expression) -> None:
        if expression in self._outputs:
            return
        number = self._site.place(expression)
        variable = self._outputs[expression] = f"_otel_r{number}"
        self._let(f"take{number}", reader(expression))
        self._read.append(f"{variable} = _otel_take{number}(_otel_result)")

    def _variables(self, bound: Bound, *, late: bool) -> list[str]:
        early = [self._inputs[found] for found in bound.inputs]
        return early + ([self._outputs[found] for found in bound.outputs] if late else [])

    def _given(self, bound: Bound, *, late: bool = False) -> str:
        return ", ".join(self._variables(bound, late=late))

    def _number(self, bound: Bound) -> int:
        return self._site.bounds.index(bound)

    def _let(self, name: str, value: Any) -> None:
        self._names[f"_otel_{name}"] = value


_sites: dict[int, weakref.ref[Site]] = {}


def measured(target: Any, parts: Sequence[Part], name: str = "") -> Any:
    """Return `target` with all `parts` measured of it; `target` itself if none of them can be, in this process.

    Args:
        target: a function or another callable, a class method, static method or property, as it stands in its class.
        parts: what to measure, the outermost first.
        name: how the guard is called; by default after the function.

    Raises:
        TelemetryError: a name is not registered or an expression is none, where that is an error.
    """
    bounds = [bound for part in parts if (bound := bind(part)) is not None]
    return _apply(target, bounds, name) if bounds else target


def original(wrapper: Any) -> Any:
    """Return what a wrapper of ours stands for, and anything else as it is."""
    site = _site(wrapper)
    return wrapper if site is None else site.function


def _apply(target: Any, bounds: list[Bound], name: str) -> Any:
    if isinstance(target, staticmethod | classmethod):
        made = type(target)(_apply(target.__func__, bounds, name))
        vars(made).update({key: value for key, value in vars(target).items() if key not in vars(made)})
        return made
    if isinstance(target, property):
        return target if target.fget is None else target.getter(_apply(target.fget, bounds, name))
    if isinstance(target, functools.cached_property):
        cached = copy.copy(target)
        cached.func = _apply(target.func, bounds, name)
        return cached
    if isinstance(target, type) or not callable(target):
        problems.report(f"{target!r} is no function, method or property: {bounds[0].name} does not measure it")
        return target
    return _wrap(target, bounds, name)


def _wrap(function: Any, bounds: list[Bound], name: str) -> Any:
    inner = _site(function)
    shown = inner.function if inner is not None else function
    if inner is not None:
        bounds = [*bounds, *inner.bounds]
    for bound in bounds:
        _check_roots(bound, signatures.of(shown), shown)
    label = name or f"{getattr(shown, '__module__', '?')}.{getattr(shown, '__qualname__', shown)}"
    site = Site(shown, bounds, label)
    wrapper = site.make()
    functools.update_wrapper(wrapper, function)  # what decorators in between set on the inner one is kept
    wrapper.__wrapped__ = shown
    setattr(wrapper, MARK, site)
    flags = getattr(getattr(shown, "__code__", None), "co_flags", 0)
    if flags & inspect.CO_ITERABLE_COROUTINE:
        import types

        return types.coroutine(wrapper)
    return wrapper


def _site(function: Any) -> Site | None:
    """Return the site of a wrapper; other decorators copy our mark with everything else, so look whose it is."""
    site = vars(function).get(MARK) if isinstance(function, FunctionType) else None
    return site if isinstance(site, Site) and site.wrapper() is function else None


def _check_roots(bound: Bound, parameters: signatures.Parameters, function: Any) -> None:
    for expression in bound.inputs:
        if isinstance(expression, Call) or expression.root == CONTEXT:
            continue
        if parameters.source(expression.root) is None:
            where = getattr(function, "__qualname__", function)
            problems.report(f"{bound.name}: {expression.text}: {where} has no parameter {expression.root}")


def _needs_clock(bound: Bound) -> bool:
    late = isinstance(bound, Traced) and bound.part.only_errors
    return late or isinstance(bound, Told) or bound.part.kind == declared.TIMED


def _named(code: CodeType, name: str, qualified: str) -> CodeType:
    changes: dict[str, Any] = {"co_name": name}
    if hasattr(code, "co_qualname"):  # since Python 3.11
        changes["co_qualname"] = qualified
    return code.replace(**changes)


def _kind(function: Callable[..., Any]) -> str:
    if inspect.isasyncgenfunction(function):
        return sources.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return sources.COROUTINE
    return sources.GENERATOR if inspect.isgeneratorfunction(function) else sources.FUNCTION


def _ends_iteration(function: Any, error: BaseException) -> bool:
    """Whether this is how `__next__` says that there is no more."""
    ends = {"__next__": StopIteration, "__anext__": StopAsyncIteration}.get(getattr(function, "__name__", ""))
    return ends is not None and isinstance(error, ends)


def _look() -> None:
    if switch.off:
        switch.look()


def _nothing() -> None:
    return None


def _each(method: Callable[[Site], None]) -> None:
    for reference in tuple(_sites.values()):
        site = reference()
        if site is not None:
            method(site)


levels.on_move(lambda: _each(Site.refresh))
process.on_child(lambda: _each(Site.unsettle))
switch.on_change(leave=_nothing, come_back=lambda: _each(Site.unsettle))
