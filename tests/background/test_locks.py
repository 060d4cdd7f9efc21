# SPDX-License-Identifier: Apache-2.0
"""Locks of oslo.concurrency: wait and hold, and everything that the library's own lock does."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_openstack.settings import Settings
from otel_openstack.testing import Telemetry, recording

WAIT, HOLD = "openstack.lock.wait.duration", "openstack.lock.hold.duration"


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Telemetry]:
    from oslo_concurrency import lockutils

    lockutils.set_defaults(str(tmp_path))
    with recording(Settings(strict=True, level="detailed")) as telemetry, telemetry.patched("oslo_concurrency"):
        yield telemetry


def locks() -> Any:
    from oslo_concurrency import lockutils

    return lockutils


@pytest.mark.parametrize("options", [{}, {"external": True}, {"fair": True}, {"blocking": False}])
def test_wait_and_hold(seen: Telemetry, options: dict[str, bool]) -> None:
    locks().ReaderWriterLock()  # the first one imports eventlet
    with locks().lock("compute_resources", **options):
        time.sleep(0.05)  # what is measured
    (wait,), (hold,) = seen.points(WAIT), seen.points(HOLD)
    assert wait.attributes == {
        "openstack.lock.name": "compute_resources",
        "openstack.lock.external": "external" in options,
    }
    assert hold.attributes == wait.attributes
    assert (wait.sum or 0) < 0.05 <= (hold.sum or 0)


def test_who_waits_is_told_apart_from_who_holds(seen: Telemetry) -> None:
    held, go = threading.Event(), threading.Event()

    @locks().synchronized("shared")
    def hold() -> None:
        held.set()
        assert go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    waiter = threading.Thread(target=locks().synchronized("shared")(lambda: None))
    waiter.start()
    time.sleep(0.2)  # what is measured
    go.set()
    holder.join(10)
    waiter.join(10)
    (wait,) = seen.points(WAIT)
    assert wait.count == 2
    assert (wait.max or 0) >= 0.15
    assert (wait.min or 0) < 0.1


def test_a_lock_that_is_not_got_is_not_held(seen: Telemetry) -> None:
    with locks().lock("one"), pytest.raises(locks().AcquireLockFailedException), locks().lock("one", blocking=False):
        raise AssertionError
    assert [point.count for point in seen.points(HOLD)] == [1]


def test_an_error_inside_passes_and_frees_the_lock(seen: Telemetry) -> None:
    with pytest.raises(ValueError, match="mine"), locks().lock("one"):
        raise ValueError("mine")
    with locks().lock("one", blocking=False):
        pass
    assert [point.count for point in seen.points(HOLD)] == [2]


def test_it_still_is_a_decorator_with_its_signature(seen: Telemetry) -> None:
    @locks().lock("decorating")
    def twice(value: int) -> int:
        return value * 2

    assert [twice(1), twice(2)] == [2, 4]
    assert [point.count for point in seen.points(HOLD)] == [2]
    assert "lock_file_prefix" in inspect.signature(locks().lock).parameters


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("compute_resources", "compute_resources"),
        ("refresh_cache-6f2fc1f0-8b5c-4a3b-9f3b-0d4e7c2a1b11", "refresh_cache-{id}"),
        ("6f2fc1f0-8b5c-4a3b-9f3b-0d4e7c2a1b11", "{id}"),
        ("vlan-4011", "vlan-{n}"),
        ("image_da39a3ee5e6b4b0d3255bfef95601890afd80709", "image_{id}"),
        ("sha-da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha-{id}"),
    ],
)
def test_names_hold_no_ids(name: str, shown: str) -> None:
    from otel_openstack.instrumentation.oslo_concurrency import lock_name

    assert lock_name(name) == shown


def test_at_level_basic_the_library_is_untouched(telemetry: Telemetry) -> None:
    before = locks().lock
    with telemetry.patched("oslo_concurrency"):
        assert locks().lock is before
