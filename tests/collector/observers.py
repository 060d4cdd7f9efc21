# SPDX-License-Identifier: Apache-2.0
"""Real Prometheus servers and a real Jaeger behind the collector, for tests."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.collector.peers import CACHE, PEERS, ROOT, Process, free_port, wait

SCRAPED = ROOT / "deploy" / "prometheus" / "prometheus.yaml"


def built(name):
    """The binary of a peer that is built from its Go module."""
    if not shutil.which("go"):
        pytest.skip(f"{name} is built with Go 1.26 or later, and there is no `go` in PATH")
    subprocess.run([sys.executable, PEERS / "build.py", name], check=True)
    return CACHE / "peers" / name


def packaged():
    """Debian's Prometheus."""
    if not (found := shutil.which("prometheus")):
        pytest.skip("needs Debian's package prometheus")
    return found


def fetched(url):
    """What a server answers in JSON; None while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError, urllib.error.HTTPError):
        return None


class Prometheus:
    """A server with an empty storage; `scrapes` is the port that it scrapes every two seconds, if it does."""

    def __init__(self, directory, binary, *options, scrapes=None):
        self.directory, self.binary, self.options, self.scrapes = directory, binary, options, scrapes
        directory.mkdir()
        self.port = free_port()
        self.process = None

    def start(self):
        config = SCRAPED.read_text().replace("15s", "2s").replace("127.0.0.1:9464", f"127.0.0.1:{self.scrapes}")
        config = config.partition("  # The collectors' own metrics")[0]
        path = self.directory / "prometheus.yml"
        path.write_text(config if self.scrapes else "{}\n")
        command = [
            self.binary, f"--config.file={path}", f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn", *self.options,
        ]  # fmt: skip
        self.process = Process(command, self.directory / "prometheus.log")
        wait(lambda: self.process.alive() and self.query("1"), "Prometheus")
        return self

    def stop(self):
        self.process.stop()

    __enter__ = start

    def __exit__(self, *exc):
        self.stop()

    def ask(self, path, **parameters):
        answer = fetched(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return answer["data"] if answer else None

    def query(self, promql):
        """Return the series of an instant query as [(labels, value)]; none while it does not answer."""
        found = self.ask("query", query=promql)
        if not found or found["resultType"] != "vector":
            return found and found["result"]
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    def value(self, promql):
        """Return the value of the one series of an instant query; 0 if there is none."""
        found = self.query(promql)
        assert not found or len(found) == 1, found
        return found[0][1] if found else 0

    def series(self):
        """Return names and labels of all series that came from the collector.

        Of what is scraped, what has no instance of its own is given the collector's address: that is left out.
        """
        found = self.ask("series", **{"match[]": '{job!=""}'}) or []
        return {
            frozenset(pair for pair in labels.items() if pair != ("instance", f"127.0.0.1:{self.scrapes}"))
            for labels in found
            if not labels["__name__"].startswith(("scrape_", "up", "target_info"))
        }


def writable(directory):
    """Debian's Prometheus, to be written to."""
    return Prometheus(directory, packaged(), "--web.enable-remote-write-receiver")


def taking_otlp(directory):
    """A Prometheus that takes OTLP, built from its Go module."""
    return Prometheus(directory, built("prometheus"), "--web.enable-otlp-receiver")


class Jaeger:
    """Jaeger with its storage in memory: what it had is gone when it is stopped."""

    def __init__(self, directory):
        self.directory = directory
        self.port, self.otlp = free_port(), free_port()
        self.process = None

    def start(self):
        environment = {
            "JAEGER_PORT": str(self.port), "JAEGER_OTLP_PORT": str(self.otlp), "JAEGER_GRPC_PORT": str(free_port()),
        }  # fmt: skip
        command = [built("jaeger"), "--config", PEERS / "jaeger" / "jaeger.yaml"]
        self.process = Process(command, self.directory / "jaeger.log", environment)
        wait(lambda: self.process.alive() and self.ask("services"), "Jaeger")
        return self

    def stop(self):
        self.process.stop(signal.SIGKILL)  # asked to end, it takes up to a quarter of a minute

    __enter__ = start

    def __exit__(self, *exc):
        self.stop()

    def ask(self, path):
        return fetched(f"http://127.0.0.1:{self.port}/api/{path}")

    def spans(self, trace_id):
        """Return the spans of a trace as Jaeger's API gives them, each with its process."""
        found = self.ask(f"traces/{trace_id}")
        return [
            span | {"process": trace["processes"][span["processID"]]}
            for trace in (found or {"data": ()})["data"]
            for span in trace["spans"]
        ]
