# SPDX-License-Identifier: Apache-2.0
"""Who asked, and the request's ids, from what the service's own middleware left in the environ.

Ids only: no names, no roles, never a token. A header alone proves nothing (`X-User-Id` can be sent by anyone), so
identity headers count only where keystonemiddleware left its own mark, which no client can send.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otel_openstack.pattern import Pattern
from otel_openstack.semconv import attributes as attr

LONGEST = 64
"""Characters of an id of user, project or domain."""

CONTEXT = ".context"

_HEADERS = (
    (attr.OPENSTACK_USER_ID, ("HTTP_X_USER_ID",)),
    (attr.OPENSTACK_PROJECT_ID, ("HTTP_X_PROJECT_ID",)),
    (attr.OPENSTACK_DOMAIN_ID, ("HTTP_X_DOMAIN_ID", "HTTP_X_PROJECT_DOMAIN_ID", "HTTP_X_USER_DOMAIN_ID")),
)
_CONTEXT = (
    (attr.OPENSTACK_USER_ID, ("user_id",)),
    (attr.OPENSTACK_PROJECT_ID, ("project_id",)),
    (attr.OPENSTACK_DOMAIN_ID, ("domain_id", "project_domain_id", "user_domain_id")),
)
_SERVER = Pattern(r"/servers/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})(?:/|$)")
_REQUEST_IDS = (
    (attr.OPENSTACK_REQUEST_ID, "openstack.request_id"),
    (attr.OPENSTACK_GLOBAL_REQUEST_ID, "openstack.global_request_id"),
)


def of(environ: Mapping[str, Any], answered_id: str | None = None) -> dict[str, str]:
    """Return the identity attributes of a request whose application has returned.

    Args:
        environ: the request's environ, as the application left it.
        answered_id: the X-OpenStack-Request-Id of the response, for services that keep it nowhere else.

    """
    found = _identity(environ)
    for name, key in _REQUEST_IDS:
        if key in environ and (value := _plain(environ[key])):
            found[name] = value
    if answered_id is not None and attr.OPENSTACK_REQUEST_ID not in found and (value := _plain(answered_id)):
        found[attr.OPENSTACK_REQUEST_ID] = value
    path = environ.get("PATH_INFO")
    if isinstance(path, str) and "/servers/" in path and (match := _SERVER.search(path)):
        found[attr.OPENSTACK_INSTANCE_ID] = match[1]
    return found


def _identity(environ: Mapping[str, Any]) -> dict[str, str]:
    if "keystone.token_auth" in environ or "keystone.token_info" in environ:
        confirmed = environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed"
        return dict(_first(_HEADERS, environ.get)) if confirmed else {}
    keystone = environ.get("KEYSTONE_AUTH_CONTEXT")
    if isinstance(keystone, dict):
        return dict(_first(_CONTEXT, keystone.get))
    if CONTEXT not in " ".join(environ):  # most have none, and this is quicker than to look at each
        return {}
    for key in environ:
        # nova.context, placement.context, neutron.context: an oslo.context RequestContext, also without keystone.
        if key.endswith(CONTEXT) and hasattr(environ[key], "user_id"):
            return dict(_first(_CONTEXT, lambda name, held=environ[key]: getattr(held, name, None)))
    return {}


def _first(table: Any, get: Any) -> Iterator[tuple[str, str]]:
    for name, keys in table:
        for key in keys:
            if value := _plain(get(key)):
                yield name, value
                break


def _plain(value: Any) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        return None
    return value if value.isascii() and value.isprintable() else None
