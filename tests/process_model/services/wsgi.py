# SPDX-License-Identifier: Apache-2.0
"""A WSGI application: one piece of work a request, and TEST_LOAD of them when it is loaded.

`/busy` works and then stays busy for seconds; `/overwrite` takes uwsgi.atexit for itself; `/pid` tells who answers.
"""

import os
import sys
import time

import telemetry

if os.environ.get("TEST_LOAD"):
    telemetry.work(int(os.environ["TEST_LOAD"]))


def application(environ, start_response):
    telemetry.work(1)
    start_response("200 OK", [("content-type", "text/plain")])
    path = environ["PATH_INFO"]
    if path == "/busy":
        time.sleep(20)
    if path == "/overwrite":
        sys.modules["uwsgi"].atexit = lambda: telemetry.witness("mine")
    return [str(os.getpid()).encode()]
