# SPDX-License-Identifier: Apache-2.0
"""A path of unknown make, turned into a template of low cardinality: what is not plainly a literal becomes `{id}`.

The rule: a segment stays when it is a lower-case word of letters, dashes and underscores (`os-hypervisors`), a version
(`v2.1`), an `OS-` extension of keystone (`OS-FEDERATION`) or the placeholder of another template; anything with digits,
capitals or other characters in it is somebody's identifier. So is a word after a collection (`networks/private`),
unless it is known as a part of the API (`servers/detail`). Other names that look like words pass, so callers also bound
the number of different templates (`Bound`).
"""

from __future__ import annotations

import functools

from otel_openstack.pattern import Pattern

LONGEST = 256
"""Characters of a path that are looked at; a longer path has no template."""

_LITERAL = Pattern(r"[a-z][a-z_-]{0,39}|v\d{1,2}(?:\.\d{1,2})?|OS-[A-Z0-9-]{1,24}|\{\w{1,40}\}")
_WORDY_ID = Pattern(r"[0-9a-f]{8}-[0-9a-f-]{4,}|[a-f]{8,}")
_COLLECTION = Pattern(r"[a-z_-]{2,}[^su\W]s")
_BELOW_COLLECTION = frozenset({
    "action", "actions", "config", "default", "defaults", "detail", "details", "members", "power", "provision",
    "root", "statistics", "summary", "tags",
})  # fmt: skip
_SWIFT = Pattern(r"/v1(?:\.0)?/[A-Z]{1,16}_[^/]+(/[^/]+)?(/.+)?")


def literal(segment: str) -> bool:
    """Return whether a path segment is a word of the API, not an identifier."""
    return _LITERAL.fullmatch(segment) is not None and _WORDY_ID.fullmatch(segment) is None


@functools.lru_cache(maxsize=1024)
def of(path: str) -> str | None:
    """Return the template of `path` (no query in it), or None where it is too long to be looked at."""
    if len(path) > LONGEST:
        return None
    swift = _SWIFT.fullmatch(path)
    if swift:
        container, blob = swift.groups()
        return "/v1/{account}" + ("/{container}" if container else "") + ("/{object}" if blob else "")
    segments = path.split("/")
    return "/".join(map(_part, segments, ["", *segments]))


def _part(segment: str, before: str) -> str:
    if not segment:
        return segment
    if not literal(segment):
        return "{id}"
    item = _COLLECTION.fullmatch(before) is not None and literal(before)
    known = segment in _BELOW_COLLECTION or segment.startswith(("os-", "OS-", "{"))
    return "{id}" if item and not known else segment


class Bound:
    """Lets the first `limit` different templates of a process pass, and no more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def admit(self, template: str | None) -> str | None:
        """Return `template` if it is known or there is room for it, else None."""
        if template is None or template in self._known:
            return template
        if len(self._known) >= self._limit:
            return None
        self._known.add(template)
        return template
