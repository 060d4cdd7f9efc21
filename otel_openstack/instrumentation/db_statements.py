# SPDX-License-Identifier: Apache-2.0
"""Database operations: duration by kind and table, counted into the request; a span when slow or failed.

The hook is the dialect's own `do_execute`, `do_executemany` and `do_execute_no_params`, replaced on the engine's
dialect object: two empty execute events would cost an engine that has none 6 µs a statement, this costs none. What a
statement is comes from the compiled construct, once a shape: the answer is kept on the compiled object, which
SQLAlchemy itself caches. Fetching rows is not part of the duration.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import levels, metrics, settings, tracing
from otel_openstack.instrumentation import db_engines
from otel_openstack.instrumentation.db_engines import Database
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, finished, guard
from otel_openstack.semconv import attributes as names
from otel_openstack.semconv import instruments
from otel_openstack.tracing.api_seam import get_context
from otel_openstack.tracing.operations import TOTALS_KEY

PATCHES: tuple[Patch, ...] = ()  # the engines' own patch serves: see db_engines

NAME = "sqlalchemy.statements"
SCOPE = "otel_openstack.db"
METHODS = ("do_execute", "do_executemany", "do_execute_no_params")
BATCH = "BATCH "
MARK = "_otel_openstack_kind"  # read as an attribute in `counted`
USUAL = ["cursor", "statement", "parameters", "context"]
"""Parameters of `do_execute` and `do_executemany`."""

# The first word of a textual statement, only to have a summary: operation and table never come from text.
VERBS = frozenset(
    [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "REPLACE",
        "MERGE",
        "WITH",
        "CALL",
        "SET",
        "SHOW",
        "CREATE",
        "ALTER",
        "DROP",
        "TRUNCATE",
        "PRAGMA",
        "BEGIN",
        "DESCRIBE",
        "DESC",
        "KILL",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "LOCK",
        "UNLOCK",
        "EXPLAIN",
        "ANALYZE",
        "GRANT",
        "REVOKE",
        "USE",
    ]
)


class Kind:
    """What is known of one statement shape on one engine: its summary, and the bound instrument of its duration."""

    __slots__ = ("collection", "database", "operation", "record", "summary")

    def __init__(self, database: Database, operation: str | None, collection: str | None, text: str) -> None:
        self.database = database
        self.operation = operation
        self.collection = collection
        words = [word for word in (operation, collection) if word]
        self.summary = " ".join(words) if words else first_word(text)
        self.record = _duration().bind(*_labels(self, None))

    def attributes(self) -> dict[str, Any]:
        """Return the span attributes of a statement of this kind."""
        given = {
            names.DB_SYSTEM_NAME: self.database.system,
            names.DB_NAMESPACE: self.database.namespace,
            names.DB_OPERATION_NAME: self.operation,
            names.DB_COLLECTION_NAME: self.collection,
            names.DB_QUERY_SUMMARY: self.summary or None,
            names.SERVER_ADDRESS: self.database.address,
            names.SERVER_PORT: self.database.port,
        }
        return {key: value for key, value in given.items() if value is not None}

    def span_name(self) -> str:
        """Return the summary, else where the statement went, as the conventions say."""
        return self.summary or self.database.namespace or self.database.system


def _duration() -> metrics.Histogram:
    return metrics.histogram(instruments.DB_CLIENT_OPERATION_DURATION)


def _labels(kind: Kind, error: str | None) -> tuple[Any, ...]:
    """Return the labels of the duration in the registry's order."""
    values = {
        names.DB_SYSTEM_NAME: kind.database.system,
        names.DB_OPERATION_NAME: kind.operation,
        names.DB_COLLECTION_NAME: kind.collection,
        names.DB_NAMESPACE: kind.database.namespace,
        names.SERVER_ADDRESS: kind.database.address,
        names.ERROR_TYPE: error,
    }
    return tuple(values.get(name) for name in instruments.INSTRUMENTS[_duration().name].attributes)


def first_word(text: str) -> str:
    """Return the verb that textual SQL begins with, or nothing where it is not a known one."""
    head = text.lstrip("( \t\r\n")[:16].split(None, 1)
    verb = head[0].upper().rstrip("(;") if head else ""
    return verb if verb in VERBS else ""


def describe(compiled: Any, *, batch: bool) -> tuple[str | None, str | None]:
    """Return operation and table of a compiled construct; None for what it does not say (textual SQL)."""
    statement = getattr(compiled, "statement", None)
    operation = _operation(compiled, statement)
    if operation is None:
        return None, None
    return (BATCH + operation if batch else operation), _table(statement)


