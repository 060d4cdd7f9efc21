# SPDX-License-Identifier: Apache-2.0
"""Where outgoing HTTP requests may carry trace context and baggage to: endpoints of the cloud, and nobody else.

A service also calls what is not of the cloud: images from anywhere, webhooks, hypervisors of others, machines of
tenants. Those learn no ids of ours, and nothing of the baggage. The host that a request names decides; names are not
resolved, as that would be a wait inside the service's call.

Endpoints are learned where keystoneauth1 takes them from the catalog or from configuration (`auth_url`,
`endpoint_override`), not from the absolute URLs that are given to its sessions, nor from redirects.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from otel_openstack import settings
from otel_openstack.instrumentation import addresses
from otel_openstack.patching import Patch

LOCALHOST = "localhost"
MOST = 1024
"""Hosts that are learned, and verdicts that are kept."""

LONGEST = 255
LONGEST_URL = 2048

_learned: set[str] = set()
_urls: set[str] = set()


class _Rules:
    """The two options, parsed once; verdicts about hosts are kept."""

    def __init__(self, chosen: settings.Settings) -> None:
        places = chosen.trusted_endpoints
        self.chosen = chosen
        self.all = "all" in places
        self.catalog = "catalog" in places
        self._names = frozenset((*places, LOCALHOST) if "loopback" in places else places)
        self._suffixes = tuple(place[1:] for place in places if place.startswith("*."))
        callers = chosen.trusted_callers if "callers" in places else ()
        self._networks = addresses.Networks((*places, *callers))
        self._verdicts: dict[str, bool] = {}

    def trust(self, host: str) -> bool:
        known = self._verdicts.get(host)
        if known is None:
            known = self._judge(host)
            if len(self._verdicts) >= MOST:
                self._verdicts.clear()
            self._verdicts[host] = known
        return known

    def _judge(self, host: str) -> bool:
        address = addresses.parse(host)
        if address is not None:
            return address in self._networks
        return host in self._names or (bool(self._suffixes) and host.endswith(self._suffixes))


_rules: _Rules | None = None


def trusted(host: str) -> bool:
    """Return whether a request to `host`, a name or an address, carries our context."""
    if len(host) > LONGEST:
        return False
    rules, plain = _current(), host.lower().rstrip(".")
    return rules.all or (rules.catalog and plain in _learned) or rules.trust(plain)


def learn(url: Any) -> None:
    """Take the host of `url` for one of the cloud's."""
    if not isinstance(url, str) or url in _urls or len(url) > LONGEST_URL or len(_learned) >= MOST:
        return
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return
    if host and len(host) <= LONGEST:
        _learned.add(host.rstrip("."))
        if len(_urls) < MOST:
            _urls.add(url)  # not to be taken apart again


def restart() -> None:
    """Forget what was learned, for tests."""
    _learned.clear()
    _urls.clear()


def _current() -> _Rules:
    global _rules
    rules, chosen = _rules, settings.get()
    if rules is None or rules.chosen is not chosen:
        rules = _rules = _Rules(chosen)
    return rules


class Catalog:
    """`ServiceCatalog.endpoint_data_for(...)`: an endpoint is taken from a catalog."""

    def before(self, catalog: Any, *args: Any, **kwargs: Any) -> Any:
        return catalog

    def finish(self, catalog: Any, result: Any, error: BaseException | None) -> None:
        learn(getattr(result, "catalog_url", None))


class Endpoint:
    """`Session.get_endpoint(...)`: what a plugin has for an endpoint, of a catalog or configured."""

    def before(self, session: Any, *args: Any, **kwargs: Any) -> Any:
        return session

    def finish(self, session: Any, result: Any, error: BaseException | None) -> None:
        learn(result)


class Access:
    """`BaseIdentityPlugin.get_access(session)`: keystone is asked at `auth_url`, if a new token is needed."""

    def before(self, plugin: Any, *args: Any, **kwargs: Any) -> Any:
        learn(plugin.auth_url)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        pass


class Override:
    """`Session.request(url, ..., endpoint_override=...)`: an endpoint that the service was configured with."""

    def before(self, session: Any, *args: Any, endpoint_override: Any = None, **kwargs: Any) -> Any:
        learn(endpoint_override)

    def finish(self, state: Any, result: Any, error: BaseException | None) -> None:
        pass


def _patch(name: str, module: str, attribute: str, hook: Any) -> Patch:
    return Patch(f"cloud_endpoints.{name}", f"keystoneauth1.{module}", attribute, group="http", hook=hook, always=True)


PATCHES: tuple[Patch, ...] = (
    _patch("catalog", "access.service_catalog", "ServiceCatalog.endpoint_data_for", Catalog),
    _patch("auth_url", "identity.base", "BaseIdentityPlugin.get_access", Access),
    _patch("plugin", "session", "Session.get_endpoint", Endpoint),
    _patch("override", "session", "Session.request", Override),
)
