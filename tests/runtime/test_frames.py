# SPDX-License-Identifier: Apache-2.0
"""A request's frames lie in one piece: no call in it makes the interpreter ask the system for memory over and over."""

from __future__ import annotations

import resource
import sys
import threading
from wsgiref.util import setup_testing_defaults

import pytest

from otel_openstack.instrumentation.wsgi import at_edge
from otel_openstack.runtime.frames import roomy

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="frames lay in chunks since Python 3.11")

CALLS, DEPTHS = 300, 400


def called():
    """A frame beyond the border of a chunk, where its caller is the last before it."""


called.__code__ = called.__code__.replace(co_stacksize=64)  # larger than those that lie before: some depth must fit


def faults(depth):
    """Page faults of a loop of calls that many frames deep."""
    if depth:
        return faults(depth - 1)
    called()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(CALLS):
        called()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def worst():
    return max(map(faults, range(DEPTHS)))


def in_a_thread(function):
    """With a stack of its own, however deep pytest is."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def answer(environ, start_response):
    start_response("200 OK", [])
    return [str(worst()).encode()]


def through(application):
    environ = {}
    setup_testing_defaults(environ)
    body = application(environ, lambda *_: None)
    found = int(b"".join(body))
    body.close()
    return found


def test_without_room_some_loop_of_calls_lies_on_a_border():
    assert in_a_thread(worst) >= CALLS


def test_with_room_none_does():
    @roomy
    def room():
        return worst()

    assert in_a_thread(room) < CALLS / 10


def test_a_request_has_room_also_where_one_application_is_in_another():
    def outermost(environ, start_response):
        return inner(environ, start_response)

    inner = at_edge(answer)
    for outer in (inner, at_edge(outermost)):
        assert in_a_thread(lambda application=outer: through(application)) < CALLS / 10
