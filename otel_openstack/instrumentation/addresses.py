# SPDX-License-Identifier: Apache-2.0
"""IP addresses as other hosts write them, and sets of networks to look them up in."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

LONGEST = 64
"""Characters; an address with its brackets, zone and port is shorter."""

LOOPBACK = ("127.0.0.0/8", "::1")


def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `text` holds, with or without port, brackets and zone; None if it holds none."""
    if len(text) > LONGEST:
        return None
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None  # how a socket for both shows IPv4
    return found if mapped is None else mapped


class Networks:
    """Networks and single addresses.

    Args:
        texts: such as `10.20.0.0/24` and `::1`; the word `loopback` stands for both loopback networks, and what is
            neither is left out.

    """

    def __init__(self, texts: Iterable[str]) -> None:
        given = tuple(texts)
        self._networks = tuple(_networks((*LOOPBACK, *given) if "loopback" in given else given))

    def __contains__(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _networks(texts: Iterable[str]) -> Iterable[IPv4Network | IPv6Network]:
    for text in texts:
        try:
            yield ip_network(text, strict=False)
        except ValueError:
            continue
