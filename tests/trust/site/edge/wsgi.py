# SPDX-License-Identifier: Apache-2.0
"""Answers with the baggage that it sees; as a script it serves itself: name of the server, port or path of a socket."""

from __future__ import annotations

import json
import signal
import socket
import sys
from typing import Any


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    from opentelemetry import baggage

    body = json.dumps(dict(baggage.get_all())).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def eventlet_server(place: str) -> None:
    import eventlet

    eventlet.monkey_patch()
    from eventlet import wsgi

    port = ("127.0.0.1", int(place)) if place.isdigit() else None
    wsgi.server(eventlet.listen(port) if port else eventlet.listen(place, socket.AF_UNIX), application)


def cheroot_server(place: str) -> None:
    from cheroot.wsgi import Server

    Server(("127.0.0.1", int(place)) if place.isdigit() else place, application).start()


def werkzeug_server(place: str) -> None:
    from werkzeug.serving import make_server

    host, port = ("127.0.0.1", int(place)) if place.isdigit() else (f"unix://{place}", 0)
    make_server(host, port, application, threaded=True).serve_forever()


def leave(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    globals()[f"{sys.argv[1]}_server"](sys.argv[2])
