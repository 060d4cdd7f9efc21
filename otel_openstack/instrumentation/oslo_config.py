# SPDX-License-Identifier: Apache-2.0
"""The level in the service's own configuration: `[otel_openstack] level`, read at its start and at every SIGHUP.

Signals belong to the services. Those on oslo.service answer SIGHUP by reading their files again, to mutate or to reload
what they hold, and that is where the level is looked at. The option is registered where a file has the section only.
"""

from __future__ import annotations

import weakref
from typing import Any

from otel_openstack import levels, settings
from otel_openstack.patching import Patch, keep
from otel_openstack.runtime import notices

GROUP = "otel_openstack"
OPTION = "level"

_source: weakref.ref[Any] | None = None  # the configuration that the level came from


class _FilesRead:
    def before(self, conf: Any, *args: Any, **kwargs: Any) -> Any:
        return conf

    def finish(self, conf: Any, result: Any, error: BaseException | None) -> None:
        global _source
        if error is not None:
            return
        level = level_of(conf)
        if level is not None:
            _source = weakref.ref(conf)
        elif _source is None or _source() is not conf:
            return  # one of the other objects that libraries make for themselves
        move(level or settings.get().level)


def level_of(conf: Any) -> str | None:
    """Return what the files of `conf`, an oslo.config object, say; None where they say nothing."""
    if GROUP not in conf.list_all_sections():
        return None
    from oslo_config import cfg  # the service has imported it: this is its object

    conf.register_opt(cfg.StrOpt(OPTION, mutable=True, help="How deep to measure."), group=GROUP)  # again: nothing
    return getattr(conf[GROUP], OPTION) or None


def move(level: str) -> None:
    """Move the level, and say so in one line, also where it is refused."""
    before = levels.current()
    try:
        if levels.move(level):
            notices.say("warning", f"level moved from {before.name.lower()} to {levels.current().name.lower()}")
    except levels.RefusedError as refusal:
        notices.say("warning", str(refusal))


HOOKS = (("parsed", "__call__"), ("mutated", "mutate_config_files"), ("reloaded", "reload_config_files"))

for _name, _ in HOOKS:
    keep(f"oslo_config.{_name}")  # a level that is asked for while everything is switched off counts later

PATCHES: tuple[Patch, ...] = tuple(
    Patch(f"oslo_config.{name}", "oslo_config.cfg", f"ConfigOpts.{method}", hook=_FilesRead, lasting=True)
    for name, method in HOOKS
)
