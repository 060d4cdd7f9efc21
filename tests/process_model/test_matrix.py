# SPDX-License-Identifier: Apache-2.0
"""Every way to run a service, with a collector in every state: nothing lost, nothing twice, nobody kept waiting.

What the services did is known from a witness file that they write themselves, what arrived from the collector, what was
dropped from the one line in the service's log.
"""

from __future__ import annotations

import pytest

from tests.process_model import cells

pytestmark = pytest.mark.servers

RECEIVING = [*((kind, "up") for kind in cells.KINDS), *((kind, "file") for kind in cells.MATRIX)]
FAILING = tuple(state for state in cells.STATES if state != "up")
MATRIX = [(kind, state) for kind in cells.MATRIX for state in FAILING]
# Seconds, on a loaded machine; 0.1 to 0.7 are usual, and 1 to 2 for uWSGI, whose master looks once a second.
LONGEST_EXIT = 5.0
LONGEST_GAP = 0.2  # seconds


@pytest.mark.parametrize(
    ("kind", "state"), [*((kind, "up") for kind in cells.KINDS), *((kind, "file") for kind in cells.MATRIX)]
)
def test_a_receiving_collector_and_the_files_get_everything(matrix, kind, state):
    result = matrix(kind, state)
    assert result.returncode == 0, result.log
    assert sum(result.worked.values()) > 0, result.log
    assert result.spans == result.worked, result.log
    assert result.counted == result.worked, result.log
    assert not result.dropped, result.log


@pytest.mark.parametrize(("kind", "state"), [(kind, "up") for kind in cells.KINDS])
def test_every_process_has_its_own_identity(matrix, kind, state):
    instances = matrix(kind, state).instances
    assert all(len(found) == 1 for found in instances.values()), instances
    assert len({next(iter(found)) for found in instances.values()}) == len(instances), instances


@pytest.mark.parametrize(("kind", "state"), MATRIX)
def test_recorded_is_delivered_plus_dropped(matrix, kind, state):
    result = matrix(kind, state)
    assert sum(result.worked.values()) > 0, result.log
    for pid, worked in result.worked.items():
        books = result.dropped[pid] if pid in result.dropped else cells.Books(0, worked, 0, result.points[pid])
        assert books.all_spans == worked, result.log
        assert result.spans[pid] + books.spans == books.all_spans, result.log
        assert result.points[pid] + books.points == books.all_points, result.log
    assert result.log.count(" dropped of ") == len(result.dropped), result.log
    assert state == "slow" or not result.spans


@pytest.mark.parametrize(("kind", "state"), [(kind, state) for kind in cells.MATRIX for state in cells.STATES])
def test_nobody_is_kept_waiting(matrix, kind, state):
    result = matrix(kind, state)
    assert result.returncode == 0, result.log
    assert result.exit_time < LONGEST_EXIT, result.log
    if result.gap >= LONGEST_GAP:  # a machine with other work is late by itself, but not twice
        result = cells.run(kind, state)
    assert result.gap < LONGEST_GAP
    assert "Traceback" not in result.log, result.log
    assert "NO MERCY" not in result.log, result.log
