# SPDX-License-Identifier: Apache-2.0
"""Reading what decides over a service: only root and the service's own user may be able to write it.

Whoever can write a directory on the way to a file can put another one in its place, so all of them are looked at, also
those of symbolic links. Directories with the sticky bit, such as /tmp, are fine: nobody else can rename what is there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

ROOT = 0
MOST_BYTES = 2**20
MOST_LINKS = 40
OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedError(Exception):
    """A file cannot be used; the text says why, and what to do."""


def read(path: str, user: int | None = None) -> bytes:
    """Return the bytes of a file that nobody but root and `user` can write.

    Args:
        path: absolute, or relative to the working directory.
        user: by default the one of this process.

    Raises:
        UntrustedError: it can be written by others, is no regular file or too large, or cannot be read.
    """
    user = os.geteuid() if user is None else user
    try:
        found = None
        for step, found in _steps(path):
            _check(step, found, user)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            opened = os.fstat(descriptor)
            if found is None or not os.path.samestat(found, opened):
                raise UntrustedError(f"{path} was exchanged while it was looked at")
            if not stat.S_ISREG(opened.st_mode):
                raise UntrustedError(f"{path} is no regular file")
            data = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise UntrustedError(f"{path} cannot be read: {told}") from error
    if len(data) > MOST_BYTES:
        raise UntrustedError(f"{path} is larger than {MOST_BYTES} bytes")
    return data


def _steps(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything on the way to a file from the root on, links and what they lead through included."""
    here, links = "/", 0
    yield here, os.lstat(here)
    rest = os.path.join(os.getcwd(), path).split("/")
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        step = os.path.join(here, part)
        found = os.lstat(step)
        yield step, found
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        links += 1
        if links > MOST_LINKS:
            raise ValueError("too many symbolic links")
        target = os.readlink(step)
        here = "/" if target.startswith("/") else here
        rest = [*target.split("/"), *rest]


def _check(step: str, found: os.stat_result, user: int) -> None:
    if found.st_uid not in (ROOT, user):
        wanted = "root" if user == ROOT else f"root or {_name(user)}"
        raise UntrustedError(
            f"{step} belongs to {_name(found.st_uid)}, who could change what is patched: chown it to {wanted}"
        )
    if stat.S_ISLNK(found.st_mode):
        return  # its mode says nothing
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & OTHERS and not sticky:
        who = "everybody" if found.st_mode & stat.S_IWOTH else "its group"
        raise UntrustedError(f"{step} can be written by {who}, who could change what is patched: chmod go-w {step}")


def _name(user: int) -> str:
    import pwd  # for a refusal only

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
