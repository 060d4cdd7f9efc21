# SPDX-License-Identifier: Apache-2.0
"""Looks for secrets in bytes, in the forms in which they could have got there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

PIECE = 12  # characters of a secret's beginning that are looked for: a text that was cut short leaks too
WORD = re.compile(rb"[A-Za-z0-9+/_=-]{%d,}" % PIECE)
TOKEN = b"gAAAA"  # how every token of keystone's begins


def forms(secret: str) -> set[bytes]:
    """What to look for: the beginning as it is, in hexadecimal, and in base64 wherever it may start in there."""
    piece = secret.encode()[:PIECE]
    found = {piece, piece.hex().encode(), piece.hex().upper().encode()}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + piece)
        first, last = -(-shift * 8 // 6), (shift + len(piece)) * 8 // 6
        found |= {coded[first:last], coded[first:last].translate(bytes.maketrans(b"+/", b"-_"))}
    return found


class Haystack:
    """Everything that may be searched, each different word once."""

    def __init__(self) -> None:
        self.size = 0
        self._words: set[bytes] = set()

    def add(self, content: bytes) -> None:
        self.size += len(content)
        self._words.update(WORD.findall(content))

    def add_exported(self, paths: Iterable[Path]) -> None:
        """Take in OTLP JSON lines: their bytes, and their strings as they are behind JSON's escapes."""
        for path in paths:
            for line in path.read_bytes().splitlines():
                self.add(line)
                if b"\\" in line:
                    self.add(json.dumps(json.loads(line), ensure_ascii=False).encode())

    def leaked(self, secrets: Mapping[str, str]) -> dict[str, list[bytes]]:
        """Which secrets are in it, with the words in which they were found."""
        text = b"\n".join(self._words)
        names = [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]
        return {name: [w for w in self._words if any(f in w for f in forms(secrets[name]))] for name in names}

    def tokens(self) -> list[bytes]:
        """Words that a token of keystone's begins in."""
        return [word for word in self._words if TOKEN in word]
