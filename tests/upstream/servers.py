# SPDX-License-Identifier: Apache-2.0
"""The servers that some suites talk to: each side of a comparison gets its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.mariadb import mariadb
from tests.rabbitmq import serve
from tests.upstream.suites import Suite


@contextlib.contextmanager
def of(suite: Suite, directory: Path) -> Iterator[dict[str, dict[str, str]]]:
    """Give the environment variables that lead to the suite's server, by side."""
    with contextlib.ExitStack() as cleanup:
        yield {side: _variables(suite, directory / f"server-{side}", cleanup) for side in ("without", "with")}


def _variables(suite: Suite, directory: Path, cleanup: contextlib.ExitStack) -> dict[str, str]:
    if suite.server == "mariadb":
        directory.mkdir()
        server = cleanup.enter_context(mariadb(directory))
        server.execute("SET GLOBAL max_connections = 2000")  # the tests keep an engine for each of them
        return {"OS_TEST_DBAPI_ADMIN_CONNECTION": f"mysql+pymysql://root@127.0.0.1:{server.port}/"}
    if suite.server == "rabbitmq":
        broker = cleanup.enter_context(contextlib.contextmanager(serve)())
        return {"RPC_TRANSPORT_URL": broker.url, "NOTIFY_TRANSPORT_URL": broker.url}
    return {}
