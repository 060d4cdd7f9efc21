# SPDX-License-Identifier: Apache-2.0
"""What stepped aside is said once: in the start-up line, or in a line of its own when it shows later."""

from __future__ import annotations

import logging

import pytest

from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import State

NAME = "the tracing of somebody"


def test_what_steps_aside_after_the_start_up_line_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_announced", False)
    caplog.set_level(logging.INFO)
    try:
        inventory.aside(NAME, "is done already")
        assert NAME in inventory.names(State.ASIDE)
        assert caplog.messages == []
        inventory.announced()
        inventory.aside(NAME, "is done already")
        assert caplog.messages == []
        inventory.aside(NAME, "for another reason")
        inventory.aside(NAME, "for another reason")
        assert caplog.messages == [f"otel-openstack: stepped aside: {NAME} (for another reason)"]
    finally:
        inventory.forget(NAME)
