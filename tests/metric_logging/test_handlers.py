# SPDX-License-Identifier: Apache-2.0
"""The parts one by one: what is bounded, what is dropped and counted, what never raises; dictConfig with filters."""

from __future__ import annotations

import json
import logging
import logging.config
import re
import socket
from decimal import Decimal

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_openstack import metric_logging, metrics
from otel_openstack.metric_logging import METRIC, books, to_otlp
from otel_openstack.runtime import originals, worker


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def kept():
    """A handler of all measurements of the logger `probe`."""
    handler, logger = Kept(), logging.getLogger("metrics.probe")
    logger.addHandler(handler)
    logger.setLevel(METRIC)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def handler():
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(5)
    made = metric_logging.DatagramHandler(f"127.0.0.1:{peer.getsockname()[1]}", 256, interval=3600.0, queue_bytes=4096)
    made.peer = peer
    yield made
    made.close()
    worker.remove(made._job)
    made._job._sender.close()
    peer.close()


LOG = metric_logging.get_logger("probe")
LINES = {
    "etsy": r"[\w.\-]+:\d+(\.\d+)?\|(c|g|ms)",
    "dogstatsd": r"[\w.\-]+:\d+(\.\d+)?\|(c|g|h|ms)(\|#[\w.\-]+:[\w./\-]+(,[\w.\-]+:[\w./\-]+)*)?",
}


def run(handler):
    handler._job.run(originals.monotonic() + 5, False)


def measured(kept, *arguments, **options):
    LOG.metric(*arguments, **options)
    return kept.records[-1]


def drops(reason):
    return books.whole().lines_dropped.get(reason, 0)


def test_the_level_stands_between_info_and_warning():
    assert logging.INFO < METRIC < logging.WARNING
    assert logging.getLevelName("METRIC") == METRIC


def test_a_record_says_where_it_was_logged_and_reads_well(kept):
    record = measured(kept, "compute.build", 2.5, "histogram", "s", {"flavor": "tiny"})
    assert (record.name, record.levelno, record.filename) == ("probe", METRIC, "test_handlers.py")
    assert record.funcName == "measured"
    assert record.getMessage() == "compute.build 2.5 s flavor=tiny"


@pytest.mark.parametrize(
    "arguments",
    [
        ("n", "2"),
        ("n", None),
        ("n", float("nan")),
        ("n", -1),
        ("n", 1, "timer"),
        ("n", 1, "counter", "", 7),
        ("n", []),
        (7, 1),
        ("n", 1, "gauge", 5),
    ],
)
def test_what_is_no_measurement_is_counted_and_never_raises(kept, arguments):
    before = drops("not a measurement")
    LOG.metric(*arguments)
    assert kept.records == []
    assert drops("not a measurement") == before + 1


def test_flags_and_numbers_of_other_libraries_are_numbers(kept):
    class Real(float):
        def __repr__(self):
            return "Real()"

    lines = [
        metric_logging.StatsdFormatter("{metric}").format(measured(kept, "m", v)) for v in (True, Real(1.5), Decimal(2))
    ]
    assert lines == ["m:1|c", "m:1.5|c", "m:2|c"]


def test_below_the_level_nothing_is_looked_at(kept):
    logging.getLogger("metrics.probe").setLevel(logging.WARNING)
    before = sum(books.whole().lines_dropped.values())
    LOG.metric("n", "not even a number")
    assert sum(books.whole().lines_dropped.values()) == before


def test_ordinary_methods_and_those_of_oslo_log_stay():
    from oslo_log import log

    oslo = metric_logging.MetricAdapter(log.getLogger("probe"))
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        patch.setattr(logging.getLogger("probe"), "handle", seen.append)
        logging.getLogger("probe").setLevel(1)
        oslo.info("one %s", 1)
        oslo.trace("two")
        logging.getLogger("probe").setLevel(logging.NOTSET)
    assert [record.getMessage() for record in seen] == ["one 1", "two"]
    assert seen[0].filename == "test_handlers.py"
    assert "project" in seen[0].extra_keys


def test_batches_fill_packets_and_a_line_that_fits_into_none_is_counted(kept, handler):
    handler.setFormatter(metric_logging.StatsdFormatter("{metric}"))
    for number in range(40):
        handler.handle(measured(kept, f"metric.{number:03}"))
    before = drops("too_long")
    handler.handle(measured(kept, "x" * 300))
    run(handler)
    datagrams = []
    while sum(map(len, datagrams)) < 40 * 14 - len(datagrams):
        datagrams.append(handler.peer.recv(65536))
    assert [len(datagram) <= 256 for datagram in datagrams] == [True] * 3
    assert b"\n".join(datagrams).split(b"\n") == [b"metric.%03d:1|c" % number for number in range(40)]
    assert drops("too_long") == before + 1


def test_the_queue_is_bounded(kept, handler):
    worker.remove(handler._job)  # an export thread of other tests would take lines meanwhile
    record = measured(kept, "m", attributes={"k": "v" * 200})
    before = drops("queue full")
    for _ in range(1000):
        handler.handle(record)
    assert len(handler.lines) < 20
    assert drops("queue full") == before + 1000 - len(handler.lines)
    run(handler)
    assert handler.waiting == 0
    handler.handle(record)
    assert len(handler.lines) == 1


