# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.mariadb import mariadb


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A MariaDB with the databases `nova` and `nova_cell0`."""
    with mariadb(tmp_path_factory.mktemp("mariadb")) as running:
        running.execute("CREATE DATABASE nova", "CREATE DATABASE nova_cell0")
        yield running
