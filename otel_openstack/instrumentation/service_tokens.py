# SPDX-License-Identifier: Apache-2.0
"""Requests that keystonemiddleware found to come from a service of the cloud: their trace context is taken over.

That is known only when the middleware has run, inside the application, and the request's span has begun. Two ways:

* The request joins its caller's trace there and then, if nobody has seen its span yet (`tracing.join`). Where the
  middleware had to ask keystone, or the log shows trace ids, somebody has, and it stays with a link.
* The token is remembered, so the next request that brings it is believed from its start. Kept is a keyed hash that no
  other process could compute, for `LIFETIME` after the middleware last confirmed it.

Who is a service is decided here by the role that the middleware asks of a service token, also where it is configured
to accept service tokens without that role, as then any user could send one. It is read from the validated token itself,
since the headers that tell it are the client's own where the middleware does not remove them (keystone's does not).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from otel_openstack.instrumentation import wsgi_environ
from otel_openstack.patching import Patch

HEADERS = ("HTTP_X_SERVICE_TOKEN", "HTTP_X_AUTH_TOKEN")
ROLES = frozenset({"service"})
"""The roles of a service where the middleware has none configured, as keystone's own."""

LIFETIME = 300.0
"""Seconds."""

MOST = 4096
LONGEST = 8192
"""Characters of a token that is looked at."""

_key = os.urandom(32)
_until: dict[bytes, float] = {}


def known(environ: Mapping[str, Any]) -> bool:
    """Return whether a request brings a token that was confirmed as a service's not long ago."""
    if not _until:
        return False
    now = monotonic()
    return any(_until.get(mark(token), 0.0) > now for name in HEADERS if (token := environ.get(name)))


def remember(token: str) -> None:
    """Believe requests with this token from their start."""
    digest = mark(token)
    if not digest:
        return
    _until.pop(digest, None)  # the order is that of confirmation
    if len(_until) >= MOST:
        _until.pop(_oldest(), None)
    _until[digest] = monotonic() + LIFETIME


def forget(token: str) -> None:
    """Believe requests with this token no longer."""
    if _until:
        _until.pop(mark(token), None)


def mark(token: Any) -> bytes:
    """Return the keyed hash of a token; empty for what is none."""
    from hashlib import blake2b

    if not isinstance(token, str) or len(token) > LONGEST:
        return b""
    return blake2b(token.strip().encode("utf-8", "replace"), digest_size=16, key=_key).digest()


def _oldest() -> bytes:
    try:
        return next(iter(_until), b"")
    except RuntimeError:  # another thread put one in just now
        return b""


class Validated:
    """`BaseAuthProtocol.process_request(request)`: the tokens of a request have been validated, or found invalid."""

    def before(self, middleware: Any, request: Any) -> Any:
        exchange = request.environ.get(wsgi_environ.FLAG)
        if exchange is None or not exchange.awaits_service():
            return None
        return middleware, request, exchange

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        middleware, request, exchange = state
        if error is not None:
            return
        services = dict(_judged(middleware, request))
        for token, service in services.items():
            (remember if service else forget)(token)
        if any(services.values()):
            exchange.confirmed()


def _judged(middleware: Any, request: Any) -> Iterator[tuple[str, bool]]:
    """Yield the tokens of a request, and whether each is valid and a service's."""
    roles = frozenset(middleware._service_token_roles) or ROLES
    if token := request.user_token:
        yield token, request.user_token_valid and _has(roles, request.token_auth.user)
    if token := request.service_token:  # the second: where both are the same token, it decides
        yield token, request.service_token_valid and _has(roles, request.token_auth.service)


def _has(roles: frozenset[str], access: Any) -> bool:
    return access is not None and not roles.isdisjoint(access.role_names)


PATCHES: tuple[Patch, ...] = (
    Patch(
        name="service_tokens.validated",
        module="keystonemiddleware.auth_token",
        attribute="BaseAuthProtocol.process_request",
        group="http",
        hook=Validated,
    ),
)
