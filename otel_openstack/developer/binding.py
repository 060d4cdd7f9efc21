# SPDX-License-Identifier: Apache-2.0
"""A part bound to its instrument, span or event: what runs when a call begins, ends and fails.

`inputs` are read from arguments and context when the call begins, `outputs` from its result when it ends. What a method
here takes as `given` are their values in this order, those of the outputs last and only at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.developer import names, parts, problems, reading
from otel_openstack.developer.expressions import RESULT, Call, Expression, ExpressionError, parse
from otel_openstack.developer.names import Entry
from otel_openstack.developer.parts import Part
from otel_openstack.levels import Level
from otel_openstack.metrics import catalog
from otel_openstack.tracing import asking, events, exceptions

SCOPE = "otel_openstack.developer"
ERROR_TYPE = "error.type"
DURATION = "openstack.event.duration"
REQUEST = (("openstack.request_id", "request_id"), ("openstack.global_request_id", "global_request_id"))

Given = tuple[Any, ...]


class NoSpan:
    """Stands for a span that there is not."""

    def attach(self) -> None:
        """Do nothing."""

    detach = attach

    def finish(self, error: BaseException | None = None, attributes: Any = None) -> None:
        """Do nothing."""


NO_SPAN = NoSpan()


class Bound:
    """What all kinds share."""

    inputs: tuple[Expression | Call, ...] = ()
    outputs: tuple[Expression, ...] = ()

    def __init__(self, part: Part, entry: Entry) -> None:
        self.part = part
        self.name = part.name
        self.level = level_of(part, entry)
        self.keys: tuple[str, ...] = ()
        """Attributes of the inputs, then of the outputs."""
        self._declare(_allowed(part, entry))

    def _declare(self, allowed: dict[str, Expression]) -> None:
        early: dict[str, Expression | Call] = {key: found for key, found in allowed.items() if found.root != RESULT}
        early |= {key: Call(f"{self.name} {key}", function) for key, function in self.part.computed.items()}
        late = {key: found for key, found in allowed.items() if found.root == RESULT}
        self.inputs, self.outputs = tuple(early.values()), tuple(late.values())
        self.keys = (*early, *late)

    def active(self) -> bool:
        """Whether the level in force includes this part."""
        return parts.active(self.level, self.name)

    def settle(self) -> bool:
        """Take what costs memory, at the first call; returns whether that changes what the wrapper calls."""
        return False

    @property
    def chooses(self) -> Any:
        """What records with dimensions of the request, while an operator chose some: it changes with the choice."""
        return None

    def fail(self, elapsed: float, error: BaseException, given: Given, operation: Any) -> None:
        """Record a call that raised."""
        raise NotImplementedError

    def _attributes(self, given: Given) -> dict[str, Any]:
        read = zip(self.keys, given, strict=False)
        return {**self.part.values, **{key: value for key, value in read if value is not None}}


class Measured(Bound):
    """A histogram or counter.

    record: `record(value, *labels)`.
    constant: no label changes from call to call, so the series is known: `recorder(value)` records into it.
    """

    def __init__(self, part: Part, entry: Entry) -> None:
        super().__init__(part, entry)
        model = catalog.known(self.name)
        if model is None:
            assert entry.model is not None  # noqa: S101 (names.find gives one to every metric)
            own = dict.fromkeys((*part.attributes, *part.values, *entry.model.attributes))
            model = entry.model if entry.attributes is not None else entry.model._replace(attributes=tuple(own))
            catalog.describe(model)
        self.model = model
        self.instrument: Any = catalog.find(self.name, _instrument(part))
        self._bound: Callable[[float], None] | None = None
        self.number = _number(part)
        if self.number is not None:
            early = self.number.root != RESULT
            self.inputs += (self.number,) if early else ()
            self.outputs += () if early else (self.number,)

    @property
    def record(self) -> Callable[..., None]:
        return self.instrument.record  # type: ignore[no-any-return]

    @property
    def constant(self) -> bool:
        return not self.keys and self.number is None

    def settle(self) -> bool:
        if not self.constant or self._bound is not None:
            return False
        self._bound = self.instrument.bind(*self.labels(self.part.values))
        return True

    @property
    def chooses(self) -> Any:
        return self.record if self.instrument.dimensions else None

    def recorder(self) -> Callable[[float], None]:
        if self._bound is None or self.instrument.dimensions:
            return lambda value: self.record(value, *self.labels(self.part.values))
        return self._bound

    def labels(self, attributes: Mapping[str, Any]) -> list[Any]:
        """Return the labels in the order of the instrument."""
        return [attributes.get(name) for name in self.model.attributes]

    def amount(self, elapsed: float, given: Given) -> float | None:
        """Return what is to be recorded; None if it is not there."""
        if self.number is None:
            return elapsed if self.part.kind == parts.TIMED else self.part.step
        early = self.number.root != RESULT
        place = len(self.inputs) - 1 if early else len(self.inputs) + len(self.outputs) - 1
        return numeric(given[place]) if len(given) > place else None

    def fail(self, elapsed: float, error: BaseException, given: Given, operation: Any) -> None:
        self.record_with(self.amount(elapsed, given), error, self._attributes(given))

    def record_with(self, amount: float | None, error: BaseException | None, attributes: Mapping[str, Any]) -> None:
        """Record `amount`, seconds or a number, with these attributes and the error's type."""
        if amount is None or (error is None and self.part.only_errors):
            return
        shown = attributes if error is None else {**attributes, ERROR_TYPE: metrics.error_type(error)}
        self.record(amount, *self.labels(shown))

    def end(self, elapsed: float, given: Given) -> None:
        """Record a call that returned; the generated wrapper does the same itself."""
        self.record_with(self.amount(elapsed, given), None, self._attributes(given))


