# SPDX-License-Identifier: Apache-2.0
"""What becomes of the entries of a patch file, found out by importing what they name; in a process of its own.

    python -m otel_openstack.patch_files.check    request (JSON) on standard input, a line of JSON an entry on the last
                                                  descriptor of its arguments

`results` starts that process: whatever a module does when it is imported (patch the standard library, start threads,
end the interpreter) stays there. Nothing is called, so no service starts.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from otel_openstack import settings
from otel_openstack.developer import expressions, signatures
from otel_openstack.patch_files import installed, services, targets
from otel_openstack.patch_files.installed import FilePatch
from otel_openstack.patch_files.model import Contents, attribute, modules
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import inheritance

WITHIN = 120.0  # seconds without a word
FREE = (expressions.RESULT, expressions.CONTEXT)
OK, MISSING, UNFIT, BROKEN = "ok", "missing", "not patchable", "cannot be imported"


class Result(NamedTuple):
    """What becomes of one entry.

    state: one of the above.
    reason: why it is not ok.
    faults: what is wrong with an entry that is applied all the same, such as an attribute that no parameter gives.
    notes: what is not reached, and when it is imported.
    """

    place: str
    target: str
    state: str
    reason: str = ""
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def results(
    contents: Contents, loads: tuple[str, ...] = (), service: str = "", user: int | None = None
) -> Iterator[Result]:
    """Yield what becomes of each entry of a file, in its order.

    Args:
        contents: the file, as it was read.
        loads: modules that `service` imports, to be imported first.
        service: whose; told in the notes.
        user: who runs it, as a number.
    """
    begin = 0
    while begin < len(contents.wanted):
        request = {"file": contents.file, "begin": begin, "loads": loads, "service": service, "user": user}
        for result in _asked(request):
            yield result
            begin += 1
        if begin < len(contents.wanted):  # importing it has ended the process, or did not end
            wanted = contents.wanted[begin]
            yield Result(str(wanted.place), wanted.target, BROKEN, "its import ends the interpreter, or does not end")
            begin += 1
            loads = ()


def _asked(request: dict[str, Any]) -> Iterator[Result]:
    reading, writing = os.pipe()
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(writing)]
    quiet = subprocess.DEVNULL
    with (
        os.fdopen(reading, "rb") as lines,
        subprocess.Popen(  # noqa: S603 (ourselves)
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=_environment(), pass_fds=(writing,)
        ) as child,
    ):
        os.close(writing)
        try:
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(json.dumps(request).encode())
                    child.stdin.close()
            for line in _within(lines.fileno()):
                yield _result_of(json.loads(line))
        finally:
            child.kill()


def _result_of(told: dict[str, Any]) -> Result:
    return Result(**told)._replace(faults=tuple(told["faults"]), notes=tuple(told["notes"]))


def _within(descriptor: int) -> Iterator[bytes]:
    """Yield lines until there are no more, or none has come for too long."""
    rest = b""
    while select.select([descriptor], [], [], WITHIN)[0]:
        data = os.read(descriptor, 65536)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from whole


def _environment() -> dict[str, str]:
    """Return an environment in which nothing measures; what the operator says of registries is kept."""
    environ = dict(os.environ)
    kept = {key: value for key, value in environ.items() if key == f"{settings.PREFIX}REGISTRY_FILES"}
    inheritance.apply(inheritance.changes(environ, environ), environ)
    return {key: value for key, value in environ.items() if not key.startswith(inheritance.PREFIX)} | kept


# In the process of its own.


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # the working directory, in which no service looks for modules
    settings.use(settings.Settings(level="deep", registry_files=settings.get().registry_files))
    from otel_openstack.patch_files import files

    name = os.path.basename(request["file"]).removesuffix(".yaml")
    inside = os.path.dirname(request["file"]) == files.DIRECTORY
    contents = files.preset(name) if inside else files.read(request["file"], request["user"])
    with open(int(sys.argv[-1]), "w", encoding="utf-8") as out:
        for result in _checked(contents, request["begin"], request["loads"], request["service"]):
            out.write(json.dumps(result._asdict()) + "\n")
            out.flush()
    os._exit(0)  # whatever threads the modules have started


def _checked(contents: Contents, begin: int, loads: list[str], service: str) -> Iterator[Result]:
    patches = installed.patches(contents)[begin:]
    for patch in patches:
        patch.install()
    failed = [reason for package in _packages(patches) if (reason := _register_objects(package))]
    failed += [reason for module in loads if (reason := _import(module))]
    loaded = {patch for patch in patches if patch.state is not State.WAITING}
    for patch in patches:
        broken = _import_for(patch)
        result = _result(patch, broken)
        notes = [*_reach(patch), *_when(service, patch in loaded, failed)] if result.state == OK else []
        yield result._replace(faults=(*_load(patch), *_unnamed(patch)), notes=tuple(notes))


def _unnamed(patch: FilePatch) -> list[str]:
    """Return the expressions that begin with no parameter of what they are for."""
    if patch.found is None:
        return []
    function = targets.function_of(patch.found.original)
    parameters = signatures.of(function)
    named = [(f"attributes.{key}", text) for part in patch.wanted.parts for key, text in part.attributes.items()]
    named += [("number", part.number) for part in patch.wanted.parts if part.number is not None]
    return [
        f"{key}: {text}: {getattr(function, '__qualname__', function)} has no parameter {root}"
        for key, text in dict.fromkeys(named)
        if (root := expressions.parse(text).root) not in FREE and parameters.source(root) is None
    ]


def _load(patch: FilePatch) -> list[str]:
    """Load what an entry loads at its first call; returns what that raised."""
    try:
        if patch.wanted.load is not None:
            patch.wanted.load()
    except BaseException as error:
        return [f"its app helper cannot be used: {type(error).__name__}: {error}"]
    return []


def _import(module: str) -> str:
    """Import a module; returns what it raised."""
    try:
        importlib.import_module(module)
    except BaseException as error:
        return f"{module}: {type(error).__name__}: {error}"
    return ""


def _packages(patches: list[FilePatch]) -> list[str]:
    return list(dict.fromkeys(modules(patch.wanted.target)[-1].partition(".")[0] for patch in patches))


def _register_objects(package: str) -> str:
    """Do what scripts do before they import a service's modules; returns what it raised."""
    home = services.OBJECTS.get(package)
    if home is None or importlib.util.find_spec(package) is None:
        return ""
    try:
        importlib.import_module(home).register_all()
    except BaseException as error:
        return f"{home}: {type(error).__name__}: {error}"
    return ""


