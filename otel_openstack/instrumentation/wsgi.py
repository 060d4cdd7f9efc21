# SPDX-License-Identifier: Apache-2.0
"""One request through a WSGI application: its SERVER span, its metrics, from the call to the last byte sent.

`serve` stands at the edge of an application, as often as other modules put it there (`wsgi_apps`); a flag in the
environ makes it act once per request, at the outermost place. The application sees the same environ, with a counting
`wsgi.input` where there is a body; the server sees a body of the same kind as the application's.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

from opentelemetry.trace import SpanKind

from otel_openstack import metrics, tracing
from otel_openstack.instrumentation import backlog, callers, routes, wsgi_environ, wsgi_identity
from otel_openstack.instrumentation.facts import count, reader, record
from otel_openstack.instrumentation.wsgi_bodies import Input, Parts, SizedStream, Stream, ends_with, length
from otel_openstack.patching import guard
from otel_openstack.runtime import process, switch
from otel_openstack.runtime.frames import roomy
from otel_openstack.semconv import attributes as attr
from otel_openstack.semconv import instruments as inst
from otel_openstack.tracing import asking

SCOPE = "otel_openstack.wsgi"
FLAG = wsgi_environ.FLAG
PATCHES = ()

ACTIVE = metrics.up_down_counter(inst.HTTP_SERVER_ACTIVE_REQUESTS)
DURATION = metrics.histogram(inst.HTTP_SERVER_REQUEST_DURATION)
DETAILS = metrics.histogram(inst.HTTP_SERVER_RESPONSE_BODY_SIZE)
_active_labels = reader(inst.HTTP_SERVER_ACTIVE_REQUESTS)
_duration_labels = reader(inst.HTTP_SERVER_REQUEST_DURATION)

# Headers of a response that are looked at, by their length: of most others that is all that is looked at.
LENGTH, REQUEST_ID = "content-length", "x-openstack-request-id"
NOTED = frozenset(map(len, (LENGTH, REQUEST_ID)))

_watch = guard("wsgi.request")


class Edge:
    """An application with the measurement round it; attributes are those of the application."""

    def __init__(self, application: Any) -> None:
        self.__wrapped__ = application

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return serve(self.__wrapped__, environ, start_response)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # asked by copy and pickle before __init__ ran
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)


def at_edge(application: Any) -> Any:
    """Return `application` with an edge, if it is callable and has none."""
    return application if isinstance(application, Edge) or not callable(application) else Edge(application)


def serve(application: Any, environ: Any, start_response: Any) -> Any:
    """Call `application` as one request; whatever happens to our part of it, the call goes through."""
    exchange = _open(environ)
    if exchange is None:
        return application(environ, start_response)
    return _served(application, environ, start_response, exchange)


@roomy
def _served(application: Any, environ: Any, start_response: Any, exchange: Exchange) -> Any:
    try:
        body = application(environ, exchange.watching(start_response))
    except BaseException as error:
        exchange.raised(error)
        raise
    return exchange.returned(body)


def _open(environ: Any) -> Exchange | None:
    if switch.off:
        switch.look()
    if not _watch.on or type(environ) is not dict or FLAG in environ:
        return None
    try:
        return Exchange(environ)
    except Exception as failure:
        _watch.failed("open", failure)
        return None


class Exchange:
    """A request on its way: times in seconds of perf_counter, sizes in bytes."""

    __slots__ = (
        "_active",
        "_announced",
        "_born",
        "_environ",
        "_expected",
        "_facts",
        "_file",
        "_finished",
        "_first",
        "_last",
        "_last_ns",
        "_name",
        "_op",
        "_path",
        "_sent_error",
        "_status",
        "_wait",
        "caller",
        "dispatched",
        "error",
        "generate_time",
        "receive_error",
        "receive_time",
        "received",
        "request_id",
        "route",
        "send_time",
        "sent",
        "short",
        "timed",
    )

    def __init__(self, environ: dict[str, Any]) -> None:
        self._born = process.entered()
        backlog.watch()
        method, scheme = wsgi_environ.method(environ), wsgi_environ.scheme(environ)
        self._environ = environ
        self._finished = False
        self._status: int | None = None
        self._first = self._last = 0.0
        self._last_ns: int | None = None
        self._announced: int | None = None
        self._expected = wsgi_environ.content_length(environ)
        self._file: Any = None
        self._sent_error: str | None = None
        self.error: BaseException | None = None
        self.receive_error: BaseException | None = None
        self.route: str | None = None
        self.request_id: str | None = None
        self.dispatched = 0.0
        self.received = self.sent = 0
        self.receive_time = self.send_time = self.generate_time = 0.0
        self.short = False
        self.timed = DETAILS.enabled
        facts: dict[str, Any] = {
            attr.HTTP_REQUEST_METHOD: method,
            attr.URL_SCHEME: scheme,
            attr.HTTP_ROUTE: None,
            attr.HTTP_RESPONSE_STATUS_CODE: None,
            attr.ERROR_TYPE: None,
        }
        self._facts = facts
        self._wait = wsgi_environ.wait_in_queue(environ)
        self._path = wsgi_environ.path(environ)
        self._name = method if method != wsgi_environ.OTHER else "HTTP"
        self._watch_environ(environ)
        above, self.caller = callers.above(environ)
        links = None
        describe = functools.partial(wsgi_environ.attributes, environ, facts, self._path)
        if self.caller is not None:
            self.caller.attributes, links = describe(), self.caller.links
        self._op = tracing.root(SCOPE, self._name, SpanKind.SERVER, above=above, links=links, describe=describe)
        try:
            self._op.totals.asked = wsgi_identity.of, environ
            environ[FLAG] = self
            self._active = ACTIVE.bind(*_active_labels(facts))
            self._active(1)
        except BaseException:
            # A span that is current and has no end would be the parent of all that follows.
            environ.pop(FLAG, None)
            if not self._op.discard():
                self._op.finish()
            raise

    def _watch_environ(self, environ: dict[str, Any]) -> None:
        if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
            source = environ.get("wsgi.input")
            if hasattr(source, "read"):
                environ["wsgi.input"] = Input(source, self)
        wrapper = environ.get("wsgi.file_wrapper")
        if wrapper is not None and not isinstance(wrapper, type):
            environ["wsgi.file_wrapper"] = self._remember_file(wrapper)

    def _remember_file(self, wrapper: Callable[..., Any]) -> Callable[..., Any]:
        # uWSGI's wrapper is a function; the server knows what it returned by identity only.
        def file_wrapper(*args: Any, **kwargs: Any) -> Any:
            self._file = wrapper(*args, **kwargs)
            return self._file

        return file_wrapper

    # ---- the caller

    def awaits_service(self) -> bool:
        """Return whether a valid service token of the caller makes a difference."""
        return self.caller is not None and callers.services_are_trusted()

    def confirmed(self) -> None:
        """Take over the context that the caller sent, where that can still be done: it is a service of the cloud."""
        caller = self.caller
        if caller is None or caller.confirmed or self._finished:
            return
        caller.confirmed = True
        sent = callers.sent(self._environ)
        if sent:
            name, attributes = self._name, caller.attributes
            caller.joined = tracing.join(self._op, SCOPE, name, SpanKind.SERVER, attributes, sent)

    # ---- the application's side

    def watching(self, start_response: Any) -> Callable[..., Any]:
        """Return `start_response` with the status noted, and the `write` that it returns counted."""

        def watched(status: Any, headers: Any, *args: Any, **kwargs: Any) -> Any:
            write = start_response(status, headers, *args, **kwargs)
            try:
                self._started(status, headers)
            except Exception as failure:
                _watch.failed("start_response", failure)
            return write if write is None else self._counting(write)

        return watched

    def _started(self, status: Any, headers: Any) -> None:
        self._status = int(status[:3])
        self._announced = self.request_id = None
        for name, value in headers:
            if len(name) not in NOTED:
                continue
            lower = name.lower()
            if lower == LENGTH:
                try:  # noqa: SIM105 contextlib.suppress takes longer than all of this
                    self._announced = int(value)
                except ValueError:
                    pass
            elif lower == REQUEST_ID:
                self.request_id = value

    def _counting(self, write: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def counted(data: Any) -> Any:
            self.first_byte()
            handed = perf_counter()
            try:
                result = write(data)
            except BaseException as error:
                self.aborted(error)
                raise
            finally:
                self.send_time += perf_counter() - handed
            self.sent += length(data)
            return result

        return counted

    def raised(self, error: BaseException) -> None:
        """End the exchange: the application raised, and the server answers for it."""
        if self._sent_error is None:  # what `write` raised is the client's end, and passes through the application
            self.error = error
        self.last_byte()
        self.finish()

    def returned(self, body: Any) -> Any:
        """Return what the server gets in place of `body`."""
        try:
            self.detach()
            return self._body(body)
        except Exception as failure:
            _watch.failed("returned", failure)
            self.finish()
            return body
        except BaseException:
            self._op.detach()
            self.finish()
            raise

    def _body(self, body: Any) -> Any:
        if type(body) in (list, tuple):
            if body:
                self.first_byte()
            self.sent += sum(map(length, body))
            return Parts(body, self)
        if body is None or isinstance(body, bytes | str):
            self.sent += length(body)
            self.finish()
            return body
        if self._is_file(body):
            self.first_byte()
            self.sent += self._announced or 0
            if not ends_with(body, self):
                self.finish()
            return body
        return (SizedStream if hasattr(body, "__len__") else Stream)(body, self)

    def _is_file(self, body: Any) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        return body is self._file or (isinstance(wrapper, type) and isinstance(body, wrapper))

    # ---- the bodies' side

    def first_byte(self) -> None:
        """Note the end of the processing before the response."""
        if not self._first:
            self._first = perf_counter()

    def attach(self) -> None:
        """Make the request's context current, while the application produces its body."""
        if not self._finished:
            try:
                self._op.attach()
            except Exception as failure:
                _watch.failed("attach", failure)

    def detach(self) -> None:
        """Take the request's context off again."""
        if not self._finished:
            try:
                self._op.detach()
            except Exception as failure:
                _watch.failed("detach", failure)

    def last_byte(self) -> None:
        """Note the end of the sending; what the application does in `close` comes after it."""
        if not self._last:
            self._last, self._last_ns = perf_counter(), time.time_ns()

    def aborted(self, error: BaseException | None) -> None:
        """Note that the response was not sent to its end, because of `error` or because the client is gone.

        A body that was announced and is sent in full, or that nobody wants (HEAD, 204, 304), is complete.
        """
        if error is None and (self._bodiless() or (self._announced is not None and self.sent >= self._announced)):
            return
        if self._sent_error is None:
            with _watch:
                self._sent_error = metrics.error_type(error or ConnectionAbortedError())

    def _bodiless(self) -> bool:
        return self._facts[attr.HTTP_REQUEST_METHOD] == "HEAD" or self._status in (204, 304)

    # ---- the end

    def finish(self) -> None:
        """Record the request, once; raises no Exception."""
        if self._finished:
            return
        self._finished = True
        environ, self._environ = self._environ, {}
        try:
            try:
                self._settle(environ)
                self._end_span(environ)
                self._record()
            except BaseException:
                self._op.finish()
                raise
            finally:  # whatever failed, it is active no more
                environ.pop(FLAG, None)
                if self._born == process.entered():  # else what it was added to is forgotten
                    self._active(-1)
        except Exception as failure:
            _watch.failed("finish", failure)

    def _settle(self, environ: dict[str, Any]) -> None:
        self.last_byte()
        if self.caller is not None:
            callers.tell(self.caller)
        facts = self._facts
        self.route = routes.of(environ, self.route, self._path, self._status)
        facts[attr.HTTP_ROUTE] = self.route
        facts[attr.HTTP_RESPONSE_STATUS_CODE] = self._status
        facts[attr.ERROR_TYPE] = self._error_type()
        if self.receive_error is None and self.short and self.received < (self._expected or 0):
            self.receive_error = ConnectionAbortedError()

    def _error_type(self) -> str | None:
        if self.error is not None:
            return metrics.error_type(self.error)
        if self._status is not None and self._status >= 500:  # noqa: PLR2004 the class of server errors
            return str(self._status)
        return self._sent_error

    def _end_span(self, environ: dict[str, Any]) -> None:
        op, facts = self._op, self._facts
        received = self.received or self._expected
        op.totals.bytes_in, op.totals.bytes_out = received or 0, self.sent
        op.totals.queue_wait = self._wait or 0.0
        if not op.described:
            op.finish(end_time_ns=self._last_ns)
            return
        found: dict[str, Any] = {}
        if self.route is not None:
            op.span.update_name(f"{self._name} {self.route}")
            found[attr.HTTP_ROUTE] = self.route
        if self._status:
            found[attr.HTTP_RESPONSE_STATUS_CODE] = self._status
        if received:
            found[attr.HTTP_REQUEST_BODY_SIZE] = received
        if self.sent or not self._bodiless():
            found[attr.HTTP_RESPONSE_BODY_SIZE] = self.sent
        found.update(asking.settle(op.totals, wsgi_identity.of(environ, self.request_id)))
        error: BaseException | str | None = self.error
        if error is None and facts[attr.ERROR_TYPE] is not None:
            if facts[attr.ERROR_TYPE] == self._sent_error:
                found[attr.ERROR_TYPE] = self._sent_error  # the client's end: no error of this server
            else:
                error = facts[attr.ERROR_TYPE]
        op.finish(error=error, attributes=found, end_time_ns=self._last_ns)

    def _record(self) -> None:
        labels = _duration_labels(self._facts)
        if DURATION.dimensions:
            labels += asking.values_for(self._op.totals, DURATION.dimensions)
        DURATION.record(self._last - self._op.start, *labels)
        if self.receive_error is not None or self._sent_error is not None:
            self._record_errors()
        if DETAILS.enabled:  # its level is that of all the others
            self._record_details()

    def _record_details(self) -> None:
        facts, start = self._facts, self._op.start
        record(inst.HTTP_SERVER_REQUEST_BODY_SIZE, self.received or self._expected or 0, facts)
        record(inst.HTTP_SERVER_RESPONSE_BODY_SIZE, self.sent, facts)
        received = {**facts, attr.ERROR_TYPE: self.receive_error and metrics.error_type(self.receive_error)}
        record(inst.OPENSTACK_HTTP_SERVER_REQUEST_RECEIVE_DURATION, self.receive_time, received)
        sent = {**facts, attr.ERROR_TYPE: self._sent_error}
        record(inst.OPENSTACK_HTTP_SERVER_RESPONSE_SEND_DURATION, self.send_time, sent)
        record(inst.OPENSTACK_WSGI_REQUEST_PROCESS_DURATION, (self._first or self._last) - start, facts)
        record(inst.OPENSTACK_WSGI_RESPONSE_PROCESS_DURATION, self.generate_time, facts)
        if self.dispatched:
            record(inst.OPENSTACK_WSGI_DISPATCH_DURATION, self.dispatched - start, facts)
        if self._wait is not None:
            record(inst.OPENSTACK_WSGI_REQUEST_TIME_IN_QUEUE, self._wait, facts)

    def _record_errors(self) -> None:
        for phase, kind in (
            ("receive", self.receive_error and metrics.error_type(self.receive_error)),
            ("send", self._sent_error),
        ):
            if kind:
                count(
                    inst.OPENSTACK_HTTP_SERVER_IO_ERRORS, {attr.OPENSTACK_HTTP_IO_PHASE: phase, attr.ERROR_TYPE: kind}
                )
