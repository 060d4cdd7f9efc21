# SPDX-License-Identifier: Apache-2.0
"""RPC on the fake driver and on a real RabbitMQ, in this process, with the instrumentation applied."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from otel_openstack.testing import Telemetry, recording
from tests import rabbitmq
from tests.messaging.bus import Bus

MODULES = (
    "oslo_messaging_client",
    "oslo_messaging_server",
    "oslo_messaging_notify",
    "oslo_messaging_pool",
)

broker = pytest.fixture(scope="session")(rabbitmq.serve)


@pytest.fixture
def seen() -> Iterator[Telemetry]:
    """Telemetry with the messaging modules applied, at level basic."""
    with recording() as telemetry, telemetry.patched(*MODULES):
        yield telemetry


@pytest.fixture
def fake(seen: Telemetry) -> Iterator[Bus]:
    """A bus in memory."""
    with contextlib.closing(Bus("fake:/", f"t{uuid.uuid4().hex[:8]}")) as bus:
        yield bus


@pytest.fixture
def rabbit(seen: Telemetry, broker: rabbitmq.RabbitMQ) -> Iterator[Bus]:
    """A bus on RabbitMQ."""
    with contextlib.closing(Bus(broker.url, f"t{uuid.uuid4().hex[:8]}")) as bus:
        yield bus