def _import_for(patch: FilePatch) -> str:
    """Import what a target may be in, from the outermost on, until it is found; returns what one raised."""
    for module in reversed(modules(patch.wanted.target)):
        if patch.state is not State.WAITING:
            return ""
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            return "" if error.name == module else f"{module}: {error}"
        except BaseException as error:
            return f"{module}: {type(error).__name__}: {error}"
    return ""


def _result(patch: FilePatch, broken: str) -> Result:
    place, target = str(patch.wanted.place), patch.wanted.target
    if patch.state is State.ACTIVE:
        return Result(place, target, OK)
    if patch.state is State.FAILED:
        return Result(place, target, UNFIT, patch.reason)
    if patch.state is State.SKIPPED:
        return Result(place, target, MISSING if patch.missing else UNFIT, patch.reason)
    if broken:
        return Result(place, target, BROKEN, broken)
    return Result(place, target, MISSING, _nowhere(target))


def _nowhere(target: str) -> str:
    """Return what of a target's modules there is, and what is near the rest."""
    for module in modules(target):
        found = sys.modules.get(module)
        if found is not None:
            try:
                targets.find(found, attribute(target, module))
            except (targets.MissingError, targets.UnfitError) as error:
                return str(error)
    top = target.replace(":", ".").partition(".")[0]
    return f"there is no module {top} here: run this with the Python that the service runs with"


def _reach(patch: FilePatch) -> list[str]:
    """Return what a patch does not reach of what it names."""
    assert patch.found is not None  # noqa: S101 (it is active)
    notes = [f"not reached: {name}, a method of its own" for name in targets.in_the_way(patch.found)]
    owner, name, original, _ = patch.found
    if not isinstance(owner, ModuleType):
        return notes
    home = getattr(original, "__module__", None)
    if isinstance(original, FunctionType) and home != owner.__name__:
        notes.append(f"reached only as {owner.__name__}.{name}: it is defined in {home}")
    for module, copy in _copies(original):
        notes.append(f"not reached: {module}.{copy}, imported before it was patched")
    return notes


def _copies(original: Any) -> list[tuple[str, str]]:
    """Return where modules hold the original under a name of their own."""
    found = []
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module.__name__ != getattr(original, "__module__", None):
            found += [(module.__name__, key) for key, value in list(vars(module).items()) if value is original]
    return sorted(found)


def _when(service: str, loaded: bool, failed: list[str]) -> list[str]:
    if not service or loaded:
        return []
    why = f" (of which could not be imported: {'; '.join(failed)})" if failed else ""
    return [f"{service} does not import it when it starts{why}: nothing is measured before something does"]


if __name__ == "__main__":
    sys.exit(main())
