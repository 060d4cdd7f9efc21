# SPDX-License-Identifier: Apache-2.0
"""Where the edge is put round a WSGI application. Several of these places see one request; the outermost measures it.

1. Loaders: what `paste.deploy.loadapp` and its like return. That is nova, glance, neutron, cinder, heat, barbican, ...
   under any server, `application` of their `*.wsgi.*` modules included.
2. Modules named like `keystone.wsgi.api` or `octavia.wsgi`, and the one that uWSGI is told to load: `application`, the
   object that uWSGI, gunicorn and mod_wsgi take, is replaced when the module has been imported. This is the rule for
   services nobody here has seen. Scripts that no finder is asked for: `wsgi_scripts`.
3. Servers written in Python: the application that is given to them.
4. Frameworks: the application classes of Flask, pecan, falcon and Django, where nothing outside has been seen; filters
   round them are then not in the measurement.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from otel_openstack import levels, resource
from otel_openstack.instrumentation.wsgi import at_edge, serve
from otel_openstack.levels import Level
from otel_openstack.patching import Guard, Patch, guard, rewritten, when_imported
from otel_openstack.pattern import Pattern

Make = Callable[[Callable[..., Any], Guard], Callable[..., Any]]


def _loaded(original: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    """Replace a function that returns an application."""

    @functools.wraps(original)
    def load(*args: Any, **kwargs: Any) -> Any:
        application = original(*args, **kwargs)
        if watch.applies():
            with watch:
                return at_edge(application)
        return application

    return load


def _called(original: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
    """Replace the `__call__` of a framework's application class."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not watch.on or kwargs or len(args) != len(("self", "environ", "start_response")):
            return original(*args, **kwargs)
        return serve(functools.partial(original, args[0]), args[1], args[2])

    return call


def _given(name: str) -> Make:
    """Return what replaces a function whose argument `name` is an application."""

    def replace(original: Callable[..., Any], watch: Guard) -> Callable[..., Any]:
        position = list(inspect.signature(original).parameters).index(name)

        def edged(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if name in kwargs:
                return args, {**kwargs, name: at_edge(kwargs[name])}
            if len(args) > position:
                return (*args[:position], at_edge(args[position]), *args[position + 1 :]), kwargs
            return args, kwargs

        return rewritten(original, edged, watch, always=True)

    return replace


def _patch(name: str, module: str, attribute: str, make: Make) -> Patch:
    watch = guard(f"wsgi.{name}")
    return Patch(watch.name, module, attribute, group="http", replace=lambda original: make(original, watch))


PATCHES: tuple[Patch, ...] = (
    # loaders
    _patch("paste", "paste.deploy.loadwsgi", "loadapp", _loaded),
    _patch("paste.package", "paste.deploy", "loadapp", _loaded),  # for a package that was imported before us
    _patch("placement", "placement.deploy", "loadapp", _loaded),
    _patch("keystone", "keystone.server.wsgi", "initialize_public_application", _loaded),
    _patch("ironic", "ironic.api.app", "setup_app", _loaded),
    _patch("swift", "swift.common.wsgi", "loadapp", _loaded),
    _patch("gunicorn", "gunicorn.app.base", "BaseApplication.wsgi", _loaded),
    # servers
    _patch("eventlet", "eventlet.wsgi", "server", _given("site")),
    _patch("cheroot", "cheroot.wsgi", "Server.__init__", _given("wsgi_app")),
    _patch("werkzeug", "werkzeug.serving", "BaseWSGIServer.__init__", _given("app")),
    _patch("wsgiref", "wsgiref.handlers", "BaseHandler.run", _given("application")),
    _patch("waitress", "waitress.server", "create_server", _given("application")),
    # frameworks
    _patch("flask.app", "flask.app", "Flask.__call__", _called),
    _patch("pecan.app", "pecan.core", "PecanBase.__call__", _called),
    _patch("falcon.app", "falcon.app", "App.__call__", _called),
    _patch("django.app", "django.core.handlers.wsgi", "WSGIHandler.__call__", _called),
)

_MODULE = Pattern(r"\w+(\.\w+)*\.wsgi(\.\w+)?|\w+(\.\w+)*\.\w*wsgi_app")
_LIBRARIES = frozenset(
    {"cheroot", "django", "eventlet", "gunicorn", "oslo_middleware", "oslo_service", "paste", "waitress", "werkzeug"}
)


class _Watch:
    """Sees the names of modules that are looked for, and has those that serve an application called back.

    It finds nothing itself: that is left to the finder of the post-import hooks, which comes after it.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if ("wsgi" in fullname or "uwsgi" in sys.modules) and _modules.applies():
            with _modules:
                if name := _application_of(fullname):
                    _seen.append(when_imported(fullname, lambda module: _replace_application(module, name)))


def _application_of(module: str) -> str:
    """Return what the application of a module is called; empty for a module that serves none."""
    told = resource.uwsgi_modules()
    if module in told:
        return told[module]
    known = _MODULE.fullmatch(module) and module.partition(".")[0] not in _LIBRARIES
    return "application" if known else ""


def _replace_application(module: ModuleType, name: str) -> None:
    if not _modules.applies():
        return
    with _modules:
        application = vars(module).get(name)
        if application is not None:
            resource.learn_wsgi(module.__name__)
        edge = at_edge(application)
        if edge is not application and not inspect.isclass(application) and not isinstance(application, ModuleType):
            setattr(module, name, edge)
            _replaced.append((module, name, application, edge))


_modules = guard("wsgi.module")
_watch = _Watch()
_seen: list[Callable[[], None]] = []
_replaced: list[tuple[ModuleType, str, Any, Any]] = []


def install() -> None:
    """Watch for modules that hold an `application`."""
    if levels.possible(Level.BASIC, "http") and _watch not in sys.meta_path:
        sys.meta_path.insert(0, _watch)


def uninstall() -> None:
    """Put the applications of modules back, and watch no more."""
    if _watch in sys.meta_path:
        sys.meta_path.remove(_watch)
    while _seen:
        _seen.pop()()
    while _replaced:
        module, name, application, edge = _replaced.pop()
        if vars(module).get(name) is edge:
            setattr(module, name, application)
