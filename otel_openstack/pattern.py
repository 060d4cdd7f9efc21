# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that are compiled at their first use.

Most processes never meet most kinds of secrets, topics and paths, and compiling all patterns would cost each of them
8 ms of its start. The dearest takes 2 ms, so it may well be compiled where a green thread runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any


class Pattern:
    """What `re.compile` returns, but made when it is needed.

    From then on its methods are attributes of this object, so they cost what they cost there. Two threads that come at
    once both compile it, so there is no lock that a fork could leave taken.
    """

    search: Callable[..., re.Match[str] | None]
    match: Callable[..., re.Match[str] | None]
    fullmatch: Callable[..., re.Match[str] | None]
    sub: Callable[..., str]

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.pattern = pattern
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        made = re.compile(self.pattern, self._flags)
        vars(self).update(search=made.search, match=made.match, fullmatch=made.fullmatch, sub=made.sub)
        return getattr(made, name)
