# SPDX-License-Identifier: Apache-2.0
"""A patch: one attribute of a library replaced when its module is imported, and put back by `undo`."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from otel_openstack import levels, settings
from otel_openstack.levels import Level
from otel_openstack.patching import inventory
from otel_openstack.patching.fitness import unfit
from otel_openstack.patching.guard import Guard, guard, last, mute, silence
from otel_openstack.patching.imports import when_imported
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import switch


class Hook(Protocol):
    """What runs round a call. The call itself happens once, outside our `try`, whatever we do.

    `before` gets the call's own arguments and returns a state, or None to leave this call alone; `finish` gets that
    state and either the result or the error.
    """

    def before(self, *args: Any, **kwargs: Any) -> Any: ...

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None: ...


Rewrite = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
Replace = Callable[[Any], Any]


@dataclass(eq=False, repr=False)
class Patch:
    """One place in a library, and what to put there.

    Exactly one of `hook`, `rewrite` (arguments in, arguments out) and `replace` (original in, replacement out; its own
    code guarded by itself) is given. `attribute` is dotted: `function`, `Class.method`.
    """

    name: str
    module: str
    attribute: str
    level: Level = Level.BASIC
    group: str = ""
    hook: Hook | Callable[[], Hook] | None = None
    rewrite: Rewrite | None = None
    replace: Replace | None = None
    lasting: bool = False
    """Works whatever level the process has moved to: it measures nothing itself."""
    always: bool = False
    """So does this one, and also while the process is switched off: it notes, or changes, what may outlive that."""
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def install(self) -> None:
        """Apply the patch now, or when its module is imported; or note why not."""
        reason = self._refused()
        if reason:
            inventory.note(self.name, State.SKIPPED, reason)
            return
        inventory.note(self.name, State.WAITING, f"{self.module} is not imported")
        self._undo.append(when_imported(self.module, self._apply))
        self._follow_level()
        _installed.append(self)

    def undo(self) -> None:
        """Put the original object back; a patch that was not applied is taken off the waiting list."""
        while self._undo:
            self._undo.pop()()
        if self in _installed:
            _installed.remove(self)
        inventory.forget(self.name)

    def _follow_level(self) -> None:
        """Pass through while the level in force is below this patch's own."""
        if self.lasting or self.always:
            last(self.name)
        else:
            mute(self.name, not levels.active(self.level, self.group))

    def _refused(self) -> str:
        if not levels.possible(self.level, self.group):
            return f"level {self.level.name.lower()} is not in force"
        if settings.names_patch(settings.get().disabled_patches, self.name):
            return "disabled by OTEL_OPENSTACK_DISABLED_PATCHES"
        return ""

    def _apply(self, module: ModuleType) -> None:
        try:
            self._replace(module)
        except Exception as error:
            inventory.note(self.name, State.FAILED, f"{self.module}.{self.attribute} cannot be patched: {error!r}")
            guard(self.name).failed("apply", error)

    def _replace(self, module: ModuleType) -> None:
        owner, _, last = self.attribute.rpartition(".")
        target: Any = module
        try:
            for part in owner.split(".") if owner else ():
                target = getattr(target, part)
            original = inspect.getattr_static(target, last)
        except AttributeError:
            inventory.note(self.name, State.SKIPPED, f"{self.module} has no {self.attribute} in this release")
            return
        reason = unfit(target, self.attribute, original)
        if reason:
            inventory.note(self.name, State.SKIPPED, f"{self.module}: {reason}")
            return
        inherited = last not in vars(target)
        replacement = self._replacement(original)
        setattr(target, last, replacement)
        self._undo.append(lambda: self._restore(target, last, original, replacement, inherited))
        inventory.note(self.name, State.ACTIVE)

    def _restore(self, target: Any, last: str, original: Any, replacement: Any, inherited: bool) -> None:
        if vars(target).get(last) is not replacement:
            guard(self.name).retire()  # somebody wrapped ours: leave theirs, let ours pass through
        elif inherited:
            delattr(target, last)
        else:
            setattr(target, last, original)

    def _replacement(self, original: Any) -> Any:
        if isinstance(original, staticmethod | classmethod):
            return type(original)(self._wrapped(original.__func__))
        return self._wrapped(original)

    def _wrapped(self, original: Any) -> Any:
        watch = guard(self.name)
        watch.renew()
        if self.hook is not None:
            hook = self.hook() if isinstance(self.hook, type) else self.hook
            return hooked(original, hook, watch, always=self.always)  # type: ignore[arg-type]
        if self.rewrite is not None:
            return rewritten(original, self.rewrite, watch, always=self.always)
        if self.replace is not None:
            return self.replace(original)
        raise TypeError(f"patch {self.name} has neither hook, rewrite nor replace")


_installed: list[Patch] = []


def _level_moved() -> None:
    for patch in tuple(_installed):
        patch._follow_level()
    silence(levels.nothing_active())


levels.on_move(_level_moved)


def hooked(original: Callable[..., Any], hook: Hook, watch: Guard, *, always: bool = False) -> Callable[..., Any]:
    """Return `original` with `hook` round it: before, call, finish exactly once. See `Patch.always`."""
    before, finish = hook.before, hook.finish

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        state = None
        if watch.on or (always and watch.applies()):
            try:
                # Most calls have no keywords, and are quicker without.
                state = before(*args, **kwargs) if kwargs else before(*args)
            except Exception as failure:
                watch.failed("before", failure)
        elif switch.off:
            switch.look()
        try:
            result = original(*args, **kwargs) if kwargs else original(*args)
        except BaseException as error:
            if state is not None:
                finished(watch, state, finish, state, None, error)
            raise
        if state is not None:
            try:  # as `finished`, without the call
                finish(state, result, None)
            except BaseException as failure:
                release(state)
                if not isinstance(failure, Exception):
                    raise
                watch.failed("finish", failure)
        return result

    return wrapper


def finished(watch: Guard, state: Any, finish: Callable[..., Any], *args: Any) -> None:
    """Call `finish(*args)`; if it fails, let go of the operation that `state` is or holds."""
    try:
        finish(*args)
    except BaseException as failure:
        release(state)
        if not isinstance(failure, Exception):
            raise  # the service's own, as of a signal: it goes on, but leaves nothing current
        watch.failed("finish", failure)


def release(state: Any) -> None:
    """Let go of the operation that a failed `finish` has left open: a current span would be the parent of all else.

    It is the state itself, one of its parts, or its attribute `operation`. Objects of the library are left alone.
    """
    for part in (state, *(state if isinstance(state, tuple) else ())):
        if type(part).__module__.startswith("otel_openstack."):
            for held in (part, getattr(part, "operation", None)):
                with contextlib.suppress(Exception):
                    getattr(held, "let_go", _nothing)()


def _nothing() -> None:
    pass


def rewritten(
    original: Callable[..., Any], rewrite: Rewrite, watch: Guard, *, always: bool = False
) -> Callable[..., Any]:
    """Return `original` called with the arguments that `rewrite` makes of its own.

    Args:
        original: the library's function.
        rewrite: see `Rewrite`.
        watch: the guard of the patch.
        always: see `Patch.always`.

    """

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if watch.on or (always and watch.applies()):
            try:
                args, kwargs = rewrite(args, kwargs)
            except Exception as failure:
                watch.failed("rewrite", failure)
        return original(*args, **kwargs)

    return wrapper
