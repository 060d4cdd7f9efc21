# SPDX-License-Identifier: Apache-2.0
"""On which addresses a process waits for others, as the kernel says."""

from __future__ import annotations

import contextlib
import ipaddress
from pathlib import Path

LISTEN, UNCONNECTED = "0A", "07"
TABLES = {"tcp": LISTEN, "tcp6": LISTEN, "udp": UNCONNECTED, "udp6": UNCONNECTED}


def listening(process):
    """The addresses and ports on which the process of this directory of /proc listens: `{("127.0.0.1", 4318)}`."""
    mine = set()
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(str(descriptor.readlink()))
    return {
        place(fields[1])
        for table, state in TABLES.items()
        for fields in map(str.split, (process / "net" / table).read_text().splitlines()[1:])
        if fields[3] == state and f"socket:[{fields[9]}]" in mine
    }


def place(text):
    """The kernel writes words of an address in the order of the machine's bytes."""
    address, port = text.split(":")
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)


def beyond_loopback(process):
    return {found for found in listening(process) if not ipaddress.ip_address(found[0]).is_loopback}


def of(pid):
    return Path(f"/proc/{pid}")
