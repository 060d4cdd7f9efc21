# SPDX-License-Identifier: Apache-2.0
"""The entries of patch files in a process: waiting for their modules, applied, undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from otel_openstack import settings
from otel_openstack.developer import names
from otel_openstack.developer import parts as declared
from otel_openstack.developer.binding import CLASSES, level_of
from otel_openstack.developer.parts import Part
from otel_openstack.developer.wrapping import measured
from otel_openstack.levels import Level
from otel_openstack.patch_files import files, targets
from otel_openstack.patch_files.model import Contents, Wanted, attribute, modules
from otel_openstack.patch_files.targets import Found, MissingError, UnfitError
from otel_openstack.patching import guard, inventory, when_imported
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import notices

PREFIX = "patch file "
"""How names in the inventory begin; after it comes the target."""

_installed: list[FilePatch] = []
_wrong: list[str] = []  # names in the inventory of entries that could not be read


class FilePatch:
    """One entry: a callable that is measured once its module has been imported, and put back by `undo`."""

    def __init__(self, wanted: Wanted, name: str) -> None:
        self.wanted = wanted
        self.name = name
        self.state = State.WAITING
        self.reason = ""
        self.missing = False
        """Whether what it names is not there."""
        self.found: Found | None = None
        self._replacement: Any = None
        self._cancel: list[Callable[[], None]] = []

    def install(self) -> None:
        """Apply it now, or when its module is imported; or note why not."""
        reason = self._refused()
        if reason:
            self._settle(State.SKIPPED, reason)
            return
        candidates = modules(self.wanted.target)
        self._note(State.WAITING, f"{candidates[min(1, len(candidates) - 1)]} is not imported")
        for module in candidates:
            if self.state is State.WAITING:
                self._cancel.append(when_imported(module, self._imported))

    def undo(self) -> None:
        """Put the original object back; a wrapper that others hold passes calls through from now on."""
        self._stop_waiting()
        if self.found is not None:
            owner, name, original, inherited = self.found
            guard(self.name).retire()
            if targets.own(owner, name) is not self._replacement:
                pass  # somebody wrapped ours: leave theirs
            elif inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
            self.found = self._replacement = None
        self.state = State.WAITING
        inventory.forget(self.name)

    def _refused(self) -> str:
        if settings.names_patch(settings.get().disabled_patches, self.name):
            return "disabled by OTEL_OPENSTACK_DISABLED_PATCHES"
        if not any(_possible(part) for part in self.wanted.parts):
            return f"level {min(map(level, self.wanted.parts)).name.lower()} is not in force"
        return ""

    def _imported(self, module: ModuleType) -> None:
        if self.state is not State.WAITING:
            return
        try:
            self._apply(targets.find(module, attribute(self.wanted.target, module.__name__)))
        except MissingError as error:
            if error.may_come and ":" not in self.wanted.target:
                self._note(State.WAITING, f"{error}, which may be a module that is not imported")
            else:
                self.missing = True
                self._settle(State.SKIPPED, str(error), loud=True)
        except UnfitError as error:
            self._settle(State.SKIPPED, str(error), loud=True)
        except Exception as error:
            self._settle(State.FAILED, f"cannot be patched: {error!r}", loud=True)

    def _apply(self, found: Found) -> None:
        parts = self.wanted.parts
        if isinstance(found.original, classmethod):
            parts = tuple(part._replace(computed=_without_class(part)) for part in parts)
        guard(self.name).renew()
        replacement = measured(found.original, parts, self.name)
        if replacement is found.original:
            self._settle(State.SKIPPED, "nothing of it can be measured at this level")
            return
        setattr(found.owner, found.name, replacement)
        # What stands there now, since a metaclass may make something else of it.
        self._replacement, self.found = targets.own(found.owner, found.name), found
        self._settle(State.ACTIVE)

    def _settle(self, state: State, reason: str = "", *, loud: bool = False) -> None:
        self._stop_waiting()
        self._note(state, reason)
        if loud:
            notices.say(
                "warning", f"patch file {self.wanted}: {'failed' if state is State.FAILED else 'left out'}: {reason}"
            )

    def _note(self, state: State, reason: str = "") -> None:
        self.state, self.reason = state, reason
        inventory.note(self.name, state, reason)

    def _stop_waiting(self) -> None:
        while self._cancel:
            self._cancel.pop()()


def install(paths: Iterable[str] | None = None, presets: Iterable[str] | None = None) -> list[str]:
    """Install what files and presets say, by default those of the options.

    Returns:
        What is wrong, one line each; the rest is installed.
    """
    chosen = settings.get()
    contents = [files.read(path) for path in (chosen.patch_files if paths is None else paths)]
    contents += [files.preset(name) for name in (chosen.patch_presets if presets is None else presets)]
    problems = []
    for one in contents:
        for patch in patches(one):
            patch.install()
            _installed.append(patch)
        for problem in one.problems:
            _wrong.append(f"{PREFIX}{problem.partition(': ')[0]}")
            inventory.note(_wrong[-1], State.FAILED, problem)
            problems.append(f"patch file {problem}")
    return problems


def uninstall() -> None:
    """Undo what `install` did, in the reverse order."""
    while _installed:
        _installed.pop().undo()
    while _wrong:
        inventory.forget(_wrong.pop())


def patches(contents: Contents) -> list[FilePatch]:
    """Return the entries of a file, each under a name of its own."""
    taken = {patch.name for patch in _installed}
    made = []
    for wanted in contents.wanted:
        name, number = f"{PREFIX}{wanted.target}", 1
        while name in taken:
            number += 1
            name = f"{PREFIX}{wanted.target} ({number})"
        taken.add(name)
        made.append(FilePatch(wanted, name))
    return made


def _without_class(part: Part) -> dict[str, Callable[..., Any]]:
    """Return functions for a class method, to which Tach gives no class."""
    return {
        key: lambda _, *args, function=function, **kwargs: function(*args, **kwargs)
        for key, function in part.computed.items()
    }


def level(part: Part) -> Level:
    """Return from which level on a part of a file is measured."""
    entry = names.known(CLASSES[part.kind][1], part.name)
    return level_of(part, entry or names.Entry(part.name))


def _possible(part: Part) -> bool:
    return declared.possible(level(part), part.name)