class Told(Bound):
    """Events at start, end and error: `name.start`, ...; with the duration in seconds at the last two."""

    def start(self, *given: Any) -> None:
        """Tell that the call begins."""
        self.start_with(self._attributes(given))

    def start_with(self, attributes: Mapping[str, Any]) -> None:
        """Tell that a call or block begins."""
        if not self.part.only_errors:
            self._emit("start", attributes)

    def end(self, elapsed: float, *given: Any) -> None:
        """Tell that it has returned."""
        self.finish_with(elapsed, None, self._attributes(given))

    def fail(self, elapsed: float, error: BaseException, given: Given, operation: Any) -> None:
        self.finish_with(elapsed, error, self._attributes(given))

    def finish_with(self, elapsed: float, error: BaseException | None, attributes: Mapping[str, Any]) -> None:
        """Tell that a call or block ended; `elapsed` in seconds."""
        if error is None:
            if not self.part.only_errors:
                self._emit("end", {**attributes, DURATION: elapsed})
            return
        told = {
            DURATION: elapsed,
            ERROR_TYPE: metrics.error_type(error),
            "exception.type": exceptions.type_name(error),
            "exception.message": exceptions.message(error),
        }
        self._emit("error", {**attributes, **told})

    def _emit(self, phase: str, given: Mapping[str, Any]) -> None:
        if phase not in self.part.phases:
            return
        attributes = {key: value for key, value in given.items() if value is not None}
        context = reading.request_context()
        if context is not None:
            for key, name in REQUEST:
                value = reading.bounded(reading.attribute(context, name))
                if value is not None:
                    attributes.setdefault(key, value)
        for key, value in asking.current().items():
            attributes.setdefault(key, value)
        events.emit(f"{self.name}.{phase}", attributes, trace_api.get_current_span().get_span_context())


class Traced(Bound):
    """A span, current while the call runs; a root in the background where there is none above it."""

    def __init__(self, part: Part, entry: Entry) -> None:
        super().__init__(part, entry)
        self._kind = SpanKind[entry.span_kind.upper()]

    def begin(self, *given: Any) -> tracing.Operation | NoSpan:
        """Begin the span."""
        return self.begin_with(self._attributes(given))

    def begin_with(self, attributes: Mapping[str, Any]) -> tracing.Operation | NoSpan:
        """Begin the span with these attributes."""
        if isinstance(trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider):
            return NO_SPAN  # nobody traces in this process
        present = {key: value for key, value in attributes.items() if value is not None}
        return tracing.child(SCOPE, self.name, self._kind, present)

    def late(self, *given: Any) -> dict[str, Any]:
        """Return the attributes that the result has."""
        keys = self.keys[len(self.inputs) :]
        return {key: value for key, value in zip(keys, given, strict=True) if value is not None}

    def fail(self, elapsed: float, error: BaseException, given: Given, operation: Any) -> None:
        if operation is not None:
            operation.finish(error)
        elif not isinstance(trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider):
            end = time_ns()
            attributes = self._attributes(given)
            tracing.leaf(SCOPE, self.name, self._kind, attributes, end - int(elapsed * 1e9), end, error)


CLASSES: dict[str, tuple[type[Bound], str]] = {
    parts.TIMED: (Measured, "metric"),
    parts.COUNTED: (Measured, "metric"),
    parts.EVENT: (Told, "event"),
    parts.TRACED: (Traced, "span"),
}


def bind(part: Part) -> Bound | None:
    """Bind a part; None if it cannot be measured in this process, whatever its level is moved to.

    Raises:
        TelemetryError: its name or an attribute is not registered, or an expression is none, where that is an error.
    """
    kind, registered = CLASSES[part.kind]
    entry = names.find(registered, part.name, _instrument(part))
    level = level_of(part, entry)
    if not entry.usable or not parts.possible(level, part.name):
        return None
    return kind(part, entry)


def _instrument(part: Part) -> str:
    """Return which instrument a part needs; none for events and spans."""
    counter = "counter" if part.step >= 0 else "updowncounter"
    return {parts.TIMED: "histogram", parts.COUNTED: counter}.get(part.kind, "")


def level_of(part: Part, entry: Entry) -> Level:
    """Return the registry's level, or the part's own where that is deeper."""
    own = Level[entry.level.upper()]
    return own if part.level is None else max(own, Level[part.level.upper()])


def numeric(value: Any) -> float | None:
    """Return a number, None for everything else."""
    return value if type(value) in (int, float) else None


def _allowed(part: Part, entry: Entry) -> dict[str, Expression]:
    """Return the attributes that are registered and whose expressions can be understood."""
    for key in (*part.attributes, *part.values):
        if entry.attributes is not None and key not in entry.attributes:
            problems.report(f"{part.name} has no attribute {key} in the registry; it has {entry.attributes or 'none'}")
    found = {}
    for key, text in part.attributes.items():
        expression = _parsed(part, key, text)
        if expression is not None and (entry.attributes is None or key in entry.attributes):
            found[key] = expression
    return found


def _number(part: Part) -> Expression | None:
    return None if part.number is None else _parsed(part, "number", part.number)


def _parsed(part: Part, key: str, text: str) -> Expression | None:
    try:
        return parse(text)
    except ExpressionError as error:
        problems.report(f"{part.name}: {key}: {error}")
        return None
