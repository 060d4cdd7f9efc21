# SPDX-License-Identifier: Apache-2.0
"""What a process inherits from the one that started it, and what of that its own subprocesses are not to have.

The launcher switches itself on through PYTHONPATH, so every Python program that a service runs would be measured too:
rootwrap, privsep and prlimit, some of them as root, all with the variables that tell where to export and with which
credentials. A service therefore hands none of it on, but to its own workers and to itself when it executes itself anew.
What was started behind our back (from C) finds the mark of its origin in its environment, and does not start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

PATH = "PYTHONPATH"
PREFIX = "OTEL_"
MARK = "_OTEL_OPENSTACK_ORIGIN"  # effective user : process that is measured, 0 if none yet : entry of PYTHONPATH
LAUNCHER = "opentelemetry-instrument"
# The launcher's entry in PYTHONPATH, wherever it is installed, and the one that is there for it where we are chosen.
OWN_DIRECTORY = "auto_instrumentation"
DIRECTORIES = (
    os.path.join("opentelemetry", "instrumentation", "auto_instrumentation"),
    os.path.join("otel_openstack", OWN_DIRECTORY),
)
# What Python runs with -c where multiprocessing starts a worker with a new interpreter, and not its resource tracker.
WORKERS = ("from multiprocessing.spawn import", "from multiprocessing.forkserver import")


class Origin(NamedTuple):
    """Where an environment comes from.

    user: the effective user of the launcher, or of the process that was measured.
    process: the process that is measured; 0 where there is only the launcher so far.
    added: the entry that the launcher added to PYTHONPATH beside its own: the directory in which it was started.
    """

    user: int
    process: int = 0
    added: str = ""

    def __str__(self) -> str:
        return f"{self.user}:{self.process}:{self.added}"


def origin(environ: Mapping[str, str]) -> Origin | None:
    """Return what the mark in `environ` says; None if there is no mark that can be read."""
    user, _, rest = environ.get(MARK, "").partition(":")
    process, _, added = rest.partition(":")
    return Origin(int(user), int(process), added) if user.isdecimal() and process.isdecimal() else None


def launch(environ: MutableMapping[str, str]) -> None:
    """Mark the environment of the launcher, before it adds to PYTHONPATH: it was asked for, whoever asked."""
    here, outer = os.getcwd(), origin(environ)
    known = here in _entries(environ.get(PATH))
    added = (outer.added if outer else "") if known else here
    environ[MARK] = str(Origin(os.geteuid(), added=added))


def claim(environ: MutableMapping[str, str]) -> None:
    """Mark the environment of a process that is measured."""
    before = origin(environ)
    environ[MARK] = str(Origin(os.geteuid(), os.getpid(), before.added if before else ""))


def refusal(environ: Mapping[str, str]) -> str:
    """Return why a process with this environment is not to be measured; empty if it may be."""
    if is_program(sys.orig_argv, (LAUNCHER,)):
        return "is the launcher itself"  # below another one
    found = origin(environ)
    if found is None:
        return ""
    if os.geteuid() == 0 and found.user != 0:
        return f"runs as root with the environment of user {found.user}"
    if found.process in (0, os.getpid()) or is_worker(sys.orig_argv) or _is_embedded():
        return ""
    return f"is a subprocess of process {found.process} and none of its workers"


def is_worker(command: Iterable[object]) -> bool:
    """Return whether `command` starts a worker of multiprocessing (spawn or forkserver)."""
    return any(isinstance(word, str) and sign in word for word in command for sign in WORKERS)


def is_program(command: Sequence[str], names: Iterable[str]) -> bool:
    """Return whether `command` runs one of the programs called `names`, by itself or through Python."""
    words = [os.path.basename(word) for word in command if not word.startswith("-")]
    if words and _is_interpreter(words[0]):
        words.pop(0)
    return bool(words) and words[0] in names


def is_itself(command: Sequence[str]) -> bool:
    """Return whether `command` starts the program of this process anew, as servers do for a reload or an upgrade."""
    own = list(getattr(sys, "argv", ()))
    if not own or list(command[-len(own) :]) != own:
        return list(command) == sys.orig_argv
    interpreter = command[: -len(own)]
    return not interpreter or (
        _is_interpreter(interpreter[0]) and all(word.startswith("-") for word in interpreter[1:])
    )


def by_launcher(environ: Mapping[str, str]) -> bool:
    """Return whether Python programs with this environment are measured because of PYTHONPATH."""
    return any(entry.endswith(DIRECTORIES) for entry in _entries(environ.get(PATH)))


def is_ours(name: str) -> bool:
    """Return whether `changes` looks at the variable called `name`."""
    return name.startswith(PREFIX) or name in (MARK, PATH)


def changes(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str | None]:
    """Return what has to change in the environment `given` to a subprocess: new values, and None for what goes.

    Args:
        given: what the subprocess would get.
        own: the environment of this process. A variable of OpenTelemetry that differs from it was put there for the
            subprocess, and stays.

    """
    found: dict[str, str | None] = {
        name: None for name, value in given.items() if name.startswith(PREFIX) and own.get(name) == value
    }
    if MARK in given:
        found[MARK] = None
    if by_launcher(given):
        found[PATH] = os.pathsep.join(_without_the_launchers(given, own)) or None
    return found


def leave(given: Mapping[str, str]) -> dict[str, str | None]:
    """Return what has to change for a program that is to be measured as its starter is: it is no helper of it."""
    found = origin(given)
    return {MARK: str(Origin(found.user, added=found.added))} if found and found.process else {}


def apply(changed: Mapping[str, str | None], environ: MutableMapping[str, str]) -> None:
    """Change `environ` in place."""
    for name, value in changed.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value


def _entries(path: str | None) -> list[str]:
    return path.split(os.pathsep) if path else []


def _without_the_launchers(given: Mapping[str, str], own: Mapping[str, str]) -> Iterator[str]:
    known = origin(given) or origin(own)
    added = known.added if known else ""
    for entry in _entries(given.get(PATH)):
        if entry == added:
            added = ""  # once: whoever has it twice has put it there too
        elif not entry.endswith(DIRECTORIES):
            yield entry


def _is_embedded() -> bool:
    """Whether this is no Python but a program with an interpreter in it.

    No helper is, but the vassals of uWSGI's emperor, which it starts from C.
    """
    return "python" not in os.path.basename(sys.executable or "python")


def _is_interpreter(word: str) -> bool:
    name = os.path.basename(word)
    return name.startswith("python") or name == os.path.basename(sys.executable or "")
