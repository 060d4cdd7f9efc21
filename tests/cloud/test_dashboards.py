# SPDX-License-Identifier: Apache-2.0
"""Every query of every panel and rule, asked of a real Prometheus behind the built collector.

What it is fed: the recorded cloud at level deep, replayed, and services in which all goes wrong that can be told
(faulty.py), reporting live. The gateway of one collector never answers, another collector has no memory, a third is
down.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests import rabbitmq
from tests.cloud.prometheus import ROOT, Prometheus
from tests.collector.peers import Collector, Process, binary, free_port
from tests.collector.replay import PATHS, batches, from_tomorrow, newest

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not (shutil.which("go") and shutil.which("prometheus")), reason="needs Go and Prometheus"),
]
SECONDS = 24
BOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
RULES = sorted((ROOT / "deploy" / "prometheus").glob("otel-openstack-*.yaml"))
FAILING = """
exporters:
  otlp_http:
    timeout: 2s
    retry_on_failure: {enabled: false}
    sending_queue: {sizer: requests, queue_size: 1, num_consumers: 1}
"""
# Panels that show what must not be; in a cloud that is well, and in these faults, they stay at zero.
ZERO = {
    "Objects that cannot be collected": "CPython makes none but for broken extensions",
}
# Alerts that do not fire here. Their series are there all the same.
QUIET = {
    "ServiceGone": "needs an hour of past",
    "WorkersGone": "needs an hour of past",
    "PeriodicTasksLate": "needs more than a minute of being late",
    "LockWaitLong": "needs waits of more than 5 s",
    "BrokerPoolNearlyFull": "needs 25 calls at once",
}
INSTANCE = re.compile(r'("service.instance.id", ?"value": ?{"stringValue": ?")[0-9a-f]{4}')
OPERATOR = re.compile(r" (?:>=|==|>|<) [\d.]+$")


@pytest.fixture(scope="module")
def broker():
    yield from rabbitmq.serve()


class Fed:
    """Prometheus after all of it, and from when to when."""

    def __init__(self, prometheus, start):
        self.prometheus = prometheus
        self.start, self.end = start, time.time()

    def values(self, query):
        for name, value in {"$service": ".+", "$host": ".+", "$region": ".*", "$__range": "1m"}.items():
            query = query.replace(name, value)
        return self.prometheus.values(query.replace("$__rate_interval", "12s"), self.start, self.end)


@pytest.fixture(scope="module")
def fed(run, broker, tmp_path_factory):
    binary()
    directories = [tmp_path_factory.mktemp(name) for name in ("collector", "starved", "prometheus")]
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        shown = free_port()
        files = ("standalone.yaml", "to-prometheus.yaml", "to-statsd.yaml", "to-otlp.yaml", "to-files.yaml")
        addresses = {
            "OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{shown}",
            "OTEL_OPENSTACK_STATSD": f"127.0.0.1:{free_port()}",
            "OTEL_OPENSTACK_GATEWAY": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OTEL_OPENSTACK_TRACES_PERCENT": "100",
            "OTEL_OPENSTACK_DECISION_WAIT": "1s",
        }
        collector = stack.enter_context(Collector(directories[0], *files, extra=FAILING, environment=addresses))
        memory = {"OTEL_OPENSTACK_COLLECTOR_MEMORY_MIB": "2", "OTEL_OPENSTACK_COLLECTOR_SPIKE_MIB": "1"}
        starved = stack.enter_context(Collector(directories[1], "agent.yaml", environment=memory))
        ports = [collector.metrics, starved.metrics, free_port()]
        prometheus = stack.enter_context(Prometheus(directories[2], [shown], ports))
        start = time.time()
        services = [
            stack.enter_context(faulty(directories[0], collector, *words))
            for words in (("threads", SECONDS, broker.url), ("green", SECONDS))
        ]
        replay(run, collector, starved)
        for service in services:
            assert service.child.wait(120) == 0, service.log.read_text()[-3000:]
        time.sleep(2)  # the last values are scraped
        yield Fed(prometheus, start)


class faulty:  # noqa: N801 a context manager
    """faulty.py under the launcher: metrics go to the collector, traces nowhere, and few of them fit into the queue."""

    def __init__(self, directory, collector, kind, *words):
        environment = {
            "OTEL_SERVICE_NAME": f"faulty-{kind}",
            "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=openstack",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{collector.otlp}/v1/metrics",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}/v1/traces",
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_OPENSTACK_LEVEL": "deep",
            "OTEL_OPENSTACK_SPAN_QUEUE_BYTES": "20k",
        }
        script = str(Path(__file__).with_name("faulty.py"))
        command = [Path(sys.executable).parent / "opentelemetry-instrument", sys.executable, script, kind]
        self.start = lambda: Process([*command, *map(str, words)], directory / f"{kind}.log", environment)

    def __enter__(self):
        self.process = self.start()
        return self.process

    def __exit__(self, *exc):
        self.process.stop()


def replay(run, collector, starved):
    """Send the recorded cloud in the order of its time, slowly enough to be scraped in between.

    Then once more as if each process had been respawned: what was counted once rises where Prometheus sees it.
    """
    recorded = run.directory / "otlp-deep"
    lines = [(kind, line) for kind in PATHS for line in batches(recorded, kind)]
    lines.sort(key=lambda item: newest(item[1]))
    for generation in ("aaaa", "bbbb"):
        for number, (kind, line) in enumerate(lines, 1):
            text = INSTANCE.sub(rf"\g<1>{generation}", from_tomorrow(line))
            assert collector.post(text, PATHS[kind]) == 200
            if number % 25 == 0:
                time.sleep(SECONDS * 0.3 * 25 / len(lines))
    for _ in range(5):
        for kind, line in dict(lines).items():
            starved.post(line, PATHS[kind])
        time.sleep(1)


def panels():
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield path.stem, panel["title"], target["expr"]


def test_every_panel_shows_something(fed):
    wrong = {}
    for board, title, query in panels():
        found = fed.values(query)
        if isinstance(found, str) or not found:
            wrong[board, title, query] = found
        elif max(found) <= 0 and title not in ZERO:
            wrong[board, title, query] = f"never above zero in {len(found)} values"
    assert not wrong, "\n".join(f"{' / '.join(where)}: {found}" for where, found in wrong.items())


def test_the_exceptions_are_exceptions(fed):
    """A panel that may stay at zero does."""
    assert {title for _, title, query in panels() if title in ZERO and max(fed.values(query)) > 0} == set()
    assert {title for _, title, _ in panels()} >= ZERO.keys()


def test_variables_offer_what_is_there(fed):
    for path in BOARDS:
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                series, name = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
                series = series.replace("$region", ".*").replace("$service", ".+")
                offered = fed.prometheus.ask(f"/api/v1/label/{name}/values", **{"match[]": series})
                assert offered, (path.name, variable["name"])
                every = fed.values(f'count(openstack_rpc_client_timeouts_total or process_thread_count{{{name}!=""}})')
                assert every, name


def test_every_recording_rule_records(fed):
    rules = [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    empty = [rule["record"] for rule in rules if "record" in rule and not fed.values(rule["record"])]
    assert empty == []


def test_prometheus_evaluates_every_rule(fed):
    groups = fed.prometheus.ask("/api/v1/rules")["groups"]
    health = {rule["name"]: (rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]}
    assert len(health) == sum(
        path.read_text().count("- record: ") + path.read_text().count("- alert: ") for path in RULES
    )
    assert {name: found for name, found in health.items() if found[0] != "ok"} == {}


def test_every_alert_sees_its_fault(fed):
    """Without the time that it has to last, which is tested with promtool as the thresholds are."""
    alerts = {
        rule["alert"]: rule["expr"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    silent = {name for name, query in alerts.items() if not fed.values(query)}
    assert silent == QUIET.keys(), " ".join(silent ^ QUIET.keys())
    for name in silent:
        query = re.sub(r" offset \w+", "", OPERATOR.sub("", alerts[name].partition(" unless ")[0]))
        assert fed.values(query.partition(" < ")[0].strip("()")) if "processes" in query else fed.values(query), name
