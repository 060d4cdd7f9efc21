# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack page`: traces and metrics of a recording as one HTML page."""

from __future__ import annotations

import argparse
import os
import stat
import tempfile
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from otel_openstack.analysis.metrics import Metrics
from otel_openstack.analysis.page import MARK, Page
from otel_openstack.analysis.spans import Index
from otel_openstack.cli.main import CommandError
from otel_openstack.cli.reading import add_path, nothing, open_recording, requests, tell_problems
from otel_openstack.cli.terminal import clean

MOST_SPANS = 200_000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one HTML page with all traces (a waterfall that folds and can be searched) and all metrics (tables and "
        "charts). It needs no server and no network. It shows what was recorded, names and addresses among it: hand it "
        "on as you would the files."
    )
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="where to write it")
    parser.add_argument(
        "--force", action="store_true", help="overwrite FILE even if it is not a page of otel-openstack"
    )
    parser.add_argument(
        "--max-spans", metavar="N", type=int, default=MOST_SPANS,
        help="leave out the oldest traces beyond N spans, background work first (default: %(default)s)",
    )  # fmt: skip
    add_path(parser)


def run(options: argparse.Namespace) -> int:
    output: Path = options.output
    _check_output(output, force=options.force)
    recording = open_recording(options.path)
    index, found = Index(recording), Metrics()
    for request in requests(recording):
        index.add(request)
        found.add(request)
    if not index.traces and not found.by_key:
        raise nothing(recording, "spans or metrics")
    tell_problems(recording)
    page = Page(str(options.path), f"written {datetime.now(tz=timezone.utc):%Y-%m-%d %H:%M} UTC")
    page.add_traces(index, options.max_spans)
    page.add_metrics(found)
    write_page(output, page.html())
    print(f"{clean(output)}: {len(index.traces)} traces, {len(found.by_key)} metrics")
    return 0


def _check_output(output: Path, *, force: bool) -> None:
    """Raise CommandError before the work if the page could not be put there, or would replace something else."""
    try:
        mode = output.stat().st_mode
        if not stat.S_ISREG(mode):
            raise CommandError(f"{output} is no regular file: give another -o FILE")
        with output.open("rb") as stream:
            ours = stream.read(len(MARK)) in {MARK.encode(), b""}
        if not ours and not force:
            raise CommandError(
                f"{output} is not a page of otel-openstack: give another -o FILE, or --force to overwrite it"
            )
    except FileNotFoundError:
        if not output.parent.is_dir():
            raise CommandError(f"{output.parent} is not a directory: create it, or give another -o FILE") from None
    except (OSError, ValueError) as error:
        raise CommandError(_cannot(output, error)) from error


def write_page(output: Path, pieces: Iterable[str]) -> None:
    """Put the page at `output` at once and whole. Raise CommandError, with what was there left as it was."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
            mask = os.umask(0o077)
            os.umask(mask)
            os.fchmod(stream.fileno(), 0o640 & ~mask)
        Path(temporary).replace(output)
        temporary = None
    except (OSError, ValueError) as error:
        raise CommandError(_cannot(output, error)) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink()


def _cannot(output: Path, error: Exception) -> str:
    return f"cannot write {output} ({getattr(error, 'strerror', None) or error}): give another -o FILE"
