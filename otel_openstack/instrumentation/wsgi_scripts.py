# SPDX-License-Identifier: Apache-2.0
"""Scripts that a server in C executes as a module: uWSGI's `wsgi-file` and `mount`, mod_wsgi's `WSGIScriptAlias`.

No finder is asked for such a module, so there is no post-import hook. The server reads the file, has Python execute it,
and takes `application` out of its namespace, all in C. What it does pass through is `_fix_up_module`, with the
namespace, right before it executes the script; and its look for `application` is a look into that namespace. So the
namespace gets a key there of the same hash as "application", which is never equal to anything but notices who compares
with it: the first one to do so when the script has been executed makes room and puts the edge round the application,
and the look goes on to find that. The script itself, and whoever it calls, find what they made, or nothing.

A script that switches us on by itself (`import otel_openstack.auto` in it) is found on the stack instead.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from otel_openstack import levels, resource
from otel_openstack.instrumentation.wsgi import at_edge
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, guard
from otel_openstack.runtime import originals

NAMES = ("uwsgi_file_", "_mod_wsgi_")
"""How the servers call such modules."""

LIMIT = 1000  # frames to look through

Namespace = dict[str, Any]

_watch = guard("wsgi.script")
_nothing = object()
_replaced: list[tuple[Namespace, str, Any, Any]] = []


class Key(str):
    """Stands in the namespace of a script that is going to be executed, where its name would."""

    __slots__ = ("_namespace", "_thread")

    _namespace: Namespace
    _thread: int

    def __eq__(self, other: object) -> bool:
        if str.__eq__(self, other) is True and _watch.applies():
            with _watch:
                self._asked(self._namespace)
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__

    def put(self, namespace: Namespace) -> None:
        """Stand before the name in every look for it; what has it already stays as it is."""
        if str.__str__(self) in namespace:
            return
        self._thread = originals.get_ident()
        self._namespace = namespace
        namespace[self] = None

    def _asked(self, namespace: Namespace) -> None:
        if any(frame.f_globals is namespace for frame in _bodies(sys._current_frames().get(self._thread))):
            return  # the script is not at its end
        del namespace[self]
        name = str.__str__(self)
        application = namespace.get(name, _nothing)
        if application is not _nothing:
            edge = namespace[name] = at_edge(application)
            if edge is not application:
                _replaced.append((namespace, name, application, edge))


def _bodies(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the modules that are executed now in the thread of `frame`."""
    for _ in range(LIMIT):
        if frame is None:
            return
        if frame.f_code.co_name == "<module>":
            yield frame
        frame = frame.f_back


def _fix_up(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `_fix_up_module(namespace, name, path, cached path)`."""

    @functools.wraps(original)
    def _fix_up_module(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if _watch.applies():
            with _watch:
                if args[1].startswith(NAMES):
                    _expect(args[0])
        return result

    return _fix_up_module


def _expect(namespace: Namespace) -> None:
    _, name = resource.uwsgi_application()
    Key(name).put(namespace)


PATCHES: tuple[Patch, ...] = (
    Patch("wsgi.script", "_frozen_importlib_external", "_fix_up_module", group="http", replace=_fix_up),
)


def install() -> None:
    """Look whether it is a script that switches us on."""
    if not levels.possible(Level.BASIC, "http"):
        return
    for frame in _bodies(sys._getframe()):
        if str(frame.f_globals.get("__name__", "")).startswith(NAMES):
            with _watch:
                _expect(frame.f_globals)


def uninstall() -> None:
    """Put the applications of scripts back."""
    while _replaced:
        namespace, name, application, edge = _replaced.pop()
        if namespace.get(name) is edge:
            namespace[name] = application
