# SPDX-License-Identifier: Apache-2.0
"""python examples/minicloud COMMAND: a real, minimal OpenStack on this machine, under the distribution.

The caller needs nothing but Python; the cloud gets a venv of its own.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cases
import commands
from layout import PROJECT, Cloud, Options
from progress import Failed, warn

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    arguments = _parser().parse_args()
    options = Options(
        concurrency=arguments.concurrency, instrumented=not arguments.bare, case=cases.BY_NAME[arguments.case]
    )
    cloud = Cloud(arguments.dir, arguments.venv, options)
    try:
        commands.COMMANDS[arguments.command](cloud, arguments)
    except Failed as error:
        warn(f"minicloud: {error}")
        return 1
    except KeyboardInterrupt:
        warn("minicloud: interrupted")
        return 130
    return 0


def _interrupted(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="minicloud", description=__doc__)
    parser.add_argument(
        "command",
        choices=commands.COMMANDS,
        help="; ".join(
            f"{name}: {(function.__doc__ or '').splitlines()[0]}" for name, function in commands.COMMANDS.items()
        ),
    )
    parser.add_argument("--dir", type=Path, default=PROJECT / ".demo", help="where the cloud lives (default: .demo)")
    parser.add_argument("--venv", type=Path, help="an existing venv to use (default: DIR/venv, installed if missing)")
    parser.add_argument(
        "--concurrency", choices=("threading", "eventlet"), default="threading", help="of nova's daemons"
    )
    parser.add_argument("--servers", type=int, default=1, help="servers to create at once")
    parser.add_argument(
        "--case", choices=cases.BY_NAME, default="plain", help="other tools that measure too (cases.py; default: none)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of soak: how long each variant may take")
    parser.add_argument("--variants", default="bare,up,blackhole", help="of soak: which, in which order")
    parser.add_argument("--bare", action="store_true", help="without the distribution")
    parser.add_argument(
        "--observe", action="store_true", help="of demo: through the collector to statsd, Prometheus, Jaeger and files"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of compare: how often each of bare and ours is run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