def _operation(compiled: Any, statement: Any) -> str | None:
    for flag, name in (("isinsert", "INSERT"), ("isupdate", "UPDATE"), ("isdelete", "DELETE")):
        if getattr(compiled, flag, False):
            return name
    visit = getattr(statement, "__visit_name__", "")
    if visit in ("select", "compound_select"):
        return "SELECT"
    if getattr(compiled, "isddl", False) or visit.startswith(("create_", "drop_", "alter_")):
        return visit.replace("_", " ").upper() or None
    return None


def _table(statement: Any) -> str | None:
    """Return the table that a statement is about: the mapper's, its own, or the leftmost of its FROM."""
    subject = getattr(statement, "_propagate_attrs", {}).get("plugin_subject")
    mapper = getattr(subject, "mapper", subject)
    source = getattr(mapper, "local_table", None)
    if source is None:
        source = getattr(statement, "table", None)
    if source is None:
        source = getattr(statement, "element", None)  # DDL
    if source is None and getattr(statement, "selects", None):
        return _table(statement.selects[0])
    if source is None and hasattr(statement, "get_final_froms"):
        source = next(iter(statement.get_final_froms()), None)
    return _leftmost(source)


def _leftmost(source: Any) -> str | None:
    for _ in range(32):  # bounded: a hand-made construct may be nested in itself
        if getattr(source, "left", None) is not None:
            source = source.left
        elif getattr(source, "element", None) is not None:
            source = source.element
        elif getattr(source, "get_final_froms", None) is not None:
            source = next(iter(source.get_final_froms()), None)
        else:
            break
    name = getattr(source, "name", None)
    return str(name) if name is not None else None


class _Statements:
    """The three execute methods of one engine's dialect, measured."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.threshold = settings.get().slow_call_threshold
        self._texts: dict[str, Kind] = {}
        self._ours = {many: object() for many in (False, True)}
        """What marks a construct as known to this engine's single, or its repeated, execution."""

    def kind(self, context: Any, statement: str, many: bool) -> Kind:
        """Return the kind of the statement that `context` executes."""
        compiled = getattr(context, "compiled", None)
        if compiled is None:
            verb = first_word(statement)
            found = self._texts.get(verb)
            return found if found is not None else self._texts.setdefault(verb, Kind(self.database, None, None, verb))
        batch = many or getattr(getattr(context, "execute_style", None), "name", "") == "INSERTMANYVALUES"
        made = Kind(self.database, *describe(compiled, batch=batch), text=statement)
        setattr(compiled, MARK, (self._ours[many], made))
        return made

    def known(self, args: tuple[Any, ...], kwargs: dict[str, Any], many: bool) -> Kind:
        """Return the kind of the statement of a call, which hangs on its compiled construct since it was first seen."""
        try:
            whose, kind = getattr(args[-1].compiled, MARK)
            if whose is self._ours[many]:
                return kind  # type: ignore[no-any-return]
        except (AttributeError, IndexError):
            pass
        return self.kind(*_given(args, kwargs), many)

    def counted(self, original: Callable[..., Any], many: bool) -> Callable[..., Any]:
        """Return `original` measured; a slow or failed call becomes a span afterwards."""
        return self._counted(original, many) if _usual(original) else self._counted_anyhow(original, many)

    def _counted(self, original: Callable[..., Any], many: bool) -> Callable[..., Any]:
        # With its own parameters, and what would be small functions written out: this is called most of all.
        watch, clock, context_of, totals_key = guard(NAME), time.perf_counter, get_context, TOTALS_KEY
        threshold, ours = self.threshold, self._ours[many]

        def execute(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
            if not watch.on:
                return original(cursor, statement, parameters, context)
            start = clock()
            try:
                result = original(cursor, statement, parameters, context)
            except BaseException as error:
                with watch:
                    self.failed(context, statement, many, clock() - start, error)
                raise
            try:
                seconds = clock() - start
                try:
                    whose, kind = context.compiled._otel_openstack_kind
                    if whose is not ours:
                        kind = self.kind(context, statement, many)
                except AttributeError:
                    kind = self.kind(context, statement, many)
                kind.record(seconds)
                request: Any = context_of().get(totals_key)
                if request is not None:  # as Totals.add_db
                    request.db_calls += 1
                    request.db_seconds += seconds
                    if seconds > request.slowest_seconds:
                        request.slowest_seconds = seconds
                        request.slowest_summary = kind.summary
                if seconds >= threshold:
                    leaf(kind, seconds, None)
            except Exception as failure:
                watch.failed("finish", failure)
            return result

        return execute

    def _counted_anyhow(self, original: Callable[..., Any], many: bool) -> Callable[..., Any]:
        """Return a method measured that takes other arguments, or whose dialect has changed them."""
        watch, clock = guard(NAME), time.perf_counter

        def execute(*args: Any, **kwargs: Any) -> Any:
            if not watch.on:
                return original(*args, **kwargs)
            start = clock()
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                with watch:
                    self.failed(*_given(args, kwargs), many, clock() - start, error)
                raise
            with watch:
                seconds = clock() - start
                kind = self.known(args, kwargs, many)
                account(kind, seconds, None)
                if seconds >= self.threshold:
                    leaf(kind, seconds, None)
            return result

        return execute

    def traced(self, original: Callable[..., Any], many: bool) -> Callable[..., Any]:
        """Return `original` measured with a span for each call (level detailed)."""
        watch = guard(NAME)

        def execute(*args: Any, **kwargs: Any) -> Any:
            if not watch.on:
                return original(*args, **kwargs)
            kind = operation = None
            with watch:
                kind = self.known(args, kwargs, many)
                if not contrib_active():
                    operation = tracing.child(SCOPE, kind.span_name(), SpanKind.CLIENT, kind.attributes())
            start = time.perf_counter()
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if kind is not None:
                    finished(watch, operation, _traced, operation, kind, time.perf_counter() - start, error)
                raise
            if kind is not None:
                finished(watch, operation, _traced, operation, kind, time.perf_counter() - start, None)
            return result

        return execute

    def failed(self, context: Any, statement: str, many: bool, seconds: float, error: BaseException) -> None:
        """Record a call that raised."""
        kind = self.kind(context, statement, many)
        account(kind, seconds, error)
        leaf(kind, seconds, error)


def _usual(method: Any) -> bool:
    try:
        return list(inspect.signature(method).parameters) == USUAL
    except (TypeError, ValueError):
        return False


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, str]:
    """Return context and statement of `do_execute(cursor, statement, [parameters,] context)`, however it is called."""
    statement: str = kwargs["statement"] if "statement" in kwargs else args[1]
    last = args[-1] if len(args) > len(("cursor", "statement")) else None
    return kwargs.get("context", last), statement


