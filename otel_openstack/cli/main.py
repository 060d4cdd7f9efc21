# SPDX-License-Identifier: Apache-2.0
"""Entry point: finds the command, turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import codecs
import difflib
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

COMMANDS = {
    "demo": "run a small service under the distribution and show what it tells: no cloud is needed",
    "trace": "show a recorded trace as a tree",
    "metrics": "show a table of recorded metrics per service",
    "series": "say how many series a choice of dimensions (projects on metrics) makes",
    "page": "write one HTML page with traces and metrics",
    "patch": "check patch files: does what they name exist, and can it be measured?",
}
"""A command is the module of its name in this package, with `configure(parser)` and `run(arguments) -> exit status`."""

ERROR = 2
_ALIKE = {"µ": "u", "…": "~"}


class CommandError(Exception):
    """Cannot do what was asked. The message is one line and says what to do instead."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with a suggestion where a word is misspelt."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {_one_line(message)}{self._suggestion(message)}; see {self.prog} --help", file=sys.stderr)
        sys.exit(ERROR)

    def _suggestion(self, message: str) -> str:
        words = message.replace("'", " ").replace("=", " ").split()
        known = [*self._option_string_actions, *(COMMANDS if self._subparsers else ())]
        for word in words if "unrecognized" in message or "invalid choice" in message else ():
            close = [] if word in known else difflib.get_close_matches(word, known, n=1)
            if close:
                return f" (did you mean {close[0]}?)"
        return ""


class _Command(_Parser):
    """The arguments of one command: what it does not know it says itself, with its own options at hand."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, or 2 after an error that stands on stderr in one line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _take_any_text()
        options, run = _parse(words)
        status = run(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"otel-openstack: {_one_line(str(error))}", file=sys.stderr)
        return ERROR
    except BrokenPipeError:  # `| head`: nobody reads on, and the interpreter must not complain about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status


def _parse(words: list[str]) -> tuple[argparse.Namespace, Callable[[argparse.Namespace], int]]:
    parser = _Parser(prog="otel-openstack", description="Reads what OpenStack services recorded of themselves.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Command)
    chosen = next((word for word in words if word in COMMANDS), None)
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, allow_abbrev=False)
        if name == chosen:
            module = importlib.import_module(f"otel_openstack.cli.{name}")
            module.configure(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(words)
    return options, options.run


def _take_any_text() -> None:
    """Where the output has no Unicode, print the like of it instead of failing."""
    codecs.register_error("otel_openstack_alike", _alike)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="otel_openstack_alike")


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_ALIKE.get(char) or char.encode("unicode_escape").decode() for char in text), error.end


def _one_line(message: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in message)
