# SPDX-License-Identifier: Apache-2.0
"""How many gateways a cloud needs: the arithmetic of docs/gateways.md."""

from __future__ import annotations

import pytest

from collector.capacity import gateways
from collector.capacity.gateways import Cloud, largest_share, needs

FIGURES = {
    "spans_per_core_second": 10_000, "points_per_core_second": 20_000, "spans_per_trace": 10,
    "points_per_process_second": 10, "mebibytes_empty": 68, "mebibytes_per_thousand_traces": 100,
    "bytes_per_span": 100, "bytes_per_point": 50,
}  # fmt: skip


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    monkeypatch.setattr(gateways, "FIGURES", FIGURES)


def test_limits_are_those_of_the_configuration():
    assert (gateways.MEMORY, gateways.TRACES, gateways.WAIT) == (768, 50_000, 10)


def test_each_limit_by_hand():
    # 100 hosts with 20 processes send 20,000 points: one core; 1,000 traces of 10 spans: another. Half of two is free.
    # 10,000 traces are held: 1,000 MiB where 700 are left.
    cloud = Cloud(hosts=100, requests=1000)
    assert needs(cloud) == {"processor": 2, "memory": 2, "traces held": 1}
    assert cloud.megabits == pytest.approx((10_000 * 100 + 20_000 * 50) * 8 / 1e6)
    assert needs(Cloud(hosts=100, requests=1000, cores=4))["processor"] == 1
    assert needs(Cloud(hosts=1, requests=5001))["traces held"] == 2


def test_the_largest_share_of_sixteen_digits_counts():
    shares = {1: 1, 2: 8 / 16, 3: 6 / 16, 5: 4 / 16, 16: 1 / 16, 20: 1 / 20}
    assert {count: largest_share(count) for count in shares} == shares
    # Three cores on gateways of one each, of which three do not do: one would get six sixteenths.
    assert needs(Cloud(hosts=300, requests=0))["processor"] == 4


def test_what_no_number_of_gateways_takes_is_said(monkeypatch):
    monkeypatch.setitem(FIGURES, "mebibytes_empty", 769)
    with pytest.raises(SystemExit, match="no number of gateways"):
        needs(Cloud(hosts=1, requests=1))


def test_a_command_line_answers(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gateways.py", "--hosts", "100", "--requests", "1000"])
    assert gateways.main() == 0
    assert capsys.readouterr().out.split()[0] == "2"
