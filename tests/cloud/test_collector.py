# SPDX-License-Identifier: Apache-2.0
"""The recorded cloud, replayed through the built collector: statsd and Prometheus count what its services counted."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter

import pytest

from tests.cloud.recorded import Run
from tests.collector.peers import Collector, EtsyStatsd, binary, free_port, wait

pytestmark = pytest.mark.cloud
TIMES = re.compile(r'"((?:startT|t)imeUnixNano)": ?"(\d{19})"')
BY_METRIC = 'exporters: {statsd: {prefix: "", names: {default: "{metric}"}}}\n'


def batches(run, kept="otlp", kind="resourceMetrics"):
    for path in sorted((run.directory / kept).iterdir()):
        yield from (line for line in path.read_text().splitlines() if f'"{kind}"' in line)


def counted(lines):
    """Counters and observations of histograms by metric: the last value of every stream, added up."""
    last = {}
    for line in lines:
        for resource in json.loads(line)["resourceMetrics"]:
            who = next(a["value"] for a in resource["resource"]["attributes"] if a["key"] == "service.instance.id")
            for metric in (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]):
                for point in metric.get("histogram", {}).get("dataPoints", ()):
                    stream = (json.dumps(who), json.dumps(point.get("attributes", [])), f"{metric['name']}.count")
                    last[stream] = int(point["count"])
                if metric.get("sum", {}).get("isMonotonic"):
                    for point in metric["sum"]["dataPoints"]:
                        stream = (json.dumps(who), json.dumps(point.get("attributes", [])), metric["name"])
                        last[stream] = float(point["asInt"] if "asInt" in point else point["asDouble"])
    totals = Counter()
    for (_, _, name), value in last.items():
        totals[name] += value
    return totals


def from_tomorrow(line):
    """Counters that began before the collector are baselines: let these begin later."""
    later = 24 * 3600 * 10**9
    return TIMES.sub(lambda found: f'"{found[1]}":"{int(found[2]) + later}"', line)


@pytest.mark.skipif(not (shutil.which("go") and shutil.which("npm")), reason="needs Go and npm")
def test_statsd_and_prometheus_count_what_the_services_counted(run: Run, tmp_path):
    binary()
    lines = list(batches(run))
    totals = counted(lines)
    port = free_port()
    with EtsyStatsd(tmp_path) as etsy:
        environment = {
            "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{etsy.port}",
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}",
        }
        files = ("agent.yaml", "to-statsd.yaml", "to-prometheus.yaml")
        with Collector(tmp_path, *files, extra=BY_METRIC, environment=environment) as collector:
            for line in lines:
                assert collector.post(from_tomorrow(line)) == 200
            series = "http_server_request_duration_seconds_count"
            requests = totals["http.server.request.duration.count"]
            assert requests > 50
            wait(lambda: etsy.counter("http.server.request.duration.count") >= requests, "statsd")
            wait(lambda: collector.prometheus(port)[series] == requests, "Prometheus")
            time.sleep(0.5)
            assert not collector.own("exporter_statsd_dropped_lines")
            assert not collector.own("exporter_statsd_dropped_points")
    differing = {
        name: (value, etsy.counter(name)) for name, value in totals.items() if differ(value, etsy.counter(name))
    }
    assert not differing
    assert not etsy.counter("statsd.bad_lines_seen")


def differ(one, other):
    return abs(one - other) > 1e-6 * max(1, one)
