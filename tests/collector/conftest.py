# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.collector import peers


@pytest.fixture(scope="session", autouse=True)
def binary():
    return peers.binary()
