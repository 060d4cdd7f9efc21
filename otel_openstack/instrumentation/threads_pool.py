# SPDX-License-Identifier: Apache-2.0
"""multiprocessing.pool.ThreadPool: the context travels with each item; pools of processes are left alone.

`apply`, `map` and `starmap` go through the private methods patched here; both kinds of pool share them.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from otel_openstack import tracing
from otel_openstack.patching import Patch

MODULE = "multiprocessing.pool"


def carried(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Bind the function of `method(pool, function, ...)` to the context of its caller."""
    pools: Any = sys.modules[MODULE]
    if len(args) < len(("pool", "function")) or not isinstance(args[0], pools.ThreadPool):
        return args, kwargs
    captured = tracing.capture()
    if captured is None:
        return args, kwargs
    return (args[0], functools.partial(captured.run, args[1]), *args[2:]), kwargs


def _patch(method: str) -> Patch:
    return Patch(
        f"multiprocessing.pool.{method.strip('_')}",
        module=MODULE,
        attribute=f"Pool.{method}",
        group="threads",
        rewrite=carried,
    )


PATCHES: tuple[Patch, ...] = tuple(map(_patch, ("apply_async", "_map_async", "imap", "imap_unordered")))
