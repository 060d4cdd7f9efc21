# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes collectors, with the shipped rules, asked over its API."""

from __future__ import annotations

import http.client
import json
import math
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from tests.collector.peers import Process, free_port, wait

ROOT = Path(__file__).resolve().parent.parent.parent
SCRAPE = (ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text()
SHIPPED = {"metrics": '["127.0.0.1:9464"]', "own": '["127.0.0.1:8888"]', "rules": "/etc/prometheus/otel-openstack-*.yaml"}


class Prometheus:
    """`metrics` are ports of what to-prometheus.yaml shows, `own` of the collectors' own metrics."""

    def __init__(self, directory, metrics, own, interval="2s"):
        self.directory = directory
        self.port = free_port()
        mine = {
            SHIPPED["metrics"]: json.dumps([f"127.0.0.1:{port}" for port in metrics]),
            SHIPPED["own"]: json.dumps([f"127.0.0.1:{port}" for port in own]),
            SHIPPED["rules"]: str(ROOT / "deploy" / "prometheus" / "otel-openstack-*.yaml"),
            "_interval: 15s": f"_interval: {interval}",
        }
        text = SCRAPE
        for shipped, used in mine.items():
            assert shipped in text, shipped
            text = text.replace(shipped, used)
        (directory / "prometheus.yaml").write_text(text)

    def __enter__(self):
        words = [f"--config.file={self.directory / 'prometheus.yaml'}", f"--storage.tsdb.path={self.directory / 'tsdb'}"]
        words += [f"--web.listen-address=127.0.0.1:{self.port}", "--query.lookback-delta=1m"]
        self.process = Process(["prometheus", *words], self.directory / "prometheus.log")
        wait(lambda: self.process.alive() and self.ready(), "Prometheus")
        return self

    def __exit__(self, *exc):
        self.process.stop()

    def ready(self):
        try:
            return self.ask("/-/ready")
        except OSError:
            return None

    def ask(self, path, **words):
        """Return the data of an answer, or its error as text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with closing(connection):
            connection.request("GET", f"{path}?{urlencode(words, doseq=True)}" if words else path)
            answer = connection.getresponse()
            body = answer.read().decode()
        if not path.startswith("/api"):
            return body if answer.status == http.client.OK else None
        found = json.loads(body)
        return found["data"] if found["status"] == "success" else found["error"]

    def values(self, query, start, end):
        """Return every number that a query gives from `start` to `end`, NaN left out, or the error as text."""
        data = self.ask("/api/v1/query_range", query=query, start=start, end=end, step=1)
        if isinstance(data, str):
            return data
        numbers = [float(value) for series in data["result"] for _, value in series["values"]]
        return [number for number in numbers if not math.isnan(number)]
