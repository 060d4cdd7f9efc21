# SPDX-License-Identifier: Apache-2.0
"""Room for the frames of a whole request, in one piece.

Since 3.11 CPython keeps the frames of a thread in chunks of 16 KiB, which it takes from the system and gives back once
they are left. Where the border of two chunks lies under a loop of calls, each of them costs two system calls and a
page fault. It was seen to take a third of a request of neutron with us and a fifth of one of nova without: where the
borders lie is chance, and every frame of ours moves them. So the frame of the wrapper that a request goes through is as
large as nearly half of `CHUNK`: the interpreter gets a chunk of that size for it, and the other half holds the frames
of all that the request calls. What is not touched of it takes no memory. Its pages are new to each request: that costs
10 to 50 us, and an application of few frames gets nothing for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

CHUNK = 128 * 1024
"""Bytes; a power of two times the interpreter's own 16 KiB."""
SLOT = 8
"""Bytes of one value in a frame."""
SPARE = 900
"""Slots less than half a chunk: the interpreter wants a thousand more than the frame has before it doubles a chunk."""

F = TypeVar("F", bound=Callable[..., Any])


def roomy(function: F) -> F:
    """Let `function`, a wrapper of ours, leave room for the frames of what it calls; returns it."""
    if sys.implementation.name == "cpython" and sys.version_info >= (3, 11):
        plain: Any = function
        plain.__code__ = plain.__code__.replace(co_stacksize=CHUNK // SLOT // 2 - SPARE)
    return function
