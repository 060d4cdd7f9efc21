# SPDX-License-Identifier: Apache-2.0
"""Runs tests of an installed package and notes each outcome: runs in the venv of upstream's tests, with us or without.

    inside.py REQUEST

REQUEST is a JSON file: package, pattern (of files), green, output, left_out (prefixes of ids), done (ids not to run)
and modules (only those, or null for all). The output has a line of JSON when a test starts and one when it ends, and at
the end one that says what the distribution did.
"""

import collections
import faulthandler
import importlib
import json
import os
import pathlib
import sys
import time
import traceback
import unittest

import testscenarios

WITHIN = 60  # seconds for one test; then every thread's stack is printed and the process ends
TEXT = 4000  # characters of an error that are kept


def main():
    request = json.loads(pathlib.Path(sys.argv[1]).read_text())
    choose_threads(request["green"])
    keep_patches_on()
    with open(request["output"], "a") as output:
        result = Noting(output)
        for test in chosen(request):
            test.run(result)
        result.write(end=True, activity=activity())
    faulthandler.cancel_dump_traceback_later()


def choose_threads(green):
    """oslo.messaging's tests call monkey_patch themselves; it is the caller's choice here."""
    import eventlet

    if green:
        eventlet.monkey_patch()
    else:
        eventlet.monkey_patch = lambda **_modules: None


def keep_patches_on():
    """A patch whose hook fails five times switches itself off: these tests are to see it at work to the end."""
    guard = sys.modules.get("otel_openstack.patching.guard")
    if guard is not None:
        guard.LIMIT = sys.maxsize


def chosen(request):
    """The tests in the order of the loader; an id that occurs several times gets a number."""
    module = importlib.import_module(request["package"].partition(".")[0])
    top = pathlib.Path(module.__file__).parent.parent
    loader = unittest.TestLoader()
    start = top.joinpath(*request["package"].split("."))
    suite = loader.discover(str(start), request["pattern"], str(top))
    done, modules, left_out = set(request["done"]), request["modules"], tuple(request["left_out"])
    seen = collections.Counter()
    for test in testscenarios.generate_scenarios(flat(suite)):  # the id of each names its scenario
        seen[test.id()] += 1
        test.noted_id = test.id() if seen[test.id()] == 1 else f"{test.id()} #{seen[test.id()]}"
        if test.noted_id in done or test.id().startswith(left_out):
            continue
        if modules is None or type(test).__module__ in modules:
            yield test


def flat(suite):
    """oslo.db's suites are testresources', which run without them too: a resource is then made for each test."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


# ruff: noqa: N802 -- unittest's names


class Noting(unittest.TestResult):
    """Writes each outcome at once, so that what is known outlives a process that hangs."""

    def __init__(self, output):
        super().__init__()
        self.output = output
        self.outcome, self.error, self.began = "", "", 0.0

    def write(self, **entry):
        print(json.dumps(entry), file=self.output, flush=True)

    def startTest(self, test):
        faulthandler.dump_traceback_later(WITHIN, exit=True)
        self.outcome, self.error, self.began = "passed", "", time.perf_counter()
        self.write(start=test.noted_id)

    def stopTest(self, test):
        seconds = round(time.perf_counter() - self.began, 3)
        self.write(id=test.noted_id, outcome=self.outcome, seconds=seconds, error=self.error)

    def addSuccess(self, test, details=None):
        pass

    def addError(self, test, err=None, details=None):
        self.note("error", err, details)

    def addFailure(self, test, err=None, details=None):
        self.note("failed", err, details)

    def addUnexpectedSuccess(self, test, details=None):
        self.note("failed", None, details)

    def addSkip(self, test, reason=None, details=None):
        self.outcome = "skipped"

    def addExpectedFailure(self, test, err=None, details=None):
        pass

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.note("failed", err, None)

    def note(self, outcome, err, details):
        self.outcome = outcome
        if err is not None:
            self.error = "".join(traceback.format_exception(*err))[-TEXT:]
        elif details:
            self.error = "\n".join(content.as_text() for content in details.values())[-TEXT:]


def activity():
    """What the distribution says about itself: nothing if it is not there."""
    guard = sys.modules.get("otel_openstack.patching.guard")
    if guard is None:
        return None
    from otel_openstack import settings
    from otel_openstack.exporters import accounting
    from otel_openstack.patching import inventory

    return {
        "pid": os.getpid(),
        "level": settings.get().level,
        "strict": settings.get().strict,
        "patches": {entry.name: entry.state.value for entry in inventory.entries()},
        "failures": guard.failures(),
        "recorded": {signal: book.recorded for signal, book in accounting.ACCOUNTS.items()},
    }


if __name__ == "__main__":  # futurist's tests spawn processes, which import this again
    main()