def test_switched_off_what_waits_is_dropped_and_counted(kept, handler):
    record = measured(kept, "m")
    handler.handle(record)
    before = drops("switched off")
    handler._job.suspend()
    assert len(handler.lines) == 0
    assert drops("switched off") == before + 1


def test_ordinary_records_are_taken_where_that_is_asked_for(handler):
    ordinary = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "msg": "a\nb password=canary"})
    assert not handler.handle(ordinary)
    handler.filters.clear()
    assert handler.handle(ordinary)
    (line,) = handler.lines
    assert "\n" not in line
    assert "canary" not in line
    assert json.loads(line)["message"].startswith("a\nb")


def test_attributes_run_no_code_of_the_service_and_hold_no_secret(kept):
    class Instance:
        def __str__(self):
            raise AssertionError

    record = measured(kept, "m", attributes={"instance": Instance(), "flavor": "tiny", "auth_token": "canary", "n": 2})
    told = json.loads(metric_logging.JSONFormatter().format(record))
    assert {"flavor": "tiny", "n": 2}.items() <= told["attributes"].items()
    assert "instance" not in told["attributes"]
    assert "canary" not in json.dumps(told)
    assert "canary" not in metric_logging.StatsdFormatter().format(record)


@pytest.mark.parametrize("options", [{"endpoint": "nowhere"}, {"packet_size": 1}, {"packets_per_second": -1}])
def test_arguments_that_cannot_be_used_are_errors(options):
    with pytest.raises(ValueError, match=next(iter(options)).replace("packet_size", "max_packet_size")[:6]):
        metric_logging.DatagramHandler(**options)


@hypothesis.settings(deadline=None, max_examples=60)
@given(
    st.text(min_size=1, max_size=20),
    st.one_of(st.integers(0, 2**60), st.floats(0, 1e300)),
    st.sampled_from(["counter", "gauge", "histogram"]),
    st.sampled_from(["", "s", "By"]),
    st.dictionaries(st.text(max_size=10), st.one_of(st.text(max_size=10), st.integers(), st.booleans()), max_size=3),
)
def test_whatever_is_measured_is_one_line(name, value, kind, unit, attributes):
    record = logging.makeLogRecord({"levelno": METRIC, "levelname": "METRIC"})
    record.metric = metric_logging.Measurement(name, value, kind, unit, attributes)
    assert "\n" not in metric_logging.JSONFormatter().format(record)
    for flavor, formatter in (
        ("etsy", metric_logging.StatsdFormatter),
        ("dogstatsd", metric_logging.DogStatsdFormatter),
    ):
        line = formatter().format(record)
        assert re.fullmatch(LINES[flavor], line), line


def test_a_name_that_changes_its_kind_and_names_without_end(kept, telemetry, monkeypatch):
    monkeypatch.setattr(to_otlp, "MOST_NAMES", 3)
    handler = metric_logging.OTLPHandler()
    before = drops("another kind than before"), drops("too many names")
    for name, kind in (("probe.a", "counter"), ("probe.a", "gauge"), ("probe.b", "counter"), ("probe.c", "counter")):
        handler.handle(measured(kept, name, 1, kind))
    handler.handle(measured(kept, "probe.d"))
    handler.handle(measured(kept, "http.server.request.duration"))
    assert [point.value for point in metrics.testing_points("probe.a")] == [1]
    assert (drops("another kind than before"), drops("too many names")) == (before[0] + 1, before[1] + 2)


def test_dictconfig_diverts_by_filters_alone(tmp_path):
    logger = logging.getLogger("filtered")
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "only": {"()": "otel_openstack.metric_logging.MetricFilter"},
            "rest": {"()": "otel_openstack.metric_logging.MetricFilter", "without": True},
        },
        "formatters": {"json": {"()": "otel_openstack.metric_logging.JSONFormatter"}},
        "handlers": {
            "log": {"class": "logging.FileHandler", "filename": str(tmp_path / "log"), "filters": ["rest"]},
            "metrics": {
                "class": "logging.FileHandler", "filename": str(tmp_path / "metrics"), "filters": ["only"],
                "formatter": "json",
            },
        },
        "loggers": {"filtered": {"level": "METRIC", "handlers": ["log", "metrics"], "propagate": False}},
    }  # fmt: skip
    configuration["loggers"]["metrics.filtered"] = configuration["loggers"]["filtered"]
    logging.config.dictConfig(configuration)
    try:
        logger.warning("ordinary")
        metric_logging.get_logger("filtered").metric("m", 3)
    finally:
        for name in ("filtered", "metrics.filtered"):
            for handler in tuple(logging.getLogger(name).handlers):
                logging.getLogger(name).removeHandler(handler)
                handler.close()
    assert (tmp_path / "log").read_text() == "ordinary\n"
    assert json.loads((tmp_path / "metrics").read_text())["metric"] == "m"
