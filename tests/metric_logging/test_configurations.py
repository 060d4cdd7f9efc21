# SPDX-License-Identifier: Apache-2.0
"""From an ordinary logging.conf, through oslo.log, in a process: to a socket, to the collector, to OTLP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector import peers

PROGRAM = Path(__file__).parent / "programs" / "service.py"
ORDINARY = """
[loggers]
keys = root{loggers}
[handlers]
keys = log{handlers}
[formatters]
keys = context{formatters}
[logger_root]
level = INFO
handlers = log
[handler_log]
class = FileHandler
args = ({file!r},)
formatter = context
[formatter_context]
class = oslo_log.formatters.ContextFormatter
"""
DIVERTED = """
[logger_metrics]
qualname = metrics
level = METRIC
handlers = {names}
propagate = 0
"""
UDP = """
[handler_udp]
class = otel_openstack.metric_logging.DatagramHandler
args = ({endpoint!r},)
{formatter}
"""
OTLP = """
[handler_points]
class = otel_openstack.metric_logging.OTLPHandler
args = ()
[handler_events]
class = otel_openstack.metric_logging.OTLPHandler
args = ('logs',)
"""


def run(directory, configuration, *words, options="", exporter="none"):
    """Run the service; returns the trace of its request, and its ordinary log."""
    (directory / "logging.conf").write_text(configuration)
    append = f"log_config_append = {directory}/logging.conf" if configuration else ""
    (directory / "nova.conf").write_text(f"[DEFAULT]\n{append}\n{options}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment |= {f"OTEL_{signal}_EXPORTER": exporter for signal in ("TRACES", "METRICS", "LOGS")}
    environment |= {"OTEL_SERVICE_NAME": "nova-compute", "OTEL_OPENSTACK_FILE_DIRECTORY": str(directory / "otlp")}
    command = [sys.executable, "-W", "ignore", PROGRAM, directory / "nova.conf", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    log = directory / "nova.log"
    return done.stdout.split()[-1], log.read_text() if log.exists() else ""


def ordinary(directory, loggers="", handlers="", formatters=""):
    return ORDINARY.format(file=str(directory / "nova.log"), loggers=loggers, handlers=handlers, formatters=formatters)


def diverted(directory, endpoint, formatter="", handlers="udp", formatters=""):
    return (
        ordinary(directory, ",metrics", f",{handlers}", formatters)
        + DIVERTED.format(names=handlers)
        + UDP.format(endpoint=str(endpoint), formatter=formatter)
    )


def received(peer):
    """Return the datagrams that are there."""
    found = []
    peer.settimeout(0.3)
    while True:
        try:
            found.append(peer.recv(65536).decode())
        except TimeoutError:
            return found


def test_a_metric_record_that_nobody_diverts_is_in_the_ordinary_log(tmp_path):
    _, log = run(tmp_path, ordinary(tmp_path))
    lines = log.splitlines()
    assert sum("METRIC nova.compute.manager" in line and "req-1" in line for line in lines) >= 11
    assert any("compute.build 1.25 s flavor=m1.tiny" in line for line in lines)
    assert sum("INFO nova.compute.manager" in line for line in lines) == 1
    assert "below the level" not in log


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_diverted_records_reach_a_socket_in_batches_of_text_and_not_the_ordinary_log(tmp_path, kind):
    with socket.socket(socket.AF_INET if kind == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0) if kind == "udp" else str(tmp_path / "metrics.sock"))
        name = peer.getsockname()
        trace, log = run(tmp_path, diverted(tmp_path, name if kind == "unix" else f"127.0.0.1:{name[1]}"))
        datagrams = received(peer)
    records = [json.loads(line) for datagram in datagrams for line in datagram.split("\n")]
    assert len(records) == 15
    assert len(datagrams) < len(records)  # batches
    assert max(map(len, datagrams)) <= 1432
    parent = [record for record in records if record.get("trace_id") == trace]
    assert len(parent) == 11
    first = parent[0]
    assert len({record["pid"] for record in records}) == 2
    assert first["metric"] == "compute.build"
    assert (first["value"], first["kind"], first["unit"]) == (1.25, "histogram", "s")
    assert first["attributes"]["flavor"] == "m1.tiny"
    assert (first["request_id"], first["project_id"]) == ("req-1", "p-1")
    assert (first["level"], first["logger"], first["service"]) == ("METRIC", "nova.compute.manager", "nova-compute")
    assert "canary" not in "".join(datagrams)
    assert "METRIC" not in log
    assert "an ordinary line of the log" in log


def test_a_level_above_it_and_a_green_process(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        configuration = diverted(tmp_path, f"127.0.0.1:{peer.getsockname()[1]}")
        run(tmp_path, configuration.replace("level = METRIC", "level = WARNING"), "green")
        assert received(peer) == []
        run(tmp_path, configuration, "green")
        assert sum(datagram.count("\n") + 1 for datagram in received(peer)) == 15


def test_levels_by_oslo_logs_own_options(tmp_path):
    options = f"log_file = {tmp_path}/nova.log\ndefault_log_levels = metrics=%s\n"
    assert "METRIC nova.compute.manager" in run(tmp_path, "", options=options % "METRIC")[1]
    (tmp_path / "nova.log").unlink()
    _, log = run(tmp_path, "", options=options % "WARNING")
    assert "METRIC" not in log
    assert "an ordinary line" in log


def test_lines_of_statsd_are_what_a_template_says(tmp_path):
    formatter = (
        "formatter = statsd\n[formatter_statsd]\nclass = otel_openstack.metric_logging.StatsdFormatter\n"
        "format = nova.{metric}.{flavor}\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{peer.getsockname()[1]}"
        run(tmp_path, diverted(tmp_path, endpoint, formatter, formatters=",statsd"))
        lines = [line for datagram in received(peer) for line in datagram.split("\n")]
    assert lines.count("nova.compute.build.m1_tiny:1250|ms") == lines.count("nova.compute.builds.m1_tiny:1|c") == 7
    assert lines[lines.index("nova.compute.free.none:0|g") + 1] == "nova.compute.free.none:-3|g"


def test_the_logging_conf_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "metric-logging.md").read_text()
    configuration = page.partition("```ini\n")[2].partition("```")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        configuration = configuration.replace("/var/log/nova/nova-compute.log", str(tmp_path / "nova.log"))
        configuration = configuration.replace("127.0.0.1:8125", f"127.0.0.1:{peer.getsockname()[1]}")
        _, log = run(tmp_path, configuration, exporter="otlp_file")
        lines = [line for datagram in received(peer) for line in datagram.split("\n")]
    assert lines.count("nova-compute.compute.builds.m1_tiny:1|c") == 7
    assert any("compute.builds" in path.read_text() for path in (tmp_path / "otlp").glob("*.jsonl"))
    assert "METRIC" not in log


def test_records_become_points_and_events_of_otlp(tmp_path):
    configuration = ordinary(tmp_path, ",metrics", ",points,events") + DIVERTED.format(names="points,events") + OTLP
    trace, log = run(tmp_path, configuration, exporter="otlp_file")
    counted, summed, events = 0, 0.0, []
    for path in (tmp_path / "otlp").glob("*.jsonl"):
        last = {}
        for line in map(json.loads, path.read_text().splitlines()):
            for scope in (scope for found in line.get("resourceMetrics", ()) for scope in found["scopeMetrics"]):
                for metric in scope["metrics"]:
                    last[metric["name"]] = metric
            for scope in (scope for found in line.get("resourceLogs", ()) for scope in found["scopeLogs"]):
                events += scope["logRecords"]
        assert last["compute.build"]["unit"] == "s"
        (point,) = last["compute.build"]["histogram"]["dataPoints"]
        counted += int(point["count"])
        summed += point["sum"]
        assert {"key": "flavor", "value": {"stringValue": "m1.tiny"}} in point["attributes"]
        assert "canary" not in path.read_text()
    assert (counted, summed) == (7, 8.75)
    assert [event["eventName"] for event in events].count("compute.builds") == 7
    assert sum(event.get("traceId") == trace for event in events) == 11
    assert "METRIC" not in log


@pytest.mark.servers
def test_a_metric_record_reaches_the_collector(tmp_path):
    if not shutil.which("go"):
        pytest.skip("the collector is built with Go 1.26 or later, and there is no `go` in PATH")
    peers.binary()
    port, file = peers.free_port(socket.SOCK_DGRAM), tmp_path / "received.jsonl"
    receiver = f"""