def _traced(operation: tracing.Operation | None, kind: Kind, seconds: float, error: BaseException | None) -> None:
    if operation is not None:
        operation.finish(_type(error))
    account(kind, seconds, error)


def account(kind: Kind, seconds: float, error: BaseException | None) -> None:
    """Record one call into the histogram and the request's totals."""
    if error is None:
        kind.record(seconds)
    else:
        _duration().record(seconds, *_labels(kind, metrics.error_type(error)))
    request = tracing.totals()
    if request is not None:
        request.add_db(seconds, kind.summary)


def leaf(kind: Kind, seconds: float, error: BaseException | None) -> None:
    """Write a span for a call that is over, unless contrib's instrumentor writes one for each."""
    if contrib_active():
        return
    end = time.time_ns()
    start = end - int(seconds * 1e9)
    tracing.leaf(SCOPE, kind.span_name(), SpanKind.CLIENT, kind.attributes(), start, end, _type(error))


def _type(error: BaseException | None) -> str | None:
    """Return the error's type alone: databases put values into their messages ("Duplicate entry 'secret' for key")."""
    return metrics.error_type(error) if error is not None else None


def contrib_active() -> bool:
    """Return whether opentelemetry-instrumentation-sqlalchemy is at work: its spans then replace ours."""
    module = sys.modules.get("opentelemetry.instrumentation.sqlalchemy")
    instrumentor = getattr(module, "SQLAlchemyInstrumentor", None)
    return bool(getattr(instrumentor and instrumentor(), "is_instrumented_by_opentelemetry", False))


def _measure(engine: Any, database: Database) -> None:
    dialect = engine.dialect
    if "do_execute" in vars(dialect) or not levels.active(Level.BASIC, "db"):
        return
    statements = _Statements(database)
    measured = statements.traced if levels.active(Level.DETAILED, "db") else statements.counted
    for method in METHODS:
        setattr(dialect, method, measured(getattr(dialect, method), method == "do_executemany"))


def install() -> None:
    """Measure every engine's statements, if the level of db is at least basic."""
    if levels.possible(Level.BASIC, "db"):
        db_engines.subscribe(_measure)
        _subscribed.append(_measure)


def uninstall() -> None:
    """Put the dialects' own methods back."""
    db_engines.unsubscribe(_measure)
    _subscribed.clear()
    _let_go()


def _let_go() -> None:
    for engine, _ in db_engines.engines():
        for method in METHODS:
            vars(engine.dialect).pop(method, None)


def _level_moved() -> None:
    """Measure as the level now in force says; at off the dialects have their own methods again."""
    if _subscribed:
        _let_go()
        for engine, database in db_engines.engines():
            _measure(engine, database)


_subscribed: list[Any] = []
levels.on_move(_level_moved)
