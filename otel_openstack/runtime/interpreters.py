# SPDX-License-Identifier: Apache-2.0
"""Whether this is the main interpreter of the process, or one of several that a server keeps its applications in.

In a sub-interpreter nothing of ours works as it should: it cannot fork, ends without its exit handlers (uWSGI) or
fatally while a thread of it is left behind, and most extension modules of the services refuse to be there at all.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

from otel_openstack.runtime import notices, worker

MODULES = ("_interpreters", "_xxsubinterpreters")  # since Python 3.13, and before
REMEDY = "uWSGI needs single-interpreter, mod_wsgi application-group=%{GLOBAL}"


def is_main() -> bool:
    """Return whether this is the main interpreter; True where Python cannot tell."""
    module = _module()
    return module is None or _number(module.get_current()) == _number(module.get_main())


def look_for_others() -> None:
    """Say it in one line when there are others, which know nothing of us and cannot say it themselves."""
    worker.on_beat(_look)


def _look() -> None:
    module = _module()
    if not _said and module is not None and len(module.list_all()) > 1:
        _said.append(True)
        notices.say("warning", f"only the first application is measured, others run in sub-interpreters; {REMEDY}")


@functools.cache
def _module() -> Any:
    for name in MODULES:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def _number(interpreter: Any) -> int:
    return int(interpreter[0] if isinstance(interpreter, tuple) else interpreter)


_said: list[bool] = []
