# SPDX-License-Identifier: Apache-2.0
"""A stub of keystone's HTTP API: it gives tokens, validates those it is told of, and has a catalog."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOUR = dt.timedelta(hours=1)


def token(roles: tuple[str, ...], catalog: list[Any], *, expired: bool = False) -> dict[str, Any]:
    end = dt.datetime.now(dt.timezone.utc) + (-HOUR if expired else HOUR)
    domain = {"id": "default", "name": "Default"}
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": "u" * 32, "name": "someone", "domain": domain},
            "project": {"id": "p" * 32, "name": "project", "domain": domain},
            "roles": [{"id": role, "name": role} for role in roles],
            "issued_at": "2024-01-01T00:00:00.000000Z",
            "expires_at": end.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "catalog": catalog,
        }
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Keystone

    def do_GET(self) -> None:
        self._note()
        path = self.path.partition("?")[0]
        if path != "/v3/auth/tokens":
            url = self.server.url
            version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{url}/v3"}]}
            self._answer(200, {"version": version} if path.startswith("/v3") else {"versions": {"values": [version]}})
            return
        roles = self.server.tokens.get(self.headers.get("X-Subject-Token", ""))
        if roles is None:
            self._answer(404, {"error": {"code": 404, "title": "Not Found", "message": "no such token"}})
        else:
            expired = self.headers["X-Subject-Token"] in self.server.expired
            self._answer(200, token(roles, self.server.catalog, expired=expired))

    def do_POST(self) -> None:
        self._note()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(201, token(("service",), self.server.catalog), {"X-Subject-Token": "own-token"})

    def _note(self) -> None:
        sent = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((f"{self.command} {self.path.partition('?')[0]}", sent))

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class Keystone(ThreadingHTTPServer):
    """Runs in this process.

    tokens: those that are known, with their roles.
    expired: those that no longer count.
    seen: (request, headers) of all that came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = int(self.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.expired: set[str] = set()
        self.catalog: list[Any] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.offer("identity", self.url)

    def offer(self, kind: str, url: str) -> None:
        """Put a service into the catalog."""
        made = [{"id": f, "interface": f, "region": "r", "region_id": "r", "url": url} for f in ("public", "internal")]
        self.catalog.append({"id": kind, "type": kind, "name": kind, "endpoints": made})


@contextmanager
def running() -> Iterator[Keystone]:
    made = Keystone()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join(10)
        made.server_close()
