# SPDX-License-Identifier: Apache-2.0
"""nova's scatter-gather over cells, which nova itself is not needed for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from otel_openstack import tracing
from otel_openstack.settings import Settings
from otel_openstack.testing import Telemetry, recording

WAIT = "openstack.rpc.client.reply.wait.duration"


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("nova.context")
    module.did_not_respond_sentinel = object()  # type: ignore[attr-defined]

    def scatter_gather_cells(context: Any, cell_mappings: Any, timeout: int, fn: Any) -> Any:
        return fn()

    module.scatter_gather_cells = scatter_gather_cells  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nova", ModuleType("nova"))
    monkeypatch.setitem(sys.modules, "nova.context", module)
    return module


@pytest.fixture
def seen(nova: ModuleType) -> Iterator[Telemetry]:
    with recording(Settings(strict=True, level="detailed")) as telemetry, telemetry.patched("nova_cells"):
        yield telemetry


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ({"cell0": [], "cell1": [1]}, None),
        ({"cell0": [], "cell1": ValueError("down")}, "ValueError"),
        ({"cell0": ValueError("down"), "cell1": "silent"}, "nova.exception.CellTimeout"),
    ],
)
def test_the_wait_for_all_cells(seen: Telemetry, nova: Any, results: dict[str, Any], kind: str | None) -> None:
    given = {cell: nova.did_not_respond_sentinel if value == "silent" else value for cell, value in results.items()}
    assert nova.scatter_gather_cells(None, [], 60, lambda: given) is given
    (point,) = seen.points(WAIT)
    assert point.attributes == {"openstack.rpc.call.type": "multicall"} | ({"error.type": kind} if kind else {})


def test_work_in_the_cells_of_a_cast_is_the_casts_own(nova: Any) -> None:
    def in_a_cell() -> None:
        current = tracing.totals()
        assert current is not None
        current.add_db(0.1, "SELECT")

    def gather() -> None:
        captured = tracing.capture()
        assert captured is not None
        thread = threading.Thread(target=captured.run, args=(in_a_cell,))
        thread.start()
        thread.join()

    with recording(Settings(strict=True)) as telemetry, telemetry.patched("nova_cells"):
        operation = tracing.root("test", "process build", SpanKind.CONSUMER)
        nova.scatter_gather_cells(None, [], 60, gather)
        gather()  # nobody waits for this one, as far as we know
        operation.finish()
        names = [span.name for span in telemetry.spans()]
        calls = telemetry.span("process build").attributes["openstack.db.calls"]
    assert len(names) == 2
    assert any(name.startswith("task ") for name in names)
    assert calls == 1
