# SPDX-License-Identifier: Apache-2.0
"""oslo.middleware's own tracing (since 8.2) steps aside: our edge measures the same request, once.

Left alone it would write a second SERVER span named by the raw path, beside or apart from ours, make a provider with an
exporter and a thread of its own, and replace the process' propagators. Its options stay, and so does the filter.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from otel_openstack.patching import Patch, guard, inventory

NAME = "oslo.middleware's tracing"
REASON = "its requests are traced already"

INIT = "oslo_middleware.tracing.init"


def _init_tracing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Replace `init_tracing`: where tracing is enabled it would set up what is set up already."""
    watch = guard(INIT)

    @functools.wraps(original)
    def init_tracing(*args: Any, **kwargs: Any) -> Any:
        if watch.applies():
            with watch:
                module: Any = sys.modules["oslo_middleware.tracing"]
                if _enabled(module, *args, **kwargs):
                    module._INITIALIZED = True  # as its callers find it after the original
                    inventory.aside(NAME, REASON)
                    return None
        return original(*args, **kwargs)

    return init_tracing


def _enabled(module: Any, conf: Any = None) -> bool:
    chosen = module.cfg.CONF if conf is None else conf
    module._register_opts(chosen)
    return bool(chosen.oslo_middleware_tracing.enabled)


class Filter:
    """`TracingMiddleware.__init__`: the filter passes requests on."""

    def before(self, filtering: Any, *args: Any, **kwargs: Any) -> Any:
        return filtering

    def finish(self, filtering: Any, result: Any, error: BaseException | None) -> None:
        filtering._tracing_enabled = False


PATCHES: tuple[Patch, ...] = (
    Patch(
        name=INIT,
        module="oslo_middleware.tracing",
        attribute="init_tracing",
        group="http",
        replace=_init_tracing,
    ),
    Patch(
        name="oslo_middleware.tracing.filter",
        module="oslo_middleware.tracing",
        attribute="TracingMiddleware.__init__",
        group="http",
        hook=Filter,
        always=True,
    ),
)
