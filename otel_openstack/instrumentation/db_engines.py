# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy engines of this process: every one, cells included, with the names that its telemetry carries.

An engine is seen through `Dialect.engine_created`, which `create_engine` calls for every one. (Not `Engine.__init__`:
SQLAlchemy reads the names of its arguments off the code object, which a wrapper does not have.) What hangs on engines
(statements, pools) subscribes here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_openstack.patching import Patch, guard

# Names of the semantic conventions where they differ from SQLAlchemy's dialect names.
SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db", "hana": "sap.hana", "db2": "ibm.db2"}


class Database(NamedTuple):
    """Where an engine's statements go."""

    system: str
    namespace: str | None
    address: str | None
    port: int | None
    pool_name: str


_engines: weakref.WeakKeyDictionary[Any, Database] = weakref.WeakKeyDictionary()
_subscribers: list[Callable[[Any, Database], None]] = []


def subscribe(subscriber: Callable[[Any, Database], None]) -> None:
    """Call `subscriber(engine, database)` for every engine made from now on, and for those already there."""
    _subscribers.append(subscriber)
    for engine, database in engines():
        subscriber(engine, database)


def unsubscribe(subscriber: Callable[[Any, Database], None]) -> None:
    """Stop calling `subscriber`."""
    if subscriber in _subscribers:
        _subscribers.remove(subscriber)


def engines() -> list[tuple[Any, Database]]:
    """Return the engines alive, each with its database."""
    return list(_engines.items())


class _EngineMade:
    def before(self, dialect_class: Any, engine: Any) -> Any:
        return engine

    def finish(self, engine: Any, result: Any, error: BaseException | None) -> None:
        if error is not None or engine in _engines:  # the hook is called for the entry point's class as well
            return
        database = describe(engine)
        _engines[engine] = database
        for subscriber in _subscribers:
            with guard("sqlalchemy.engine"):
                subscriber(engine, database)


def describe(engine: Any) -> Database:
    """Return the names of `engine`'s database, from its URL; no password and no query is among them."""
    url = engine.url
    namespace = url.database or None
    if engine.dialect.name == "sqlite" and namespace:
        namespace = namespace.rpartition("/")[2]
    return Database(
        system=SYSTEMS.get(engine.dialect.name, engine.dialect.name),
        namespace=namespace,
        address=url.host or None,
        port=url.port,
        pool_name="@".join(part for part in (namespace or engine.dialect.name, url.host) if part),
    )


PATCHES: tuple[Patch, ...] = (
    Patch(
        name="sqlalchemy.engine",
        module="sqlalchemy.engine.interfaces",
        attribute="Dialect.engine_created",
        group="db",
        hook=_EngineMade,
        always=True,  # an engine that is made meanwhile is measured from then on
    ),
)
