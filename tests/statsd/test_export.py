# SPDX-License-Identifier: Apache-2.0
"""OTEL_METRICS_EXPORTER=statsd in processes of their own: to Etsy's daemon, and to peers that are not well."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.collector.peers import EtsyStatsd, free_port, wait

pytestmark = pytest.mark.servers
PROGRAM = Path(__file__).parent / "programs" / "service.py"
TIMEOUTS = "demo.openstack.pool.timeouts.openstack_pool_name.api.openstack_pool_type.thread"
QUEUE = "demo.openstack.wsgi.request.time_in_queue"


def start(seconds, *words, exporters="statsd", variables=None, **options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment |= {
        "OTEL_METRICS_EXPORTER": exporters, "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": "demo", "OTEL_OPENSTACK_LEVEL": "detailed", **(variables or {}),
    }  # fmt: skip
    environment |= {f"OTEL_OPENSTACK_STATSD_{key.upper()}": str(value) for key, value in options.items()}
    command = [sys.executable, "-W", "ignore", PROGRAM, str(seconds), *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Return the longest turn of the service, how long its end took, and what it wrote to standard error."""
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    latest, last = map(float, out.split()[-2:])
    return latest, time.time() - last, error


@pytest.mark.parametrize("kind", ["native", "green"])
def test_etsys_daemon_gets_true_numbers_of_parent_and_child(tmp_path, kind):
    with EtsyStatsd(tmp_path) as etsy:
        _, _, error = ended(start(2, kind, endpoint=f"127.0.0.1:{etsy.port}", flush_interval=0.3))
        wait(lambda: etsy.counter(TIMEOUTS) >= 18, "all of it")
        time.sleep(0.5)
        assert etsy.counter(TIMEOUTS) == etsy.counter(f"{QUEUE}.count") == 18
        assert etsy.counter("demo.demo.requests.route._servers__id_") == 36
        assert etsy.counter(f"{QUEUE}.sum") == pytest.approx(18 * 0.25)
        assert etsy.gauge(f"{QUEUE}.p50") == pytest.approx(0.25, rel=0.5)
        assert etsy.counter("demo.otel_openstack.statsd.lines.sent") > 0
        assert "dropped" not in error


def bound(path):
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.bind(str(path))
    return peer


@pytest.mark.parametrize("kind", ["native", "green"])
def test_a_peer_that_is_not_well_costs_lines_and_nothing_else(tmp_path, kind):
    with bound(tmp_path / "full.sock"):
        troubles = {
            "nobody": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
            "no socket": tmp_path / "none.sock",
            "full": tmp_path / "full.sock",
            "no name": "statsd.invalid:8125",
        }
        options = {"flush_interval": 0.2, "max_packet_size": 256, "write_timeout": 60}
        processes = {name: start(1.5, kind, endpoint=where, **options) for name, where in troubles.items()}
        for name, process in processes.items():
            latest, end, error = ended(process)
            assert latest < 10, f"{name}: the service stood still for {latest} s"
            assert end < 30, f"{name}: its end took {end} s"
            reasons = re.search(r"lines for statsd dropped of \d+ \((.*)\)", error)
            assert reasons, (name, error)
            assert set(reasons[1].split("; ")) <= {"refused", "unreachable", "timeout", "shutdown"}
            assert "Traceback" not in error


def test_a_unix_socket_and_dogstatsd(tmp_path):
    with bound(tmp_path / "statsd.sock") as peer:
        peer.settimeout(20)
        process = start(1, endpoint=tmp_path / "statsd.sock", flavor="dogstatsd", prefix="cloud", flush_interval=0.2)
        lines = []
        while sum(line.count("|#openstack.pool.name:api") for line in lines) < 2:
            lines += peer.recv(65536).decode().split("\n")
        ended(process)
    assert any(line.startswith("cloud.openstack.wsgi.request.time_in_queue:0.25|d") for line in lines)
    assert any("cloud.demo.requests:" in line and "|#route:/servers/_id_,service.name:demo" in line for line in lines)


def test_wrong_options_are_told_and_have_their_defaults(tmp_path):
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        process = start(
            1, endpoint=f"127.0.0.1:{peer.getsockname()[1]}", flavor="ganglia", names_default="{metric", prefix="a b",
        )  # fmt: skip
        assert b"demo.demo.requests.route._servers__id_:" in peer.recv(65536)
        error = ended(process)[2]
    assert "STATSD_FLAVOR: 'ganglia' is none of etsy, dogstatsd, influxdb, graphite; using 'etsy'" in error
    assert "STATSD_NAMES_DEFAULT: '{metric' has a { without a name and }" in error
    assert "STATSD_PREFIX" in error


def test_console_and_prometheus_get_the_points_of_the_fast_path_beside_statsd(tmp_path):
    port = free_port()
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{peer.getsockname()[1]}"
        variables = {"OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
        process = start(2, exporters="statsd,console,prometheus", variables=variables, endpoint=endpoint)
        page = wait(lambda: scraped(port, "openstack_pool_timeouts"), "the page for Prometheus")
        out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        peer.settimeout(0.1)
        assert TIMEOUTS.encode() in peer.recv(65536)
    assert re.search(
        r"^openstack_pool_timeouts\S*_total\{.*openstack_pool_name=\"api\".*\} 1[05]\.0$", page, re.MULTILINE
    ), page
    assert re.search(r"^openstack_wsgi_request_time_in_queue_seconds_count\S* 1[05]\.0$", page, re.MULTILINE)
    assert "demo_requests_total" in page
    assert '"name": "openstack.wsgi.request.time_in_queue"' in out


def scraped(port, wanted):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            page = answer.read().decode()
    except OSError:
        return None
    return page if wanted in page else None
