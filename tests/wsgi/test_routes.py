# SPDX-License-Identifier: Apache-2.0
"""http.route of the frameworks that OpenStack's APIs are made of, on the real libraries; never the raw path."""

from __future__ import annotations

import io
import wsgiref.util
from collections.abc import Iterator
from typing import Any

import falcon
import flask
import pecan
import pytest
import webob
from pecan import rest
from routes import Mapper
from routes.middleware import RoutesMiddleware
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from otel_openstack import settings, testing
from otel_openstack.instrumentation import templates
from otel_openstack.instrumentation.wsgi import Edge
from otel_openstack.testing import Telemetry

UUID = "6f0bc8d0-0c8d-4d8b-9df6-fd8bb8dfc6cc"
HEX = "d8f5c0b7a8f4476f9f4f5ad5dcd0a6ac"


@pytest.fixture(autouse=True)
def _patches(telemetry: Telemetry) -> Iterator[None]:
    with telemetry.patched("routes"):
        yield


def ask(application: Any, path: str, method: str = "GET", body: bytes = b"", **more: str) -> bytes:
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "SCRIPT_NAME": "", **more}
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    wsgiref.util.setup_testing_defaults(environ)
    result = Edge(application)(environ, lambda *_: None)
    try:
        return b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()


def route(telemetry: Telemetry) -> str | None:
    span = telemetry.spans()[-1]
    found = span.attributes.get("http.route")
    method = span.attributes["http.request.method"]
    assert span.name == (method if found is None else f"{method} {found}")
    return found


def ok(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


def mapper() -> Mapper:
    made = Mapper(controller_scan=None)
    made.connect("/servers", controller="s", action="index")
    made.connect("/servers/{id}/action", controller="s", action="action")
    made.connect("/{project_id:[0-9a-f-]+}/servers/:id", controller="s", action="show")
    made.connect("/os-things/{id:[a-z]+}.json", controller="t", action="show")
    made.connect("/metadata/*path", controller="m", action="show")
    made.create_regs([])
    return made


@pytest.mark.parametrize("singleton", [True, False])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/servers", "/v2.1/servers"),
        (f"/servers/{UUID}/action", "/v2.1/servers/{id}/action"),
        (f"/{HEX}/servers/my-name", "/v2.1/{project_id}/servers/{id}"),
        ("/os-things/abc.json", "/v2.1/os-things/{id}.json"),
        ("/metadata/a/b/c", "/v2.1/metadata/{path}"),
        ("/no/such", None),
    ],
)
def test_routes(telemetry: Telemetry, path: str, expected: str | None, singleton: bool) -> None:
    ask(RoutesMiddleware(ok, mapper(), singleton=singleton), path, SCRIPT_NAME="/v2.1")
    assert route(telemetry) == expected


def test_routes_without_a_hook_are_read_from_the_environ(telemetry: Telemetry) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        _, environ["routes.route"] = mapper().routematch("/servers/1/action")
        return ok(environ, start_response)

    ask(application, "/servers/1/action")
    assert route(telemetry) == "/servers/{id}/action"


def test_a_mapper_called_by_hand_as_in_placement(telemetry: Telemetry) -> None:
    made = Mapper()
    made.connect("/resource_providers/{uuid}/inventories", action="inventories")

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        result = made.match(environ=environ)
        environ["wsgiorg.routing_args"] = ((), result)
        return ok(environ, start_response)

    ask(application, f"/resource_providers/{UUID}/inventories", SCRIPT_NAME="/placement")
    assert route(telemetry) == "/placement/resource_providers/{uuid}/inventories"


def test_a_route_that_an_extension_does_not_have_leaves_the_outer_one(telemetry: Telemetry) -> None:
    outer, inner = Mapper(), Mapper()
    outer.connect("/v2/{rest:.*}", controller="x")
    inner.connect("/nothing", controller="x")
    outer.create_regs([])
    inner.create_regs([])
    ask(RoutesMiddleware(RoutesMiddleware(ok, inner), outer), "/v2/abc")
    assert route(telemetry) == "/v2/{rest}"


def test_flask_as_in_keystone(telemetry: Telemetry) -> None:
    application = flask.Flask("demo")

    @application.route("/users/<string:user_id>/projects/<int(signed=True):number>")
    def user(user_id: str, number: int) -> str:
        return user_id

    mounted = DispatcherMiddleware(ok, {"/v3": application})
    assert ask(mounted, "/v3/users/alice/projects/7") == b"alice"
    assert route(telemetry) == "/v3/users/{user_id}/projects/{number}"
    ask(mounted, "/v3/users/alice")
    assert route(telemetry) is None