receivers:
  statsd: {{endpoint: "127.0.0.1:{port}", aggregation_interval: 1s}}
exporters:
  file/received: {{path: {file}, flush_interval: 100ms}}
service:
  pipelines:
    metrics/received: {{receivers: [statsd], exporters: [file/received]}}
"""
    formatter = "formatter = dog\n[formatter_dog]\nclass = otel_openstack.metric_logging.DogStatsdFormatter\n"
    with peers.Collector(tmp_path, "agent.yaml", "to-files.yaml", extra=receiver):
        run(tmp_path, diverted(tmp_path, f"127.0.0.1:{port}", formatter, formatters=",dog"))

        def total():
            found = [
                point
                for line in filter(peers.readable, peers.text(file).splitlines())
                for resource in json.loads(line)["resourceMetrics"]
                for scope in resource["scopeMetrics"]
                for metric in scope["metrics"]
                if metric["name"] == "compute.builds"
                for point in metric["sum"]["dataPoints"]
            ]
            flavors = {
                attribute["value"]["stringValue"]
                for point in found
                for attribute in point["attributes"]
                if attribute["key"] == "flavor"
            }
            assert flavors <= {"m1.tiny"}
            return sum(int(point["asInt"]) for point in found) == 7

        peers.wait(total, "seven builds at the collector")
