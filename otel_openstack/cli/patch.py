# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack patch check`: what becomes of each entry of a patch file, before a service is started with it."""

from __future__ import annotations

import argparse
import difflib
import os
import pwd

from otel_openstack import patch_files
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.terminal import clean
from otel_openstack.developer.parts import Part
from otel_openstack.levels import Level
from otel_openstack.patch_files import check, installed, services
from otel_openstack.patch_files.check import OK, Result
from otel_openstack.patch_files.model import Contents

WRONG = 1
_WIDTH = max(map(len, (check.OK, check.MISSING, check.UNFIT, check.BROKEN)))


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Read patch files and say of each entry whether what it names exists here and can be measured, by importing it "
        "in a process of its own. Nothing is started. The exit status is 0 if all is well, 1 if an entry is not, 2 if "
        "a file cannot be used at all. Run it with the Python of the service, and as its user or with --user."
    )
    parser.add_argument("action", choices=("check",), metavar="check")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help=f"a patch file, or a preset: {', '.join(patch_files.PRESETS)}"
    )
    parser.add_argument("--service", metavar="NAME", help="import first what this service imports")
    parser.add_argument("--user", metavar="NAME", help="who runs the service: nobody else but root may write the files")


def run(options: argparse.Namespace) -> int:
    loads = _loads(options.service)
    user = _user(options.user)
    status = 0
    for name in options.files:
        contents = _read(name, user)
        print(clean(contents.file))
        for problem in contents.problems:
            print(f"  {'wrong':{_WIDTH}}  {_short(contents, problem)}")
        results = list(check.results(contents, loads, options.service or "", user))
        for result in results:
            for line in _lines(contents, result):
                print(line)
        for note in contents.notes:
            print(f"  {'note':{_WIDTH}}  {_short(contents, note)}")
        print(_sum(contents, results))
        unusable = contents.problems and not contents.wanted
        bad = contents.problems or any(result.state != OK or result.faults for result in results)
        status = max(status, 2 if unusable else WRONG if bad else 0)
    return status


def _read(name: str, user: int | None) -> Contents:
    if name in patch_files.PRESETS and not os.path.exists(name):
        return patch_files.preset(name)
    return patch_files.read(os.path.abspath(name), user)


def _short(contents: Contents, text: str) -> str:
    """Return what is said of a file whose name stands above already."""
    return clean(text.removeprefix(f"{contents.file}:").strip())


def _lines(contents: Contents, result: Result) -> list[str]:
    line = result.place.removeprefix(f"{contents.file}:")
    state = OK if result.state == OK and not result.faults else "wrong" if result.state == OK else result.state
    reason = f": {clean(result.reason)}" if result.reason else ""
    measured = f"  {_measured(contents, result)}" if result.state == OK else ""
    lines = [f"  {state:{_WIDTH}}  {line}: {clean(result.target)}{reason}{measured}"]
    lines += [f"  {'':{_WIDTH}}    {clean(text)}" for text in (*result.faults, *result.notes)]
    return lines


def _measured(contents: Contents, result: Result) -> str:
    """Return what is measured of an entry: `timed a, traced b`."""
    wanted = next(one for one in contents.wanted if str(one.place) == result.place and one.target == result.target)
    return ", ".join(f"{part.kind} {part.name}{_from(part)}" for part in wanted.parts if part.phases)


def _from(part: Part) -> str:
    level = installed.level(part)
    return "" if level is Level.BASIC else f" at level {level.name.lower()}"


def _sum(contents: Contents, results: list[Result]) -> str:
    good = sum(result.state == OK and not result.faults for result in results)
    wrong = len(results) - good + len(contents.problems)
    return f"  {good} of {len(results)} can be measured" + (f", {wrong} to look at" if wrong else "")


def _loads(service: str | None) -> tuple[str, ...]:
    if service is None:
        return ()
    found = services.modules(service)
    if not found:
        near = difflib.get_close_matches(service, services.names(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(services.MODULES)}"
        raise CommandError(f"no service {clean(service)} here; {hint}")
    return found


def _user(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise CommandError(f"no user {clean(name)} here") from None
