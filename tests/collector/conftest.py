# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import pytest

from tests.collector import peers


@pytest.fixture(scope="session", autouse=True)
def binary():
    if not shutil.which("go"):
        pytest.skip("the collector is built with Go 1.26 or later, and there is no `go` in PATH")
    return peers.binary()
