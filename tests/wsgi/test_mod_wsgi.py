# SPDX-License-Identifier: Apache-2.0
"""mod_wsgi in a real Apache: a script of no framework that switches us on in its first line.

Apache runs in daemon mode with two processes, as deployments of keystone do. It is not started as root: the processes
of its daemon may not be root's, and may be unable to read where these tests are (they keep the right to).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_openstack.analysis.metrics import read as read_metrics
from otel_openstack.analysis.otlp import Recording
from otel_openstack.analysis.spans import spans_of
from tests.wsgi.test_servers import spread, wait

MODULES = Path("/usr/lib/apache2/modules")
SERVER = Path("/usr/sbin/apache2")
NOBODY = "65534"
AS_NOBODY = ("setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps", "+dac_override",
             "--ambient-caps", "+dac_override")  # fmt: skip
BUILT_FOR = MODULES / f"mod_wsgi.so-{sys.version_info[0]}.{sys.version_info[1]}"
CONFIG = """
ServerRoot {directory}
ServerName localhost
PidFile {directory}/pid
Mutex pthread
Listen 127.0.0.1:{port}
ErrorLog {directory}/log
LogLevel warn
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
WSGISocketPrefix {directory}/wsgi
WSGIDaemonProcess api processes=2 threads=4 home=/ python-home={venv}
{alias}
<Directory {directory}>
Require all granted
</Directory>
"""
GLOBAL = "WSGIScriptAlias / {directory}/plain.wsgi process-group=api application-group=%{{GLOBAL}}"
APART = "\n".join(
    f"WSGIScriptAlias /{name} {{directory}}/plain.wsgi process-group=api application-group={name}" for name in "ab"
)
SCRIPT = Path(__file__).parent / "scripts" / "plain.wsgi"

SAID = "an application is not measured: it runs in a sub-interpreter"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(not BUILT_FOR.exists() or not SERVER.exists(), reason="no mod_wsgi for this Python"),
]


class Apache:
    """A server in a process of its own, with directory and port of its own."""

    def __init__(self, directory: Path, alias: str = GLOBAL) -> None:
        self.otlp = directory / "otlp"
        self.log = directory / "log"
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        directory.chmod(0o777)
        (directory / "plain.wsgi").write_text(f"import otel_openstack.auto\n{SCRIPT.read_text()}")
        alias = alias.format(directory=directory)
        config = CONFIG.format(directory=directory, port=self.port, modules=MODULES, venv=sys.prefix, alias=alias)
        (directory / "httpd.conf").write_text(config)
        self.process = subprocess.Popen(
            [*(AS_NOBODY if os.geteuid() == 0 else ()), SERVER, "-f", directory / "httpd.conf", "-DFOREGROUND"],
            env={
                "PATH": os.environ["PATH"],
                "OTEL_SERVICE_NAME": "demo",
                "OTEL_TRACES_EXPORTER": "otlp_file",
                "OTEL_METRICS_EXPORTER": "otlp_file",
                "OTEL_OPENSTACK_FILE_DIRECTORY": str(self.otlp),
            },
            start_new_session=True,
        )
        wait(self.listens, self.text)

    def listens(self) -> bool:
        assert self.process.poll() is None, self.text()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return bytes(answer.read())

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            finally:
                self.process.kill()


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[Apache]:
    started = Apache(tmp_path)
    try:
        yield started
    finally:
        started.stop()


def test_each_request_once_and_nothing_lost_when_processes_are_replaced(apache: Apache) -> None:
    paths = [f"/before/{number}" for number in range(30)]
    assert [apache.get(path) for path in paths] == [b"ok"] * 30
    first = exporters(apache)
    apache.process.send_signal(signal.SIGUSR1)  # apachectl graceful: the daemon's processes end, others begin
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in first), apache.text)
    after = [f"/after/{number}" for number in range(30)]
    assert [apache.get(path) for path in after] == [b"ok"] * 30
    began = time.monotonic()
    apache.stop()
    assert apache.process.returncode == 0
    assert time.monotonic() - began < 10, "has to be killed"
    requests = list(Recording(apache.otlp).requests())
    spans = [span for request in requests for span in spans_of(request) if span.kind == "SERVER"]
    assert Counter(span.attributes["url.path"] for span in spans) == Counter([*paths, *after]), apache.text()
    files = list(apache.otlp.glob("*.jsonl"))  # one a process
    instances = [{span.instance for each in Recording(file).requests() for span in spans_of(each)} for file in files]
    assert sum(map(len, instances)) == len(set.union(*instances)) >= 2
    assert max(map(len, instances)) == 1
    (durations,) = [
        metric.series.values()
        for metric in read_metrics(requests).services()["demo"]
        if metric.name == "http.server.request.duration"
    ]
    assert sum(spread(series).count for series in durations) == 60


def test_applications_in_sub_interpreters_work_and_say_that_they_are_not_measured(tmp_path: Path) -> None:
    apache = Apache(tmp_path, APART)
    try:
        assert [apache.get(f"/{name}/x") for name in "ab" * 10] == [b"ok"] * 20
        wait(lambda: apache.text().count(SAID) >= 2, apache.text)
    finally:
        apache.stop()
    assert apache.process.returncode == 0
    assert apache.text().count(SAID) <= 2 * 2, "more than once an application and process"
    assert "exit signal" not in apache.text(), apache.text()
    assert not apache.otlp.exists()


def exporters(apache: Apache) -> set[str]:
    """The processes that have begun to export: where requests came one by one, that may be a single one."""
    wait(lambda: any(apache.otlp.glob("*.jsonl")), apache.text)
    return {path.name.split("-")[1] for path in apache.otlp.glob("*.jsonl")}
