# SPDX-License-Identifier: Apache-2.0
"""A registry file of a developer, read anew for each test; no request that other tests left in this thread."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from oslo_context import context

from otel_openstack.developer import blocks, names, problems

FILE = Path(__file__).parent / "telemetry.yaml"

names.add(str(FILE))  # as a package does when it is imported, before its modules decorate anything


@pytest.fixture(autouse=True)
def project(monkeypatch):
    monkeypatch.setattr(context, "_request_store", threading.local())
    names.forget()
    blocks.forget()
    problems.found.clear()
    names.add(str(FILE))
    yield
    names.forget()
    blocks.forget()
    problems.found.clear()