def test_flask_behind_a_filter_that_answers_later(telemetry: Telemetry) -> None:
    class Service(flask.Flask):
        pass

    application = Service("demo")
    application.add_url_rule("/v3/users/<user_id>", view_func=lambda user_id: user_id)

    def waiting(environ: dict[str, Any], start_response: Any) -> Any:
        return webob.Request(environ).get_response(application)(environ, start_response)

    assert ask(waiting, "/v3/users/alice") == b"alice"
    assert route(telemetry) == "/v3/users/{user_id}"


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/", "300 Multiple Choices", "/"),
        ("/v2.1", "200 OK", "/v2.1"),
        ("/v3/", "200 OK", "/v3/"),
        ("/v9", "404 Not Found", None),
        ("/v2.1/servers", "200 OK", None),
    ],
)
def test_documents_of_versions(telemetry: Telemetry, path: str, status: str, expected: str | None) -> None:
    def versions(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])
        return [b""]

    ask(versions, path)
    assert route(telemetry) == expected


class NodeStates(rest.RestController):
    @pecan.expose("json")
    def put(self, target: str) -> dict[str, str]:
        return {}


class Node:
    def __init__(self, ident: str) -> None:
        self.ident = ident

    @pecan.expose("json")
    def index(self) -> dict[str, str]:
        return {"id": self.ident}


class Nodes(rest.RestController):
    """As ironic: the lookup takes an ident, and the name of the collection below it."""

    @pecan.expose("json")
    def get_all(self) -> dict[str, str]:
        return {}

    @pecan.expose("json")
    def get_one(self, node_ident: str) -> dict[str, str]:
        if node_ident == "gone":
            pecan.abort(404)
        return {}

    @pecan.expose()
    def _lookup(self, ident: str, *remainder: str) -> Any:
        if remainder and remainder[0] == "states":
            return NodeStates(), remainder[1:]
        return pecan.abort(404)


class Collections:
    """As neutron: collections by name, items by id, sub-collections below an item."""

    known = frozenset({"networks", "quotas", "security-groups"})

    @pecan.expose()
    def _lookup(self, collection: str, *remainder: str) -> Any:
        if collection not in self.known:
            pecan.abort(404)
        pecan.request.context["uri_identifiers"] = {}
        return Collection(collection), remainder


class Collection:
    def __init__(self, name: str) -> None:
        self.name = name

    @pecan.expose(generic=True, template="json")
    def index(self) -> dict[str, str]:
        return {}

    @pecan.expose()
    def _lookup(self, item: str, *remainder: str) -> Any:
        pecan.request.context["uri_identifiers"][f"{self.name[:-1]}_id"] = item
        return Item(), remainder


class Item:
    @pecan.expose(generic=True, template="json")
    def index(self) -> dict[str, str]:
        return {}

    @pecan.expose()
    def _lookup(self, collection: str, *remainder: str) -> Any:
        return Collection(collection), remainder


class Refusing(pecan.hooks.PecanHook):  # type: ignore[misc]
    def before(self, state: Any) -> None:
        if state.request.headers.get("X-Refuse"):
            pecan.abort(403)


class Root:
    nodes = Nodes()
    v2 = Collections()

    @pecan.expose("json")
    def index(self) -> dict[str, str]:
        return {}

    @pecan.expose("json")
    def images(self, name: str, *more: str) -> dict[str, str]:
        return {}


@pytest.mark.parametrize("locals_", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "/"),
        ("GET", "/nodes", "/nodes"),
        ("GET", "/nodes/my-node", "/nodes/{node_ident}"),
        ("GET", "/nodes/gone", "/nodes/{node_ident}"),
        ("PUT", "/nodes/my-node/states/on", "/nodes/{ident}/states/{target}"),
        ("GET", "/v2/networks", "/v2/networks"),
        ("GET", "/v2/security-groups", "/v2/security-groups"),
        ("GET", "/v2/networks/my-net", "/v2/networks/{network_id}"),
        ("GET", f"/v2/networks/{UUID}.json", "/v2/networks/{network_id}"),
        ("GET", f"/v2/networks/{UUID}/tags/red", "/v2/networks/{network_id}/tags/{tag_id}"),
        ("GET", "/v2/nothing/my-net", None),
        ("GET", "/nowhere/my-net", None),
        ("GET", "/images/some-image/a/b", "/images/{name}/{id}/{id}"),
    ],
)
def test_pecan(telemetry: Telemetry, method: str, path: str, expected: str | None, locals_: bool) -> None:
    application = pecan.Pecan(Root(), force_canonical=False, guess_content_type_from_ext=True)
    if not locals_:  # a service that hooks in before the routing ends
        application.hooks = [Refusing()]
    ask(application, path, method, SCRIPT_NAME="/api", **({} if locals_ else {"HTTP_X_REFUSE": "1"}))
    assert route(telemetry) == (None if expected is None else "/api" + (expected if expected != "/" else "/"))


