# SPDX-License-Identifier: Apache-2.0
"""An application of no framework, in a module whose name says nothing."""


def serve(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
