# SPDX-License-Identifier: Apache-2.0
"""The lean span: OpenTelemetry's interface over a few slots, and at its end a record in the queue.

The record is the span object itself, without what ties it to its surroundings (context tokens). A span that no child,
propagator or processor asks for its context never builds one: children take the ids from the slots.

`Span` is what `start_span` returns; `CurrentSpan` is what `start_as_current_span` returns: its own context manager and
decorator, which starts when it is entered.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace as trace_api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, TraceState

from otel_openstack import scrub
from otel_openstack.runtime.process import ensure
from otel_openstack.tracing import exceptions, ids
from otel_openstack.tracing.api_seam import SPAN_KEY, get_context, make_context, reset_context, set_context
from otel_openstack.tracing.attributes import (
    ENTRY_WEIGHT,
    TEXTLESS,
    are_plain,
    clean,
    clean_value,
    weigh,
    weigh_text,
    weigh_truly,
    weigh_value,
    weigh_values,
)
from otel_openstack.tracing.limits import MOST_NAME, MOST_SPAN_BYTES
from otel_openstack.tracing.sampling import LOW_BITS

if TYPE_CHECKING:
    from otel_openstack.tracing.tracer import Tracer

logger = logging.getLogger(__name__)

# Estimated bytes of a queued span without attributes, events and links; of an event or a link without attributes.
SPAN_WEIGHT = 600
PART_WEIGHT = 200

UNSET = Status(StatusCode.UNSET)
# One object for each value, so that the usual ones are known by identity.
FLAGS = tuple(TraceFlags(value) for value in range(4))
RANDOM_ONLY, SAMPLED_RANDOM = FLAGS[2], FLAGS[3]
NO_STATE = SpanContext(1, 1, is_remote=False).trace_state  # the one that every context without a state has

# Contexts forbid changes; these fill one that nobody else has seen yet. The second, for a new key, is the quicker one.
set_item = dict.__setitem__
add_item = dict.setdefault


class EventRecord(NamedTuple):
    """An event as the queue holds it; time in ns since the epoch."""

    name: str
    timestamp: int
    attributes: dict[str, Any]
    dropped: int


class LinkRecord(NamedTuple):
    """A link as the queue holds it."""

    context: SpanContext
    attributes: dict[str, Any]
    dropped: int


class Extra:
    """What few spans have: a status, events, links and what the limits dropped."""

    __slots__ = ("dropped_attributes", "dropped_events", "dropped_links", "events", "links", "status")

    def __init__(self) -> None:
        self.status: Status | None = None
        self.events: list[EventRecord] = []
        self.links: list[LinkRecord] = []
        self.dropped_attributes = 0
        self.dropped_events = 0
        self.dropped_links = 0


class Given(NamedTuple):
    """Arguments of a span that are not the usual ones."""

    context: Context | None = None
    links: Sequence[trace_api.Link] | None = None
    start_time: int | None = None
    record_exception: bool = True
    set_status_on_exception: bool = True
    end_on_exit: bool = True


# In `_given` before a `with` is entered: the usual arguments; afterwards there is None for them.
USUAL = Given()
# The same arguments, of a span that was entered on another way than the plain one, and of one that was dropped there.
ENTERED = Given()
DROPPED = Given()
# In place of a parent: the span is not sampled.
DROP: Any = object()


class Trace(NamedTuple):
    """What all spans of a trace share, so that a child takes it over in one step."""

    trace_id: int
    flags: TraceFlags
    state: TraceState


class Dropped(NonRecordingSpan):
    """A span that is not sampled; it builds its context when somebody asks for it, as a recording one does."""

    __slots__ = ("_context", "_span_id", "_trace")

    _context: SpanContext
    _span_id: int
    _trace: tuple[int, TraceFlags, TraceState]  # see Trace; its flags are never those of a sampled one

    __init__ = object.__init__  # the slots are filled by whoever makes it

    def get_span_context(self) -> SpanContext:
        """Return the ids, flags and state for children and propagators."""
        try:
            return self._context
        except AttributeError:
            trace_id, flags, state = self._trace
            made = self._context = make_context(SpanContext, (trace_id, self._span_id, False, flags, state, True))
            return made

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


class Record:
    """The slots of a span. As its first base they let Python make a span without calling a constructor of the SDK."""

    __slots__ = (
        "_attributes",
        "_context",
        "_end_time",
        "_extra",
        "_given",
        "_kind",
        "_name",
        "_parent",
        "_span_id",
        "_start_time",
        "_trace",
        "_tracer",
        "_used",
        "_weight",
    )


class Span(Record, sdk.Span):
    """A recording span; see `opentelemetry.trace.Span`. Made by our tracer only, which fills the slots."""

    __slots__ = ()

    _attributes: dict[str, Any]
    _context: SpanContext  # missing until somebody asks for it
    _end_time: int | None
    _extra: Extra | None
    _given: Given | None
    _name: str
    _parent: int | SpanContext | None  # type: ignore[assignment] # int: a local parent with our flags and state
    _span_id: int
    _start_time: int
    _trace: tuple[int, TraceFlags, TraceState]  # see Trace
    _tracer: Tracer
    _used: bool  # set when something was started under it, else missing
    _weight: int  # until it ends without its entries, which are counted then

    __new__ = object.__new__  # the SDK's Span refuses to be made
    __init__ = object.__init__

    # -- what it is ----------------------------------------------------------------------------------------------------

    def get_span_context(self) -> SpanContext:
        """Return the ids, flags and state for children and propagators."""
        try:
            return self._context
        except AttributeError:
            trace_id, flags, state = self._trace
            made = self._context = make_context(SpanContext, (trace_id, self._span_id, False, flags, state, True))
            return made

    @property
    def context(self) -> SpanContext:
        return self.get_span_context()

    @property
    def parent(self) -> SpanContext | None:
        parent = self._parent
        if isinstance(parent, int):
            trace_id, flags, state = self._trace
            return SpanContext(trace_id, parent, is_remote=False, trace_flags=flags, trace_state=state)
        return parent

    @property
    def status(self) -> Status:
        extra = self._extra
        return UNSET if extra is None or extra.status is None else extra.status

    @property
    def name(self) -> str:
        name = self._name
        return scrub.text(name[:MOST_NAME]) if isinstance(name, str) else name

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What leaves of them: a copy without secrets."""
        return MappingProxyType(scrub.attributes(self._attributes))

    @property
    def events(self) -> Sequence[sdk.Event]:
        return tuple(self._sdk_events())

    @property
    def links(self) -> Sequence[trace_api.Link]:
        return tuple(self._sdk_links())

    @property
    def dropped_attributes(self) -> int:
        return self._extra.dropped_attributes if self._extra else 0

    @property
    def dropped_events(self) -> int:
        return self._extra.dropped_events if self._extra else 0

    @property
    def dropped_links(self) -> int:
        return self._extra.dropped_links if self._extra else 0

    @property
    def resource(self) -> Resource:
        return self._tracer.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        return self._tracer.scope

    @property
    def instrumentation_info(self) -> Any:
        return self._tracer.instrumentation_info

    def is_recording(self) -> bool:
        """Return whether the span still takes data: True until it ends."""
        return self._end_time is None

    def to_json(self, indent: int | None = 4) -> str:
        return str(self._readable_span().to_json(indent))

    # -- what is set on it ---------------------------------------------------------------------------------------------

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; a mutable value is copied now."""
        attributes = self._attributes
        kind = type(value)
        tracer = self._tracer
        if (
            # A set is asked for the rarer types only.
            (kind is int or kind is float or kind in TEXTLESS if kind is not str else len(value) <= tracer.short)
            and type(key) is str
            and key not in attributes
            and key
            and len(attributes) < tracer.most
            and self._end_time is None
        ):
            attributes[key] = value
        else:
            self._set_slowly(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set several attributes."""
        if self._end_time is not None:
            logger.warning("Setting attribute on ended span.")
            return
        held, tracer = self._attributes, self._tracer
        if (
            type(attributes) is dict
            and are_plain(attributes, tracer.short)
            and len(held) + len(attributes) <= tracer.most
            and held.keys().isdisjoint(attributes)
        ):
            held.update(attributes)
            return
        cleaned, dropped = clean(attributes, None, tracer.limits.max_span_attribute_length)
        for key, value in cleaned.items():
            self._store(key, value)
        if dropped:
            self._extras().dropped_attributes += dropped

    def _set_slowly(self, key: Any, value: Any) -> None:
        if self._end_time is not None:
            logger.warning("Setting attribute on ended span.")
            return
        if not key or not isinstance(key, str):
            logger.warning("invalid key `%s`. must be non-empty string. Dropping key from attributes.", key)
            self._extras().dropped_attributes += 1
            return
        self._store(key, clean_value(value, self._tracer.limits.max_span_attribute_length))

    def _store(self, key: str, value: Any) -> None:
        """Set a cleaned value under the limit of the number of attributes: the oldest makes room."""
        attributes, most = self._attributes, self._tracer.most
        if key in attributes:  # the SDK moves a key that is set again to the end
            self._weight -= weigh_value(attributes.pop(key))
        weight = weigh_value(value)
        if most == 0 or self._weight + weight > MOST_SPAN_BYTES:
            self._extras().dropped_attributes += 1
            return
        while len(attributes) >= most:
            logger.warning("Attributes dict is full. Dropping the oldest key-value pair from attributes.")
            oldest = next(iter(attributes))
            self._weight -= weigh_value(attributes.pop(oldest))
            self._extras().dropped_attributes += 1
        attributes[key] = value
        self._weight += weight

    def _adopt(self, attributes: Mapping[str, Any] | None, tracer: Tracer) -> None:
        """Take the attributes given at the start."""
        self._weight = SPAN_WEIGHT
        if not attributes:
            self._attributes = {}
        elif type(attributes) is dict and "" not in attributes:
            short = tracer.short
            for value in attributes.values():
                kind = type(value)
                if kind not in TEXTLESS if kind is not str else len(value) > short:
                    self._adopt_slowly(attributes)
                    break
            else:
                if len(attributes) <= tracer.most:
                    self._attributes = attributes.copy()
                else:
                    self._adopt_slowly(attributes)
        else:
            self._adopt_slowly(attributes)

    def _adopt_slowly(self, attributes: Mapping[str, Any]) -> None:
        """Freeze, convert or drop what the SDK would."""
        limits = self._tracer.limits
        self._attributes, dropped = clean(attributes, limits.max_span_attributes, limits.max_span_attribute_length)
        self._weight = SPAN_WEIGHT + weigh_values(self._attributes)
        if dropped:
            self._extras().dropped_attributes += dropped

    def reweigh(self) -> None:
        """Count what the quick paths only estimate: wide characters, long names and keys, integers beyond 64 bits."""
        extra = self._extra
        self._weight = SPAN_WEIGHT + weigh_truly(self._attributes) + weigh_text(str(self._name))
        if extra is not None:
            self._weight += weigh_text(extra.status.description) if extra.status else 0
            self._weight += sum(PART_WEIGHT + weigh(event.attributes) for event in tuple(extra.events))
            for link in tuple(extra.links):
                self._weight += PART_WEIGHT + weigh(link.attributes) + weigh(link.context.trace_state)

    def mark_used(self) -> None:
        """Note that something was started under this span: it cannot be dropped any more."""
        self._used = True

    @property
    def used(self) -> bool:
        """Whether something was started under this span, or captured it to do so later."""
        return hasattr(self, "_used")

    def _extras(self) -> Extra:
        extra = self._extra
        if extra is None:
            extra = self._extra = Extra()
        return extra

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event; `timestamp` in ns since the epoch, now by default."""
        if self._end_time is not None:
            logger.warning("Tried calling %s on an ended span.", "_add_event")
            return
        limits = self._tracer.limits
        kept, dropped = clean(attributes, limits.max_event_attributes, limits.max_attribute_length)
        self._keep_event(name, scrub.attributes(kept), dropped, timestamp)

    def _keep_event(self, name: str, kept: dict[str, Any], dropped: int, timestamp: int | None) -> None:
        """Keep an event whose attributes are clean and scrubbed, as far as the limits go: the oldest make room."""
        extra, most = self._extras(), self._tracer.limits.max_events
        name = scrub.text(name[:MOST_NAME]) if isinstance(name, str) else name
        extra.events.append(EventRecord(name, time_ns() if timestamp is None else timestamp, kept, dropped))
        self._weight += PART_WEIGHT + weigh(kept)
        while extra.events and (self._weight > MOST_SPAN_BYTES or (most is not None and len(extra.events) > most)):
            self._weight -= PART_WEIGHT + weigh(extra.events.pop(0).attributes)
            extra.dropped_events += 1

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Link to another span."""
        if not (context and (context.is_valid or attributes or context.trace_state)):
            return
        if self._end_time is not None:
            logger.warning("Tried calling %s on an ended span.", "_add_link")
            return
        limits = self._tracer.limits
        cleaned, dropped = clean(attributes, limits.max_link_attributes, limits.max_attribute_length)
        kept, most = scrub.attributes(cleaned), limits.max_links
        extra = self._extras()
        extra.links.append(LinkRecord(context, kept, dropped))
        self._weight += PART_WEIGHT + weigh(kept) + weigh(context.trace_state)
        while extra.links and (self._weight > MOST_SPAN_BYTES or (most is not None and len(extra.links) > most)):
            oldest = extra.links.pop(0)
            self._weight -= PART_WEIGHT + weigh(oldest.attributes) + weigh(oldest.context.trace_state)
            extra.dropped_links += 1

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        if self._end_time is not None:
            logger.warning("Tried calling %s on an ended span.", "update_name")
            return
        self._name = name[:MOST_NAME] if isinstance(name, str) else name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the outcome by the SDK's rules: OK is final, UNSET is ignored. Descriptions are scrubbed."""
        if self._end_time is not None:
            logger.warning("Tried calling %s on an ended span.", "set_status")
            return
        if isinstance(status, Status):
            if description is not None:
                logger.warning(
                    "Description %s ignored. Use either `Status` or `(StatusCode, Description)`",
                    exceptions.limited(str(description)),
                )
            code, description = status.status_code, status.description
        elif isinstance(status, StatusCode):
            code = status
        else:
            return
        if code is StatusCode.UNSET or self.status.status_code is StatusCode.OK:
            return
        self._keep_status(code, exceptions.limited(description) if isinstance(description, str) else description)

    def _keep_status(self, code: StatusCode, description: str | None) -> None:
        extra = self._extras()
        before = extra.status
        extra.status = status = Status(code, description)
        self._weight += weigh_text(status.description) - weigh_text(before.description if before else None)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception event; formatted at once, and scrubbed of SQL and its values."""
        if self._end_time is not None:
            logger.warning("Tried calling %s on an ended span.", "_add_event")
            return
        limits = self._tracer.limits
        shown: dict[str, Any] = {
            "exception.type": exceptions.type_name(exception),
            "exception.message": exceptions.message(exception),
            "exception.stacktrace": exceptions.stacktrace(exception),
            "exception.escaped": str(escaped),
        }
        if attributes:
            given, lost = clean(attributes, None, limits.max_attribute_length)
            shown.update(scrub.attributes(given))
        kept, dropped = clean(shown, limits.max_event_attributes, limits.max_attribute_length)
        self._keep_event("exception", kept, dropped + (lost if attributes else 0), timestamp)

    # -- its end -------------------------------------------------------------------------------------------------------

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        """Warn: the tracer has started it."""
        logger.warning("Calling start() on a started span.")

    def end(self, end_time: int | None = None) -> None:
        """End the span; `end_time` in ns since the epoch, now by default. Only the first call counts."""
        now = time_ns() if end_time is None else end_time
        # No call stands between this look and the next assignment, so of two threads one gets through.
        if self._end_time is not None:
            logger.warning("Calling end() on an ended span.")
            return
        self._end_time = now
        self._weight += ENTRY_WEIGHT * len(self._attributes)
        tracer = self._tracer
        if tracer.observed:
            tracer.end_observed(self)
        elif self._trace[1] & 1:  # else recorded only, for processors that do not exist
            tracer.put(self)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """End a span that is its own `with` block without being made current."""
        if exc_val is not None and self._end_time is None:
            self._fail(exc_val, escaped=True)
        self.end()

    def _fail(self, error: BaseException, *, escaped: bool) -> None:
        given = self._given or USUAL
        if given.record_exception:
            self.record_exception(error, escaped=escaped)
        if given.set_status_on_exception:
            self.set_status(Status(StatusCode.ERROR, exceptions.description(error)))

    # -- the SDK's form of it ------------------------------------------------------------------------------------------

    def _readable_span(self) -> sdk.ReadableSpan:
        """Return the SDK's read-only span with the same content, limits' counts included."""
        limits = self._tracer.limits
        extra = self._extra or Extra()
        attributes = BoundedAttributes(limits.max_span_attributes, scrub.attributes(self._attributes), immutable=True)
        attributes.dropped = extra.dropped_attributes
        events: BoundedList[Any] = BoundedList.from_seq(None, self._sdk_events())
        links: BoundedList[Any] = BoundedList.from_seq(None, self._sdk_links())
        events.dropped, links.dropped = extra.dropped_events, extra.dropped_links
        return sdk.ReadableSpan(
            name=self.name,
            context=self.get_span_context(),
            parent=self.parent,
            resource=self.resource,
            attributes=attributes,
            events=events,
            links=links,
            kind=self._kind,
            instrumentation_info=self.instrumentation_info,
            status=self.status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_scope=self.instrumentation_scope,
        )

    def _sdk_events(self) -> list[sdk.Event]:
        records = self._extra.events if self._extra else ()
        return [sdk.Event(r.name, _bounded(r.attributes, r.dropped), r.timestamp) for r in tuple(records)]

    def _sdk_links(self) -> list[trace_api.Link]:
        records = self._extra.links if self._extra else ()
        return [trace_api.Link(r.context, _bounded(r.attributes, r.dropped)) for r in tuple(records)]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", context={self.get_span_context()})'


class CurrentSpan(Span):
    """What `start_as_current_span` returns: starts and becomes current when entered, ends when left; also a decorator.

    Until it is entered it only holds the arguments. When the sampler drops the span, entering returns a
    NonRecordingSpan and this object remains the holder of the context's token.
    """

    __slots__ = ("_depth", "_token")

    _token: Any
    _depth: int  # how many `with` are open, where it is not the one plain `with`

    # The hot path: each call left out is 2 % of a span.
    def __enter__(self) -> trace_api.Span:  # noqa: C901, PLR0911, PLR0912, PLR0915
        tracer = self._tracer
        if self._given is not USUAL or not tracer.plain:
            return tracer.enter(self)
        current = get_context()
        above = current.get(SPAN_KEY)
        kind = type(above)
        if kind is CurrentSpan or kind is Span:
            self._trace = trace = above._trace  # type: ignore[attr-defined]
            if trace[1] is not SAMPLED_RANDOM and not trace[1] & 1:
                return tracer.enter(self)
            self._parent = above._span_id  # type: ignore[attr-defined]
            above._used = True  # type: ignore[attr-defined]
            more = len(current) > 1
        elif above is None:
            ensure()
            trace_id = ids.bits(128) or 1
            if not tracer.every and trace_id & LOW_BITS >= tracer.bound:
                return self._drop((trace_id, RANDOM_ONLY, NO_STATE), current)
            self._trace = (trace_id, SAMPLED_RANDOM, NO_STATE)
            self._parent = None
            more = bool(current)
        elif kind is Dropped:
            return self._drop(above._trace, current)  # type: ignore[attr-defined]
        else:
            trace, parent = tracer.decide_plainly(above)
            if parent is DROP:
                return self._drop(trace, current)
            if trace is None:
                return tracer.enter(self)
            self._trace = trace
            self._parent = parent
            more = len(current) > 1
        self._given = self._extra = self._end_time = None
        self._span_id = next(ids.numbers, 0) or ids.more()
        self._weight = 600  # SPAN_WEIGHT; a constant is quicker than a name
        attributes = self._attributes
        if not attributes:
            self._attributes = {}
        elif type(attributes) is dict and "" not in attributes:  # _adopt once more, without the call
            short = tracer.short
            for value in attributes.values():
                kind = type(value)
                if kind not in TEXTLESS if kind is not str else len(value) > short:
                    self._adopt_slowly(attributes)
                    break
            else:
                if len(attributes) <= tracer.most:
                    self._attributes = attributes.copy()
                else:
                    self._adopt_slowly(attributes)
        else:
            self._adopt_slowly(attributes)
        # A context that holds the span alone, or nothing, is not worth copying.
        if more:
            following = Context(current)
            set_item(following, SPAN_KEY, self)
        else:
            following = Context()
            add_item(following, SPAN_KEY, self)
        self._token = set_context(following)
        self._start_time = time_ns()
        return self

    def _drop(self, trace: tuple[int, TraceFlags, TraceState], current: Context) -> trace_api.Span:
        """Make a span current that records nothing; this object only holds the way back."""
        self._given = DROPPED
        dropped: Dropped = Dropped()
        dropped._trace = trace
        dropped._span_id = next(ids.numbers, 0) or ids.more()
        following = Context(current)
        set_item(following, SPAN_KEY, dropped)
        self._token = set_context(following)
        return dropped

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if self._given is not None or exc_val is not None:
            self._leave(exc_val)
            return
        try:
            reset_context(self._token)
        except ValueError:
            logger.exception("Failed to detach context")
        self._token = None
        tracer = self._tracer
        now = time_ns()
        if self._end_time is not None or tracer.observed:
            self.end()
            return
        self._end_time = now  # no call since the look at it
        # What Queue.put does, while there is room.
        queue = tracer.queue
        self._weight = weight = self._weight + 160 * len(self._attributes)  # ENTRY_WEIGHT
        room = queue.room - weight
        if room < queue.low:
            queue.put(self)
            return
        queue.account.recorded += 1
        queue.room = room
        queue.append(self)

    def _leave(self, error: BaseException | None) -> None:
        """Leave a `with` that is not the plain one: nested, dropped, failed, or with unusual arguments."""
        given = self._given
        if given is not None and given is not DROPPED and self._depth > 1:  # `with` on what another `with` started
            self._depth -= 1
            super().__exit__(None, error, None)
            return
        try:
            reset_context(self._token)
        except ValueError:
            logger.exception("Failed to detach context")
        self._token = None
        if given is DROPPED or self._span_id == 0:
            return  # dropped by the sampler
        if isinstance(error, Exception) and self._end_time is None:
            self._fail(error, escaped=False)
        if given is None or given.end_on_exit:
            self.end()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function or coroutine function: each call is a span."""
        again = functools.partial(_again, self)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                with again():
                    return await function(*args, **kwargs)

            return asynchronous

        @functools.wraps(function)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            with again():
                return function(*args, **kwargs)

        return synchronous


def _again(template: CurrentSpan) -> Any:
    """Return a fresh context manager with the arguments of one that serves as a decorator."""
    context, links, start_time, *flags = template._given or USUAL
    return template._tracer.start_as_current_span(
        template._name, context, template._kind, template._attributes, links, start_time, *flags
    )


def _bounded(attributes: dict[str, Any], dropped: int) -> BoundedAttributes:
    made = BoundedAttributes(None, attributes, immutable=True)
    made.dropped = dropped
    return made
