# SPDX-License-Identifier: Apache-2.0
"""The primitives of the operating system as they were before anybody monkey-patched them.

The export thread is a real thread also where a service runs on eventlet. A native thread that touches a green lock or a
green socket deadlocks the hub, so everything here comes from C modules, captured at import; where eventlet has patched
already, from the copies that eventlet itself keeps. Eventlet is looked up in sys.modules, never imported: nova refuses
to start if somebody else imported it.
"""

from __future__ import annotations

import _socket
import importlib
import posix
import sys
from typing import Any


def _original(name: str) -> Any:
    """Return module `name` unpatched: eventlet's saved copy if there is one, else the module itself."""
    saved = sys.modules.get("__original_module_" + name)
    if saved is not None:
        return saved
    patcher: Any = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.already_patched:
        return patcher.original(name)
    return importlib.import_module(name)


_thread = _original("_thread")
_time = _original("time")
_select = _original("select")

start_new_thread = _thread.start_new_thread
allocate_lock = _thread.allocate_lock
get_ident = _thread.get_ident
sleep = _time.sleep
monotonic = _time.monotonic
time_ns = _time.time_ns
# eventlet deletes poll from the select module, and replaces functions of os; it leaves posix and _socket alone.
poll = _select.poll
POLLIN = _select.POLLIN
POLLOUT = _select.POLLOUT
getpid = posix.getpid
write = posix.write
open_file = posix.open
socket = _socket


def is_green() -> bool:
    """Whether eventlet has replaced this process's threads by green ones, as of now."""
    patcher: Any = sys.modules.get("eventlet.patcher")
    return patcher is not None and "thread" in patcher.already_patched
