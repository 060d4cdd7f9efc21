# SPDX-License-Identifier: Apache-2.0
"""The suites of upstream that are run, and what is known to differ. The wheels carry the same tests as the sdists."""

from __future__ import annotations

from typing import NamedTuple


class Suite(NamedTuple):
    """Tests of one library, in one concurrency mode.

    `proof` are prefixes of patches that must have been active. `server` is what its tests talk to, if anything.
    """

    name: str
    package: str
    proof: tuple[str, ...]
    green: bool = False  # eventlet.monkey_patch() before everything
    pattern: str = "test*.py"
    server: str = ""  # mariadb, rabbitmq
    quick: bool = False  # part of CI
    left_out: tuple[str, ...] = ()  # prefixes of tests that hang without us as well
    # Nothing of ours gets to record: its tests replace everything below it, or use pools only, which are read.
    silent: bool = False


SUITES: tuple[Suite, ...] = (
    Suite("futurist", "futurist.tests", ("futurist.",)),
    Suite("futurist executors", "futurist.tests", ("futurist.",), pattern="test_executors.py", quick=True, silent=True),
    Suite("futurist green", "futurist.tests", ("futurist.", "eventlet."), green=True),
    Suite("oslo.middleware", "oslo_middleware.tests", ("oslo_middleware.", "wsgi."), quick=True),
    Suite("oslo.middleware green", "oslo_middleware.tests", ("oslo_middleware.", "eventlet."), green=True, quick=True),
    Suite("keystonemiddleware", "keystonemiddleware.tests.unit", ("http_client.", "memcache."),
          quick=True, silent=True),
    Suite("keystonemiddleware green", "keystonemiddleware.tests.unit", ("http_client.", "memcache.", "eventlet."),
          green=True, silent=True),
    Suite("oslo.db", "oslo_db.tests", ("oslo_db.", "sqlalchemy."), quick=True),
    # asyncio does not work in a monkey-patched process.
    Suite("oslo.db green", "oslo_db.tests", ("oslo_db.", "sqlalchemy.", "eventlet."), green=True,
          left_out=("oslo_db.tests.sqlalchemy.test_asyncio_facade.AsyncioFacadeTest.",)),
    Suite("oslo.db with MariaDB", "oslo_db.tests", ("oslo_db.", "sqlalchemy."), server="mariadb"),
    # Upstream's own tests monkey patch. With native threads that call is taken away, and what waits in green threads.
    Suite("oslo.messaging", "oslo_messaging.tests", ("oslo_messaging.",),
          left_out=("oslo_messaging.tests.notify.test_listener.", "oslo_messaging.tests.rpc.test_server.")),
    Suite("oslo.messaging green", "oslo_messaging.tests", ("oslo_messaging.", "eventlet."), green=True),
    Suite("oslo.messaging RPC", "oslo_messaging.tests.rpc", ("oslo_messaging.", "eventlet."), green=True,
          pattern="test_[cs]*.py", quick=True),
    Suite("oslo.messaging with RabbitMQ", "oslo_messaging.tests.functional", ("oslo_messaging.", "eventlet."),
          green=True, server="rabbitmq"),
)  # fmt: skip
BY_NAME = {suite.name: suite for suite in SUITES}

# Tests that cannot pass with us by their nature, with the reason; the aim is none.
KNOWN: dict[str, str] = {}
