# SPDX-License-Identifier: Apache-2.0
"""The environment that a service gives to its subprocesses: without the launcher's path and without our variables.

Patched where a process is made, not where it is asked for: `subprocess`, eventlet's copies of it, asyncio and
multiprocessing all end in `fork_exec`, `os.exec*`, `os.spawn*` and `pty` in `os.execv` and `os.execve`. The service's
own environment stays as it is, since uWSGI executes itself anew from C when it reloads.
"""

from __future__ import annotations

import functools
import os
import posix
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otel_openstack import settings
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, guard, keep
from otel_openstack.runtime import inheritance

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Changes = dict[str, "str | None"]

# Modules that keep `fork_exec` under a name of their own; eventlet's are copies that it makes of the first.
COPIES = ("subprocess", "__original_module_subprocess", "__patched_module_subprocess", "eventlet.green.subprocess")
FORK_EXEC = "_fork_exec"
# Before the code of a worker that the launcher does not switch on, since its parent was measured without it.
BY_IMPORT = "try:\n import otel_openstack.auto\nexcept Exception:\n pass\n"

_before: list[str | None] = []  # the mark that was there when we came


def _environ() -> dict[bytes, bytes]:
    """Return our own environment as it is now, whatever other threads do to it."""
    return {key: value for key in os.environb if (value := os.environb.get(key)) is not None}


def _relevant(environ: Mapping[Any, Any]) -> dict[str, str]:
    """Return what of `environ` may have to change, as text."""
    names = {os.fsdecode(key): key for key in environ}
    return {name: os.fsdecode(environ[names[name]]) for name in names if inheritance.is_ours(name)}


def _changes(command: Sequence[Any], given: Mapping[Any, Any] | None) -> Changes:
    """Return what has to change in the environment `given` (None: our own) of the subprocess `command`."""
    try:
        words = [os.fsdecode(word) for word in command]
        own = _relevant(_environ())
        environ = own if given is None else _relevant(given)
    except TypeError:
        return {}  # the call is wrong, and about to fail
    if inheritance.is_worker(words):
        return {}
    programs = (inheritance.LAUNCHER, *settings.get().subprocesses)
    if inheritance.is_program(words, programs) or inheritance.is_itself(words):
        return inheritance.leave(environ)
    return inheritance.changes(environ, own)


def _changed(given: Any, changes: Changes) -> Any:
    """Return the environment `given` (None: our own) with `changes`; itself if there are none."""
    if not changes:
        return given
    found: dict[Any, Any] = _environ() if given is None else dict(given)
    as_bytes = any(isinstance(key, bytes) for key in found)
    for key, value in changes.items():
        name = os.fsencode(key) if as_bytes else key
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found


def _fork_exec(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """`_posixsubprocess.fork_exec(command, paths, close_fds, fds, cwd, environment, ...)`; None is our own."""
    command, given = args[0], args[5]
    pairs = None if given is None else dict(entry.partition(b"=")[::2] for entry in given)
    changed = _changed(pairs, _changes(command, pairs))
    if changed is not pairs:
        given = [key + b"=" + os.fsencode(value) for key, value in changed.items()]
    return (_by_import(command, given), *args[1:5], given, *args[6:]), kwargs


def _by_import(command: Any, given: Any) -> Any:
    """Have a worker of multiprocessing switch itself on, where the launcher does not."""
    if given is not None or not inheritance.is_worker(command) or inheritance.by_launcher(os.environ):
        return command
    return [BY_IMPORT + word if inheritance.is_worker([word]) else word for word in command]


def _posix_spawn(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """`os.posix_spawn(path, command, environment, ...)`."""
    if len(args) < 3 or (args[2] is None and sys.version_info < (3, 13)):  # noqa: PLR2004
        return args, kwargs
    path, command, given, *others = args
    return (path, command, _changed(given, _changes(command, given)), *others), kwargs


def _execve(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """`os.execve(path, argv, env)`."""
    given = {**dict(zip(("path", "argv", "env"), args, strict=False)), **kwargs}
    if given.keys() != {"path", "argv", "env"} or given["env"] is None:
        return args, kwargs
    return (), {**given, "env": _changed(given["env"], _changes(given["argv"], given["env"]))}


def _replace_execv(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `os.execv(path, argv)`, which hands on the environment of this process."""
    watch = guard("process.execv")

    @functools.wraps(original)
    def execv(*args: Any, **kwargs: Any) -> Any:
        environ = None
        if watch.on:
            with watch:
                path, argv = args
                changes = _changes(argv, None)
                environ = _changed(None, changes) if changes else None
        return original(*args, **kwargs) if environ is None else posix.execve(path, argv, environ)

    return execv


def _system(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """`os.system(command)`: its shell forgets what it was given before it comes to the command, on the same line."""
    command = args[0] if args else kwargs.get("command")
    if not isinstance(command, str | bytes | os.PathLike):
        return args, kwargs
    import shlex  # for the few services that use a shell

    own = _relevant(_environ())
    first = ""
    for name, value in inheritance.changes(own, own).items():
        if name.isidentifier() and name.isascii():  # another name, a shell does not know either
            first += f"unset {name}; " if value is None else f"{name}={shlex.quote(value)}; "
    return ((os.fsencode(first) + os.fsencode(command),), {}) if first else (args, kwargs)


def install() -> None:
    """Mark this process as measured, and patch the copies of `fork_exec` that were made before."""
    _before.append(os.environ.get(inheritance.MARK))
    inheritance.claim(os.environ)
    patched = _patched_fork_exec()
    if patched is not None:
        _swap(patched.__wrapped__, patched)


def uninstall() -> None:
    """Put the original back into the copies."""
    if _before:
        inheritance.apply({inheritance.MARK: _before.pop()}, os.environ)
    patched = _patched_fork_exec()
    if patched is not None:
        _swap(patched, patched.__wrapped__)


def _patched_fork_exec() -> Any:
    found = getattr(sys.modules.get("_posixsubprocess"), "fork_exec", None)
    return found if hasattr(found, "__wrapped__") else None


def _swap(old: Any, new: Any) -> None:
    for name in COPIES:
        module = sys.modules.get(name)
        if module is not None and vars(module).get(FORK_EXEC) is old:
            setattr(module, FORK_EXEC, new)


def _call(name: str, *, module: str = "os", **how: Any) -> Patch:
    # At every level, and while the service is switched off: what a helper is not to have depends on neither.
    keep(f"process.{name}")
    return Patch(f"process.{name}", module, name, level=Level.OFF, **how)


PATCHES: tuple[Patch, ...] = (
    _call("fork_exec", module="_posixsubprocess", rewrite=_fork_exec),
    _call("posix_spawn", rewrite=_posix_spawn),
    _call("posix_spawnp", rewrite=_posix_spawn),
    _call("execv", replace=_replace_execv),
    _call("execve", rewrite=_execve),
    _call("system", rewrite=_system),
)
