# SPDX-License-Identifier: Apache-2.0
"""What the reading commands share: opening a recording, telling what was skipped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from otel_openstack.analysis.otlp import ReadingError, Recording, Request, size_of
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.terminal import clean

_MOST_WARNINGS = 20
_LARGE = 16 * 1024 * 1024


def add_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="file or directory of OTLP JSON lines (*.jsonl, rotated too)"
    )


def open_recording(path: Path) -> Recording:
    """Raise CommandError if there is nothing to read."""
    try:
        return Recording(path)
    except ReadingError as error:
        raise CommandError(str(error)) from error


def requests(recording: Recording) -> Iterator[Request]:
    """Yield the requests, telling on a terminal how far it is with a large recording."""
    size = recording.size
    told = size > _LARGE and sys.stderr.isatty()
    before = [0, *accumulate(map(size_of, recording.files))]
    shown = -1
    for request in recording.requests():
        share = 100 * (before[request.place.file] + request.place.offset) // size if told else shown
        if share != shown:
            shown = share
            print(f"\rreading {clean(recording.path)}: {min(share, 99)} %", end="", file=sys.stderr, flush=True)
        yield request
    if told:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def tell_problems(recording: Recording) -> None:
    """Say on stderr, a line a file and reason, what was skipped."""
    problems = recording.problems
    for problem in problems[:_MOST_WARNINGS]:
        print(f"otel-openstack: {clean(problem)}", file=sys.stderr)
    if len(problems) > _MOST_WARNINGS:
        print(f"otel-openstack: {len(problems) - _MOST_WARNINGS} more problems in other files", file=sys.stderr)


def nothing(recording: Recording, what: str) -> CommandError:
    """Return the error for a recording without what was asked for."""
    if recording.problems:
        return CommandError(f"no {what} could be read in {recording.path}: {recording.problems[0]}")
    files = f"{len(recording.files)} files read" if len(recording.files) > 1 else "1 file read"
    return CommandError(f"no {what} in {recording.path} ({files}): give the directory that the file exporter writes to")
