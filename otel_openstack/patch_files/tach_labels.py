# SPDX-License-Identifier: Apache-2.0
"""Labels of Tach: those that a helper makes of a call's arguments, and `{%TX_ID%}`, the number of a transaction.

A helper is the operator's own code. It is loaded at the first call, from a file that nobody else can write; what it
raises costs that call its label, and is said once. It may work for most calls and not for some, as Tach's own did, so
it is asked again. It may return other arguments than it was given: Tach called with those; here a call stays as it is.
"""

from __future__ import annotations

import importlib
import itertools
import os
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from otel_openstack.patch_files import trust
from otel_openstack.runtime import notices

LABEL = "tach.label"
TRANSACTION = "{%TX_ID%}"
"""In a label of StackTach's notifier."""

_modules: dict[str, ModuleType] = {}


class Helper:
    """`app` of the module `app_helper`."""

    def __init__(self, module: str, function: str, file: str, where: str) -> None:
        self.module = module
        self.function = function
        self.where = where
        self._directory = os.path.dirname(os.path.abspath(file))
        self._loaded: Callable[..., Any] | None = None

    def label(self, *args: Any, **kwargs: Any) -> str:
        """Return what it says of a call; raises what it raises."""
        if self._loaded is None:
            self._loaded = self.load()
        return str(self._loaded(*args, **kwargs)[2])

    def load(self) -> Callable[..., Any]:
        """Return the function.

        Raises:
            UntrustedError: others could write it.
            Exception: the module cannot be imported, or has no such function.
        """
        module = _modules.get(self.path() or self.module) or self._module()
        function = getattr(module, self.function)
        if not callable(function):
            raise TypeError(f"{self.function} of {self.module} is no function")
        return function  # type: ignore[no-any-return]

    def path(self) -> str:
        """Return the file that it is read from; empty where it is a module of the environment."""
        if os.sep in self.module or self.module.endswith(".py"):
            return os.path.join(self._directory, self.module)
        beside = os.path.join(self._directory, f"{self.module}.py")
        return beside if os.path.exists(beside) else ""

    def _module(self) -> ModuleType:
        path = self.path()
        if not path:
            return importlib.import_module(self.module)
        code = compile(trust.read(path), path, "exec")
        module = ModuleType(os.path.basename(path).removesuffix(".py"))
        module.__file__ = path
        exec(code, vars(module))  # noqa: S102 (that is what an app helper is for)
        return _modules.setdefault(path, module)


class Transactions:
    """Numbers of transactions of one notifier. What is called within one has its number, also in other threads' way."""

    def __init__(self) -> None:
        self._numbers = itertools.count(2)
        self._current: ContextVar[int] = ContextVar("otel_openstack_tach", default=1)

    def bump(self) -> None:
        """Begin a transaction."""
        self._current.set(next(self._numbers))

    def current(self) -> int:
        """Return the number of the one that the caller is in."""
        return self._current.get()


def _complain(helper: Helper, section: str, error: Exception) -> None:
    what = f"app helper {helper.function}, {helper.where}, failed"
    notices.say("warning", f"{what}; such a call is counted as {section}: {str(error)!r} ({type(error).__name__})")


def labelled(
    section: str, helper: Helper | None, transactions: Transactions, *, bump: bool
) -> tuple[Callable[..., str], Callable[..., str]]:
    """Return two functions of a call's arguments: its label for metrics, and that for an event, with the number."""
    failures = itertools.count()

    def label(*args: Any, **kwargs: Any) -> str:
        if helper is not None:
            try:
                return helper.label(*args, **kwargs)
            except Exception as error:
                if next(failures) == 0:
                    _complain(helper, section, error)
        return section

    def told(*args: Any, **kwargs: Any) -> str:
        if bump:
            transactions.bump()
        return label(*args, **kwargs).replace(TRANSACTION, str(transactions.current()))

    return label, told
