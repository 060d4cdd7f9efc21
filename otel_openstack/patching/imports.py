# SPDX-License-Identifier: Apache-2.0
"""Post-import hooks: run a callback when a module has been imported, without importing it ourselves.

wrapt has the same, but importing it costs 76 ms and 15 MB, which every process of a cloud would pay.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from otel_openstack.patching.guard import guard

if TYPE_CHECKING:  # it would bring archives and temporary files into every process
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

Callback = Callable[[ModuleType], None]

_callbacks: dict[str, list[Callback]] = {}


def when_imported(module: str, callback: Callback) -> Callable[[], None]:
    """Call `callback(module object)` once `module` is imported; at once if it already is.

    Returns:
        A function that takes the callback back.
    """
    loaded = sys.modules.get(module)
    if loaded is not None and not _initializing(loaded):
        _call(callback, loaded)
        return lambda: None
    waiting = _callbacks.setdefault(module, [])
    waiting.append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)

    def cancel() -> None:
        if callback in waiting:
            waiting.remove(callback)

    return cancel


def _initializing(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _call(callback: Callback, module: ModuleType) -> None:
    with guard(f"import of {module.__name__}"):
        callback(module)


class _Finder:
    """Finds watched modules through the other finders and puts a loader round theirs."""

    def __init__(self) -> None:
        self._busy = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Another hook's finder asks all finders again: answer only the outermost question.
        if not _callbacks.get(fullname) or getattr(self._busy, "name", None) == fullname:
            return None
        self._busy.name = fullname
        try:
            spec = self._ask_others(fullname, path, target)
        finally:
            self._busy.name = None
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
        return spec

    def _ask_others(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(fullname, path, target)
            if spec is not None:
                return spec
        return None


class _Loader:
    """Loads with the module's own loader, puts that back in its place, then runs the callbacks."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module sees its own loader, as importlib.resources and others read it while it is executed.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for callback in tuple(_callbacks.pop(module.__name__, ())):  # one may take itself back
            _call(callback, module)


# Warnings of a module at its import are shown for the line that imports it: Python passes over the frames of its own
# import machinery, which it knows by their file name. Our frame in between has to be passed over too.
_Loader.exec_module.__code__ = _Loader.exec_module.__code__.replace(
    co_filename=f"<importlib._bootstrap by way of {__name__}>"
)

_finder = _Finder()
