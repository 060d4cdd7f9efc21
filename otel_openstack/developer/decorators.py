# SPDX-License-Identifier: Apache-2.0
"""`timed`, `counted`, `event` and `traced`: decorators, and context managers for a block.

    @timed("myservice.build.duration", attributes={"flavor": "instance.flavor.name"})
    @traced("myservice.build")
    def build(self, context, instance): ...

    with timed("myservice.build.duration", values={"flavor": name}):
        ...

Importing this module imports no SDK: where nothing can be measured, nothing else is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from otel_openstack import levels
from otel_openstack.developer import parts
from otel_openstack.developer.parts import Part

if TYPE_CHECKING:
    from types import TracebackType

    from otel_openstack.developer.blocks import Block

F = TypeVar("F")
Value = str | int | float | bool

_leave: Callable[[Measurement, BaseException | None], None] | None = None  # there since the first block was entered


class Measurement:
    """What the four share. One object may decorate many functions, and may be entered again and by many threads."""

    __slots__ = ("_part",)

    def __init__(self, part: Part) -> None:
        self._part = part

    def __call__(self, target: F) -> F:
        """Decorate a function, method, class method, static method, property, generator or asynchronous function.

        Returns:
            One wrapper for all decorators that stand on each other, with the signature of the function; the function
            itself where nothing of it can be measured in this process.

        Raises:
            TelemetryError: the name is not registered, where that is an error; see `unregistered` in the options.
        """
        if levels.nothing_possible() or (self._part.level == "deep" and not __debug__):
            return target
        from otel_openstack.developer.wrapping import measured

        return measured(target, [self._part])  # type: ignore[no-any-return]

    def __enter__(self) -> Block:
        """Begin a block. `set` and `add` of what this returns take what is known later."""
        global _leave
        from otel_openstack.developer import blocks

        _leave = blocks.leave
        return blocks.enter(self, self._part)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block; what it raised is recorded, and goes on."""
        if _leave is not None:  # as while the interpreter takes its modules apart
            _leave(self, error)

    async def __aenter__(self) -> Block:
        """Begin a block."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block."""
        self.__exit__(kind, error, trace)


class timed(Measurement):  # noqa: N801 (a decorator)
    """Record how long a call or block takes, in seconds, into the histogram `name`.

    Of a coroutine or generator it is the time from its first step to its end, its waits included.

    Args:
        name: of a histogram in a registry file.
        attributes: attribute of the instrument -> expression, such as `{"flavor": "instance.flavor.name"}`.
        values: attribute -> constant.
        level: detailed or deep, where it is to be deeper than the registry says.

    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        values: Mapping[str, Value] | None = None,
        level: str | None = None,
    ) -> None:
        super().__init__(_part(parts.TIMED, name, attributes, values, level))


class counted(Measurement):  # noqa: N801
    """Count calls or blocks in the counter `name`, or add up a number that is taken from them.

    Args:
        name: of a counter in a registry file.
        attributes: attribute of the instrument -> expression.
        number: expression of what is added instead of 1, such as `len(result)` or `size`; nothing where it is absent.
        values: attribute -> constant.
        level: detailed or deep, where it is to be deeper than the registry says.

    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        number: str | None = None,
        values: Mapping[str, Value] | None = None,
        level: str | None = None,
    ) -> None:
        super().__init__(_part(parts.COUNTED, name, attributes, values, level)._replace(number=number))


class event(Measurement):  # noqa: N801
    """Emit log events: `name.start`, `name.end` with the duration, or `name.error` with the exception.

    Args:
        name: of an event in a registry file.
        attributes: attribute -> expression.
        phases: which of start, end and error.
        values: attribute -> constant.
        level: detailed or deep, where it is to be deeper than the registry says.

    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        phases: tuple[str, ...] = parts.PHASES,
        values: Mapping[str, Value] | None = None,
        level: str | None = None,
    ) -> None:
        unknown = set(phases) - set(parts.PHASES)
        if unknown:
            raise ValueError(f"{name}: phases are of {', '.join(parts.PHASES)}, not {', '.join(sorted(unknown))}")
        super().__init__(_part(parts.EVENT, name, attributes, values, level)._replace(phases=tuple(phases)))


class traced(Measurement):  # noqa: N801
    """Make a span of a call or block, current while it runs.

    Args:
        name: of a span in a registry file (its id, without `span.`).
        attributes: attribute -> expression.
        values: attribute -> constant.
        level: detailed or deep, where it is to be deeper than the registry says.

    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        attributes: Mapping[str, str] | None = None,
        *,
        values: Mapping[str, Value] | None = None,
        level: str | None = None,
    ) -> None:
        super().__init__(_part(parts.TRACED, name, attributes, values, level))


def _part(
    kind: str,
    name: str,
    attributes: Mapping[str, str] | None,
    values: Mapping[str, Any] | None,
    level: str | None,
) -> Part:
    if not isinstance(name, str):
        raise TypeError(f"{kind} needs a name: @{kind}('myservice.build')")
    if level not in (None, "basic", "detailed", "deep"):
        raise ValueError(f"{name}: level {level} is none of basic, detailed, deep")
    return Part(kind, name, dict(attributes or {}), dict(values or {}), level=level)
