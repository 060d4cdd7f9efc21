# SPDX-License-Identifier: Apache-2.0
"""Calls of memcached: counted into the totals of the request that makes them.

At level basic a call that fails or is slow is a span too, at level detailed every one.

pymemcache (dogpile.cache, oslo.cache's pool, tooz) and python-memcached (keystonemiddleware, oslo.cache). The places
are those that go to the network once, below the methods that share them; keys are never looked at: they are made of
tokens.
"""

from __future__ import annotations

from time import perf_counter, time_ns
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import levels, settings, tracing
from otel_openstack.levels import Level
from otel_openstack.patching import Patch
from otel_openstack.semconv import attributes as attr

SCOPE = "otel_openstack.memcache"
GROUP = "cache"


class Call:
    """A call of memcached; `place` is the position of the operation's name among the arguments, if it has one."""

    def __init__(self, operation: str, place: int | None = None) -> None:
        self._operation = operation
        self._place = place

    def before(self, client: Any, *args: Any, **kwargs: Any) -> Any:
        if levels.active(Level.DETAILED, GROUP):
            operation = self._name(args)
            return tracing.child(SCOPE, operation, SpanKind.CLIENT, _attributes(operation, client))
        totals = tracing.totals()
        return None if totals is None else (totals, perf_counter(), self._name(args), client)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        if isinstance(state, tuple):
            _count(state, error)
        else:
            state.totals.add_cache(perf_counter() - state.start)
            state.finish(error=error)

    def _name(self, args: tuple[Any, ...]) -> str:
        name = args[self._place] if self._place is not None and len(args) > self._place else self._operation
        return name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)


def _count(state: tuple[tracing.Totals, float, str, Any], error: BaseException | None) -> None:
    """Add a call to the totals; one that failed or was slow becomes a span as well, as with the database."""
    totals, start, operation, client = state
    seconds = perf_counter() - start
    totals.add_cache(seconds)
    if error is not None or seconds >= settings.get().slow_call_threshold:
        end = time_ns()
        attributes = _attributes(operation, client)
        tracing.leaf(SCOPE, operation, SpanKind.CLIENT, attributes, end - int(seconds * 1e9), end, error)


def _attributes(operation: str, client: Any) -> dict[str, Any]:
    return {attr.DB_SYSTEM_NAME: "memcached", attr.DB_OPERATION_NAME: operation, **_server(client)}


def _server(client: Any) -> dict[str, Any]:
    server = getattr(client, "server", None)
    if isinstance(server, tuple) and len(server) == 2:  # noqa: PLR2004 host and port
        return {attr.SERVER_ADDRESS: server[0], attr.SERVER_PORT: server[1]}
    return {}


# method -> its hook; the name of the operation is an argument where one method serves several.
_PYMEMCACHE = {"_fetch_cmd": Call("get", 0), "_store_cmd": Call("set", 0), "_misc_cmd": Call("command", 1)}
_PYTHON_MEMCACHED = {
    "_get": Call("get", 0),
    "_set": Call("set", 0),
    "_incrdecr": Call("incr", 0),
    "delete": Call("delete"),
    "touch": Call("touch"),
    "get_multi": Call("get_multi"),
    "set_multi": Call("set_multi"),
    "delete_multi": Call("delete_multi"),
    "flush_all": Call("flush_all"),
}

PATCHES: tuple[Patch, ...] = tuple(
    Patch(name=f"memcache.{module}.{method}", module=module, attribute=f"Client.{method}", group=GROUP, hook=hook)
    for module, table in (("pymemcache.client.base", _PYMEMCACHE), ("memcache", _PYTHON_MEMCACHED))
    for method, hook in table.items()
)
