# SPDX-License-Identifier: Apache-2.0
"""Instruments that only these tests have, and a clean slate for each."""

from __future__ import annotations

import weakref

import pytest

from otel_openstack import metrics, settings
from otel_openstack.metrics import catalog, instruments
from otel_openstack.semconv import instruments as registry
from otel_openstack.semconv.model import Instrument as Model

BOUNDS = (0.005, 0.01, 0.1, 1.0, 10.0)
MODELS = (
    Model(
        "test.duration", "histogram", "s", "How long.", ("a", "b", "error.type"), "basic", BOUNDS, False, 2000, "stable"
    ),
    Model("test.calls", "counter", "{call}", "How often.", ("a", "b"), "basic", None, False, 2000, "stable"),
    Model("test.active", "updowncounter", "{call}", "How many.", ("a", "b"), "basic", None, False, 2000, "stable"),
    Model("test.level", "gauge", "1", "How full.", ("a", "b"), "basic", None, False, 2000, "stable"),
    Model("test.small", "counter", "1", "Few series.", ("a", "error.type"), "basic", None, False, 50, "stable"),
    Model("test.deep", "histogram", "s", "Rarely.", ("a",), "deep", BOUNDS, False, 2000, "stable"),
    Model(
        "test.asked", "counter", "1", "For whom.", ("a",), "basic", None, False, 4000, "stable",
        ("openstack.project_id", "openstack.domain_id"),
    ),
    Model(
        "test.crowded", "counter", "1", "For many.", ("a",), "basic", None, False, 40, "stable",
        ("openstack.project_id",),
    ),
    Model("test.seen", "counter", "1", "Observed.", ("a",), "basic", None, True, 50, "stable"),
    Model("test.used", "updowncounter", "1", "Observed.", ("a",), "basic", None, True, 50, "stable"),
    Model("test.heat", "gauge", "1", "Observed.", ("a",), "basic", None, True, 50, "stable"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Add the models to the registry, and forget every instrument afterwards."""
    for model in MODELS:
        monkeypatch.setitem(registry.INSTRUMENTS, model.name, model)
    monkeypatch.setattr(catalog, "_instruments", {})
    monkeypatch.setattr(catalog, "_adopters", weakref.WeakKeyDictionary())
    monkeypatch.setattr(instruments._budget, "held", 0)
    settings.use(None)
    metrics.reset()
    yield
    settings.use(None)


@pytest.fixture(params=[True, False], ids=["gil", "sharded"])
def either_way(request, monkeypatch):
    """Run as on an interpreter with the GIL, and as on one without."""
    monkeypatch.setattr(instruments.Instrument.__init__, "__kwdefaults__", {"gil": request.param})
    return request.param
