# SPDX-License-Identifier: Apache-2.0
"""Which packages are installed, read from the directories in `sys.path`.

importlib.metadata tells the same. Importing it takes 11 ms of every start, with the modules for e-mail and archives,
and asking it reads more files than the question needs. It is not imported later either: the export thread asks too, and
a process that forked while a thread imports something would leave a child in which that can never be imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from importlib.machinery import PathFinder

# What the directory of a package is called, and where in it the files are.
KINDS = ((".dist-info", ""), (".egg-info", ""), (".egg", "EGG-INFO"))
# Files that tell the version: of a wheel, of what setuptools installed; of distutils the entry itself is the file.
TELLING = ("METADATA", "PKG-INFO", "")


def version(*names: str) -> str:
    """Return the version of the first package of these names that is installed; empty if none is."""
    found = _versions.get(names, "")
    if not found:
        places = dict(_packages())
        told = (_told(places[name]) for name in map(_normal, names) if name in places)
        found = _versions[names] = next(filter(None, told), "")
    return found


def entry_points(groups: Collection[str]) -> list[tuple[str, str]] | None:
    """Return (group, name) of every entry point in `groups`; None if there is more than this module can read."""
    if _unreadable():
        return None
    return [pair for _, place in _packages() for pair in _entries(_read(place, "entry_points.txt"), groups)]


_versions: dict[tuple[str, ...], str] = {}


def _packages() -> Iterator[tuple[str, str]]:
    """Yield the name and the place of every package; of two with one name, the first hides the second."""
    seen: set[str] = set()
    for path in sys.path:
        try:
            entries = os.listdir(path or ".")
        except OSError:
            continue
        for entry in entries:
            for ending, inner in KINDS:
                if entry.endswith(ending):
                    name = _normal(entry.removesuffix(ending).partition("-")[0])
                    if name not in seen:
                        seen.add(name)
                        yield name, os.path.join(path, entry, inner)


def _unreadable() -> bool:
    """Whether there are archives in the path, or finders of others that know packages of their own."""
    return any(os.path.isfile(path) for path in sys.path) or any(
        hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path
    )


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _told(place: str) -> str:
    for file in TELLING:
        for line in _read(place, file).splitlines():
            if not line:
                break  # the end of the head
            key, _, value = line.partition(":")
            if key == "Version":
                return value.strip()
    return ""


def _entries(text: str, groups: Collection[str]) -> Iterator[tuple[str, str]]:
    group = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            group = stripped.strip("[] ")
        elif group in groups and "=" in stripped and not stripped.startswith(("#", ";")):
            yield group, stripped.partition("=")[0].strip()


def _read(place: str, file: str) -> str:
    try:
        with open(os.path.join(place, file) if file else place.rstrip("/"), "rb") as opened:
            return opened.read().decode("utf-8", "replace")
    except OSError:
        return ""
