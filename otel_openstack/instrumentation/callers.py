# SPDX-License-Identifier: Apache-2.0
"""Who sends trace context and baggage with a request over HTTP, and whether it is believed.

A public endpoint is called by anyone: a caller who is believed decides what is sampled, joins its requests to traces of
others, and has its baggage passed on through the whole cloud. So a caller outside `trusted_callers` gets a trace of our
own, with a link to its span; nothing else of what it sent is kept, whatever propagators are in use.

The address is that of the connection and all that proxies have noted. A proxy appends, so a client can add lies but
cannot take the truth away: every address of the chain has to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Link, SpanContext

from otel_openstack import settings
from otel_openstack.instrumentation import addresses, service_tokens
from otel_openstack.instrumentation.wsgi_environ import GETTER, PARENT_ONLY
from otel_openstack.runtime import notices, process
from otel_openstack.tracing import inbound, propagators

# What servers say of a client on a Unix socket: gunicorn and cheroot, eventlet, werkzeug, uWSGI.
LOCAL = ("", "unix", "<local>", "0.0.0.0")  # noqa: S104 (nothing is bound)
HERE = "127.0.0.1"
# Headers that name clients, and headers by which a proxy shows that names none.
NAMING = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
SHOWING = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_VIA")
UNNAMED = "a proxy that does not say for whom"
UNKNOWN = "an unknown address"
LONGEST_CHAIN = 1024
MOST_HOPS = 32
MOST_VERDICTS = 1024


class Caller:
    """One who sent a context that was not, or not for the address alone, taken over.

    where: the address that is not trusted, for the log.
    links: what the request's span begins with.
    joined: its trace is taken over.
    confirmed: a service token of it was found valid.
    attributes: what samplers looked at when the request began.
    """

    __slots__ = ("attributes", "confirmed", "joined", "links", "where")

    def __init__(self, where: str, links: tuple[Link, ...], *, joined: bool) -> None:
        self.where = where
        self.links = links
        self.joined = self.confirmed = joined
        self.attributes: Mapping[str, Any] = {}


class _Rules:
    """The option, parsed once; verdicts about addresses are kept."""

    def __init__(self, chosen: tuple[str, ...]) -> None:
        self.chosen = chosen
        self.all = "all" in chosen
        self.service = "service" in chosen
        self._networks = addresses.Networks(chosen)
        self._verdicts: dict[str, bool] = {}

    def trust(self, address: str) -> bool:
        known = self._verdicts.get(address)
        if known is None:
            if len(address) > addresses.LONGEST:
                return False
            known = addresses.parse(address) in self._networks
            if len(self._verdicts) >= MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[address] = known
        return known

    def stranger(self, environ: Mapping[str, Any]) -> str:
        """Return an address that is not trusted, of the connection or of what proxies noted; empty if there is none."""
        remote = environ.get("REMOTE_ADDR", "")
        if remote in LOCAL:
            remote = HERE
        if not isinstance(remote, str) or not self.trust(remote):
            return shown(remote)
        named = False
        for header in NAMING:
            chain = environ.get(header)
            if chain is not None:
                named = True
                for address in reversed(hops(header, chain)):  # the last one is the truest
                    if not self.trust(address):
                        return shown(address)
        if not named and any(header in environ for header in SHOWING):
            return UNNAMED
        return ""


_rules: _Rules | None = None
_told = False


def above(environ: Mapping[str, Any]) -> tuple[Context, Caller | None]:
    """Return what a request is to begin under, and who sent a context that is not simply believed."""
    found: Context | None = None
    if propagators.nothing_in(environ):
        return Context(), None
    if "HTTP_TRACEPARENT" not in environ and "HTTP_BAGGAGE" not in environ:
        found = sent(environ)  # by propagators of others
        if not found:
            return found, None
    rules = _current()
    where = "" if rules.all else rules.stranger(environ)
    if not where:
        return sent(environ) if found is None else found, None
    if rules.service and service_tokens.known(environ):
        return sent(environ), Caller(where, (), joined=True)
    return Context(), Caller(where, _links(sent(environ, PARENT_ONLY)), joined=False)


def sent(environ: Mapping[str, Any], getter: Getter[Any] = GETTER) -> Context:
    """Return all that the headers of a request say, believed or not."""
    if propagators.usual() and "HTTP_TRACESTATE" not in environ and "HTTP_BAGGAGE" not in environ:
        found = propagators.parent(inbound.header("traceparent", environ.get("HTTP_TRACEPARENT")))
        if found is not None:
            return found
    try:
        return propagate.extract(environ, Context(), getter)
    except Exception:  # what anyone can send is no failure of ours, and propagators may be others'
        return Context()


def services_are_trusted() -> bool:
    """Return whether a service token makes a caller trusted."""
    return _current().service


def tell(caller: Caller) -> None:
    """Say once in a process that a context was not taken over, and by which option it would be."""
    global _told
    if _told or not caller.links or caller.confirmed:
        return
    _told = True
    notices.say(
        "info",
        f"a traceparent from {caller.where} became a link; name the address in OTEL_OPENSTACK_TRUSTED_CALLERS to join "
        "its traces",
    )


def hops(header: str, chain: Any) -> list[str]:
    """Return the addresses that the header of a proxy names; what is no address stays, and is trusted by none."""
    if not isinstance(chain, str) or len(chain) > LONGEST_CHAIN or chain.count(",") >= MOST_HOPS:
        return [UNKNOWN]
    # Commas within quotes are not looked for: a quote that a client leaves open must not hide what follows.
    found = chain.split(",")
    return [_for(element) for element in found] if header == "HTTP_FORWARDED" else found


def shown(address: Any) -> str:
    """Return an address for the log; never what is none."""
    found = addresses.parse(address) if isinstance(address, str) else None
    return UNKNOWN if found is None else str(found)


def _for(element: str) -> str:
    """Return the `for` of one element of a Forwarded header."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return UNKNOWN


def _links(context: Context) -> tuple[Link, ...]:
    span = trace.get_current_span(context).get_span_context()
    if not span.is_valid:
        return ()
    return (Link(SpanContext(span.trace_id, span.span_id, is_remote=True, trace_flags=span.trace_flags)),)


def _current() -> _Rules:
    global _rules
    rules, chosen = _rules, settings.get().trusted_callers
    if rules is None or rules.chosen is not chosen:
        rules = _rules = _Rules(chosen)
    return rules


def _restart() -> None:
    global _told
    _told = False


process.on_child(_restart)