def test_falcon(telemetry: Telemetry) -> None:
    class Queue:
        def on_get(self, req: Any, resp: Any, name: str) -> None:
            resp.text = name

    application = falcon.App()
    application.add_route("/v2/queues/{name}", Queue())
    assert ask(application, "/v2/queues/mine") == b"mine"
    assert route(telemetry) == "/v2/queues/{name}"
    ask(application, "/v2/other/mine")
    assert route(telemetry) is None


def test_no_framework_no_route(telemetry: Telemetry) -> None:
    ask(ok, "/anything/at/all")
    assert route(telemetry) is None


def test_a_mount_under_an_id(telemetry: Telemetry) -> None:
    ask(RoutesMiddleware(ok, mapper()), "/servers", SCRIPT_NAME=f"/compute/{HEX}")
    assert route(telemetry) == "/compute/{id}/servers"


def test_time_until_the_controller() -> None:
    application = flask.Flask("demo")
    application.add_url_rule("/a", view_func=lambda: "a")
    with testing.recording(settings.Settings(strict=True, level="deep")) as telemetry, telemetry.patched("routes"):
        for made, path in (
            (application, "/a"),
            (RoutesMiddleware(ok, mapper()), "/servers"),
            (pecan.Pecan(Root()), "/"),
        ):
            ask(made, path)
        points = telemetry.points("openstack.wsgi.dispatch.duration")
    assert {point.attributes["http.route"] for point in points} == {"/a", "/servers", "/"}
    assert all(0 < point.sum < 5 for point in points)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/v2.1/servers/detail", "/v2.1/servers/detail"),
        (f"/v2.1/servers/{UUID}/os-interface/{UUID}", "/v2.1/servers/{id}/os-interface/{id}"),
        (f"/v2/{HEX}/volumes", "/v2/{id}/volumes"),
        ("/v3/OS-FEDERATION/identity_providers/Corp", "/v3/OS-FEDERATION/identity_providers/{id}"),
        ("/traits/CUSTOM_GOLD", "/traits/{id}"),
        ("/v2.0/networks/private", "/v2.0/networks/{id}"),
        ("/v3/users/alice/projects", "/v3/users/{id}/projects"),
        ("/v3/projects/a/users/b/roles/c", "/v3/projects/{id}/users/{id}/roles/{id}"),
        ("/v3/auth/tokens", "/v3/auth/tokens"),
        (f"/v2.1/servers/{UUID}/action", "/v2.1/servers/{id}/action"),
        (f"/v1/nodes/{UUID}/states/power", "/v1/nodes/{id}/states/power"),
        ("/v2.0/security-groups", "/v2.0/security-groups"),
        ("/v3/OS-OAUTH1/access_tokens/OS-X/status/word", "/v3/OS-OAUTH1/access_tokens/OS-X/status/word"),
        ("/v1/AUTH_abc/photos/2026/11/a.jpg", "/v1/{account}/{container}/{object}"),
        ("/v1/AUTH_abc/photos", "/v1/{account}/{container}"),
        ("/v2/flavors/m1.tiny/host-12", "/v2/flavors/{id}/{id}"),
        ("/latest/meta-data/10.0.0.7", "/latest/meta-data/{id}"),
        ("/deadbeef/cafebabe-cafe-cafe-cafe-cafecafecafe", "/{id}/{id}"),
        ("/req-4c0b6f2e-6d0c-4f36-8a0e-2f5d0c9f9d53", "/{id}"),
        ("/caf\u00e9/<script>", "/{id}/{id}"),
        ("/" + "a" * 300, None),
    ],
)
def test_templates_of_unknown_paths(path: str, expected: str | None) -> None:
    assert templates.of(path) == expected


def test_the_number_of_templates_is_bounded() -> None:
    bound = templates.Bound(2)
    assert [bound.admit(name) for name in ("a", "b", "c", "a", None)] == ["a", "b", None, "a", None]
