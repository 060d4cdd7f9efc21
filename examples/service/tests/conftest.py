# SPDX-License-Identifier: Apache-2.0
"""The service in this process: its database in a directory of the test, its messages in memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import backups  # noqa: F401 (chooses native threads, before oslo.messaging imports oslo.service)
import oslo_messaging
import pytest
from backups import api, config, db, rpc
from backups.context import Context
from backups.worker import Worker


@pytest.fixture(scope="session")
def configured(tmp_path_factory):
    """Options as a process reads them, once; returns the transport."""
    place = tmp_path_factory.mktemp("state")
    text = (Path(__file__).parent.parent / "backups.conf").read_text()
    (place / "backups.conf").write_text(text.replace("state_path = .", f"state_path = {place}"))
    config.read(["--config-file", str(place / "backups.conf")])
    db.prepare()
    return oslo_messaging.get_rpc_transport(config.CONF)


@pytest.fixture
def worker(configured):
    """The worker, without RPC before it."""
    with contextlib.closing(Worker()) as made:
        yield made


@pytest.fixture
def context():
    """The request context of a project."""
    return Context(user_id="u1", project_id="blue")


@pytest.fixture
def client(configured, worker):
    """A client of the API, whose worker is called by RPC."""
    server = rpc.server(configured, worker)
    server.start()
    yield api.application(rpc.Worker(configured))
    server.stop()
    server.wait()
