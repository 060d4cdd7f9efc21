# SPDX-License-Identifier: Apache-2.0
"""Secrets that can be recognised, planted wherever a service takes one in: none may ever be found in what is exported.

`Nest` makes them and remembers what each is; `misuse` lets requests fail with secrets in them.
"""

import base64
import contextlib
import secrets
import urllib.request

import openstack
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


class Nest:
    """All values of one run, by what they are."""

    def __init__(self):
        self.planted = {}

    def egg(self, name):
        """A new value, kept as `name`: 32 hexadecimal digits, so that it survives any quoting as it is."""
        return self.keep(name, secrets.token_hex(16))

    def keep(self, name, value):
        self.planted[name] = value
        return value


def of_a_server(nest, number, key):
    """Arguments of a create."""
    text = f"#cloud-config\npassword: {nest.egg(f'user data {number}')}\n"
    return {
        "user_data": base64.b64encode(text.encode()).decode(),
        "metadata": {"note": nest.egg(f"server metadata {number}")},
        "admin_password": nest.egg(f"admin password {number}"),
        "key_name": key.name,
    }


def image(nest, size):
    """Bytes of an image: one value over and over."""
    value = nest.egg("image bytes").encode()
    return value * (size // len(value))


def keypair(nest, cloud):
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    name = f"key-{secrets.token_hex(4)}"
    return cloud.compute.create_keypair(name=name, public_key=f"{line} {nest.egg('comment of a key')}")


def misuse(nest, cloud, server, image, network):
    """Make secrets pass every service, most of them in requests that fail."""
    for act in (_login, _bodies, _queries_and_headers, _duplicates, _kept_secrets):
        act(nest, cloud, server, image, network)


def _login(nest, cloud, *_):
    """The right user with a wrong password, and a token that never was one."""
    password = nest.egg("wrong password")
    asked = {"user": {"name": "admin", "domain": {"id": "default"}, "password": password}}
    body = {"auth": {"identity": {"methods": ["password"], "password": asked}}}
    _expect(cloud.session.post("/auth/tokens", json=body, authenticated=False, **_identity()), 401)
    token = f"gAAAA{nest.egg('wrong token')}"
    for kind in ("compute", "image", "network", "placement"):
        path = "/resource_providers" if kind == "placement" else "/"
        asked = {"headers": {"X-Auth-Token": token}, "authenticated": False, "raise_exc": False}
        cloud.session.get(path, endpoint_filter={"service_type": kind, "interface": "public"}, **asked)


def _bodies(nest, cloud, server, image, network):
    """Bodies that are refused, by messages that quote them."""
    sent = {"server": {"name": "x", "imageRef": nest.egg("image in a body"), "flavorRef": nest.egg("flavor in a body"),
                       "networks": nest.egg("networks in a body")}}  # fmt: skip
    _expect(cloud.compute.post("/servers", json=sent), 400)
    port = {"port": {"network_id": network.id, "mac_address": nest.egg("address in a body")}}
    _expect(cloud.network.post("/ports", json=port), 400)
    patch = [{"op": "replace", "path": "/visibility", "value": nest.egg("visibility in a body")}]
    media = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    _expect(cloud.image.patch(f"/images/{image.id}", json=patch, headers=media), 400)
    _expect(cloud.compute.post(f"/servers/{server.id}/action", data=nest.egg("body that is no JSON")), 400)
    reset = {"changePassword": {"adminPass": nest.egg("new admin password")}}  # to the compute node by RPC
    cloud.compute.post(f"/servers/{server.id}/action", json=reset)


def _queries_and_headers(nest, cloud, *_):
    _expect(cloud.compute.get("/servers", params={"marker": nest.egg("marker in a query")}), 400)
    cloud.session.get("/users", params={"name": nest.egg("name in a query")}, **_identity())
    cloud.image.get("/images", params={"marker": nest.egg("marker of an image")})
    cloud.network.get("/ports", params={"fields": "id", "name": nest.egg("name of a port")})
    headers = {"Cookie": f"session={nest.egg('cookie')}", "Authorization": f"Bearer {nest.egg('bearer')}"}
    address = cloud.session.get_endpoint(service_type="compute", interface="public")
    scheme, _, rest = address.partition("://")
    requests.get(f"{scheme}://user:{nest.egg('password in a URL')}@{rest}/servers", headers=headers, timeout=30)
    refused = f"http://user:{nest.egg('password for nobody')}@127.0.0.1:9/?signature={nest.egg('signature for nobody')}"
    for get in (lambda url: requests.get(url, timeout=30), lambda url: urllib.request.urlopen(url, timeout=30)):
        with contextlib.suppress(OSError):
            get(refused)


def _duplicates(nest, cloud, *_):
    """The database refuses the second one, in an error that holds statement and values."""
    user = {"name": nest.egg("name of a user"), "password": nest.egg("password of a user"), "domain_id": "default"}
    made = cloud.session.post("/users", json={"user": user}, **_identity())
    again = user | {"password": nest.egg("password of a duplicate"), "description": nest.egg("description")}
    _expect(cloud.session.post("/users", json={"user": again}, **_identity()), 409)
    provider = {"name": nest.egg("name of a provider")}
    _expect(cloud.placement.post("/resource_providers", json=provider, microversion="1.0"), 201)
    _expect(cloud.placement.post("/resource_providers", json=provider, microversion="1.0"), 409)
    flavor = {"flavor": {"name": nest.egg("name of a flavor"), "ram": 64, "vcpus": 1, "disk": 0}}
    _expect(cloud.compute.post("/flavors", json=flavor), 200)
    _expect(cloud.compute.post("/flavors", json=flavor), 409)
    with contextlib.suppress(openstack.exceptions.SDKException):
        cloud.identity.delete_user(made.json()["user"]["id"])


def _kept_secrets(nest, cloud, *_):
    """What keystone keeps for its users."""
    user = cloud.session.get_user_id()
    asked = {"name": nest.egg("name of a credential"), "secret": nest.egg("secret of an application")}
    _expect(
        cloud.session.post(
            f"/users/{user}/application_credentials", json={"application_credential": asked}, **_identity()
        ),
        201,
    )
    blob = {"type": "cert", "blob": nest.egg("blob of a credential"), "user_id": user}
    _expect(cloud.session.post("/credentials", json={"credential": blob}, **_identity()), 201)


def _identity():
    return {
        "endpoint_filter": {"service_type": "identity", "interface": "public", "version": (3, 0)},
        "raise_exc": False,
    }


def _expect(response, status):
    """A request that ends otherwise has not taken its secret as far as it should."""
    if response.status_code != status:
        raise AssertionError(f"{response.request.method} {response.url}: {response.status_code}, {response.text[:500]}")
