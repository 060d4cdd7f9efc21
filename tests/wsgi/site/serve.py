# SPDX-License-Identifier: Apache-2.0
"""Serves the demo with a server written in Python: name of the server, port. Its own log goes to stderr."""

from __future__ import annotations

import signal
import socketserver
import sys
from typing import Any


def eventlet_server(port: int) -> None:
    import eventlet

    eventlet.monkey_patch()
    from demo.wsgi import api
    from eventlet import wsgi

    wsgi.server(eventlet.listen(("127.0.0.1", port)), api.application, socket_timeout=5)


def wsgiref_server(port: int) -> None:
    from wsgiref.simple_server import WSGIServer, make_server

    from demo.wsgi import api

    class Threaded(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

    make_server("127.0.0.1", port, api.application, server_class=Threaded).serve_forever()


def werkzeug_server(port: int) -> None:
    from demo.wsgi import api
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, api.application, threaded=True)


def cheroot_server(port: int) -> None:
    from cheroot.wsgi import Server
    from demo.wsgi import api

    def logged(environ: dict[str, Any], start_response: Any) -> Any:  # cheroot has no access log of its own
        sys.stderr.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} HTTP/1.1\n")
        return api.application(environ, start_response)

    server = Server(("127.0.0.1", port), logged)
    try:
        server.start()
    finally:
        server.stop()


def leave(*_: object) -> None:
    sys.exit(0)


signal.signal(signal.SIGTERM, leave)
# A shell that starts tests in the background has interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
globals()[f"{sys.argv[1]}_server"](int(sys.argv[2]))
