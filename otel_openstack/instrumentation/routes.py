# SPDX-License-Identifier: Apache-2.0
"""http.route: the template of the path that a request was routed by, with `{name}` for what varies.

| library, service                        | where the template comes from                                   |
|-----------------------------------------|-----------------------------------------------------------------|
| Routes: nova, cinder, glance, placement | the route that `Mapper` matched, regular expressions taken out  |
| Flask: keystone                         | `url_rule` of the request that is dispatched                    |
| pecan: neutron, ironic, barbican        | the path with what `_lookup` and the controller took as arguments replaced |
| falcon: zaqar                           | the responder's `uri_template`                                  |
| swift's proxy                           | which of account, container and object the path has             |
| documents of versions                   | `/` and what looks like `/v2.1` and was found                    |

The prefix under which the application is mounted (SCRIPT_NAME) comes in front. Where nobody routed the request (404s,
what a filter answered) there is no http.route, and the span's name is the method alone: never the raw path.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from otel_openstack.instrumentation import templates
from otel_openstack.instrumentation.wsgi_environ import FLAG, text
from otel_openstack.patching import Patch
from otel_openstack.pattern import Pattern

LONGEST = 256
"""Characters of a route."""


class RoutesMatch:
    """`Mapper._match`: the innermost mapper that finds a route decides."""

    def before(self, mapper: Any, url: Any, environ: Any = None) -> Any:
        if environ is None:  # RoutesMiddleware with its singleton: the mapper has been given the environ
            environ = getattr(mapper, "environ", None)
        exchange = environ.get(FLAG) if isinstance(environ, dict) else None
        return (exchange, prefix(environ)) if exchange is not None else None

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if error is None and result[1] is not None:
            exchange, mounted = state
            exchange.route = bounded(mounted + routes_template(result[1]))
            exchange.dispatched = perf_counter()


class PecanFind:
    """`PecanBase.find_controller`: routed once it returns or a hook of the service raises after the routing."""

    def before(self, application: Any, state: Any) -> Any:
        exchange = state.request.environ.get(FLAG)
        return None if exchange is None else (exchange, state, _looked_up.set([]))

    def finish(self, kept: Any, result: Any, error: BaseException | None) -> None:
        exchange, state, token = kept
        taken = _looked_up.get() or []
        _looked_up.reset(token)
        exchange.dispatched = perf_counter()
        if state.controller is not None and state.arguments is not None:
            exchange.route = _pecan_routes.admit(bounded(prefix(state.request.environ) + pecan_template(state, taken)))


class PecanLookup:
    """`handle_lookup_traversal`: what a `_lookup` took off the path."""

    def before(self, lookup: Any, arguments: Any) -> Any:
        return (lookup, len(arguments)) if _looked_up.get() is not None else None

    def finish(self, kept: Any, result: Any, error: BaseException | None) -> None:
        taken = _looked_up.get()
        if result and taken is not None:
            taken.append((*kept, kept[1] - len(result[1])))


class FalconResponder:
    """`App._get_responder`: (responder, parameters, resource, template)."""

    def before(self, application: Any, request: Any) -> Any:
        return request

    def finish(self, request: Any, result: Any, error: BaseException | None) -> None:
        exchange = request.env.get(FLAG)
        if exchange is not None and error is None and result[3]:
            exchange.route = bounded(prefix(request.env) + result[3])
            exchange.dispatched = perf_counter()


class SwiftController:
    """`Application.get_controller` of the proxy: (class, parts of the path)."""

    def before(self, application: Any, request: Any) -> Any:
        return request

    def finish(self, request: Any, result: Any, error: BaseException | None) -> None:
        exchange = request.environ.get(FLAG)
        if exchange is not None and error is None and result[0] is not None:
            names = [name for name in ("account", "container", "object") if result[1].get(f"{name}_name")]
            exchange.route = "/v1/" + "/".join(f"{{{name}}}" for name in names) if names else "/info"
            exchange.dispatched = perf_counter()


class FlaskDispatch:
    """`Flask.full_dispatch_request`: the rule is matched; once the request is answered nothing tells which it was."""

    def before(self, application: Any, *args: Any) -> Any:
        request = args[0].request if args else sys.modules["flask.globals"].request  # later releases pass the context
        exchange = request.environ.get(FLAG)
        if exchange is not None:
            exchange.dispatched = perf_counter()
            if request.url_rule is not None:
                rule = _FLASK_ARGUMENT.sub(r"{\1}", request.url_rule.rule)
                exchange.route = bounded(prefix(request.environ) + rule)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        pass


def _patch(name: str, module: str, attribute: str, hook: Any) -> Patch:
    return Patch(name=name, module=module, attribute=attribute, group="http", hook=hook)


PATCHES: tuple[Patch, ...] = (
    _patch("routes.match", "routes.mapper", "Mapper._match", RoutesMatch),
    _patch("pecan.route", "pecan.core", "PecanBase.find_controller", PecanFind),
    _patch("pecan.lookup", "pecan.routing", "handle_lookup_traversal", PecanLookup),
    _patch("pecan.lookup.rest", "pecan.rest", "handle_lookup_traversal", PecanLookup),  # its own name for it
    _patch("falcon.route", "falcon.app", "App._get_responder", FalconResponder),
    _patch("swift.route", "swift.proxy.server", "Application.get_controller", SwiftController),
    _patch("flask.route", "flask.app", "Flask.full_dispatch_request", FlaskDispatch),
)

_looked_up: ContextVar[list[tuple[Any, int, int]] | None] = ContextVar("otel_openstack_pecan_lookup", default=None)
_pecan_routes = templates.Bound(1000)  # should a service's lookups be unlike all that are known, there is an end

OK = 200
_VERSION = Pattern(r"/v\d(\.\d{1,2})?/?")
LONGEST_VERSION = len("/v2.90/")
_FLASK_ARGUMENT = Pattern(r"<(?:[^<>:]*:)?([^<>]+)>")
_COLLECTION_ARGUMENTS = frozenset({"collection", "resource_name", "version"})


def of(environ: Mapping[str, Any], known: str | None, path: str, status: int | None) -> str | None:
    """Return the route of a request whose application has returned.

    Args:
        environ: the request's environ, as the application left it.
        known: what a hook has found.
        path: the request's path as it came: a document of versions is its own route, where it was found.
        status: the response's.

    """
    if known is not None:
        return known
    route = environ.get("routes.route")
    if isinstance(getattr(route, "routelist", None), list):
        return bounded(prefix(environ) + routes_template(route))
    if path == "/" or (status == OK and len(path) <= LONGEST_VERSION and _VERSION.fullmatch(path)):
        return path
    return None


def prefix(environ: Mapping[str, Any]) -> str:
    """Return the mount point of the application as a template: some mount under ids (`/{tenant}/`)."""
    mounted = environ.get("SCRIPT_NAME")
    if not mounted or not isinstance(mounted, str) or mounted == "/":
        return ""
    return templates.of(text(mounted.rstrip("/"), LONGEST)) or ""


def bounded(route: str) -> str | None:
    """Return `route` if its length is sane."""
    return (route or "/") if len(route) <= LONGEST else None


@functools.lru_cache(maxsize=4096)
def routes_template(route: Any) -> str:
    """Return the template of a `routes.Route`: `/servers/{id}` for `/servers/{id:[0-9a-f-]+}` and `/servers/:(id)`."""
    parts = (f"{{{part['name']}}}" if isinstance(part, dict) else part for part in route.routelist)
    path = "".join(parts)
    return path if path.startswith("/") else f"/{path}"


def pecan_template(state: Any, taken: list[tuple[Any, int, int]]) -> str:
    """Return the template of a path that pecan has routed.

    Args:
        state: pecan's RoutingState, with controller and arguments.
        taken: for each lookup its function, the segments that were left before it, and those that it took.

    """
    segments = _path(state).split("/")[1:]
    names = _argument_names(state)
    for lookup, left, count in taken:
        parameters = _parameters(getattr(lookup, "__func__", lookup))
        for offset, parameter in enumerate(parameters[:count]):
            position = len(segments) - left + offset
            if parameter not in _COLLECTION_ARGUMENTS and 0 <= position < len(segments):
                segments[position] = f"{{{names.get(segments[position], parameter)}}}"
    return "/" + "/".join(_placeholder(segment, names) for segment in segments)


def _path(state: Any) -> str:
    path: str = state.request.pecan.get("routing_path") or state.request.path_info
    extension = state.request.pecan.get("extension")
    return path[: -len(extension)] if extension and path.endswith(extension) else path


def _placeholder(segment: str, names: Mapping[str, str]) -> str:
    if segment in names:
        return f"{{{names[segment]}}}"
    return segment if not segment or templates.literal(segment) else "{id}"


def _argument_names(state: Any) -> dict[str, str]:
    """Return the values that stand in the path, with the name that the service gives them."""
    arguments = state.arguments
    argspec = getattr(state.controller, "_pecan", {}).get("argspec")
    parameters = [name for name in getattr(argspec, "args", None) or () if name != "self"]
    values = [value for value in arguments.args or () if isinstance(value, str)]
    names = dict(zip(values, parameters, strict=False))
    names.update((value, "id") for value in values if value not in names)
    names.update((value, "id") for value in arguments.varargs or () if isinstance(value, str) and value)
    context = getattr(state.request, "context", None)
    if isinstance(context, dict):  # neutron keeps them by name
        found = context.get("uri_identifiers") or {}
        names.update((value, "id" if name == "None_id" else name) for name, value in found.items())
    names.pop("", None)
    return names


@functools.lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the positional parameters of a `_lookup`: each stands for one segment."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in kinds and p.name != "self")
