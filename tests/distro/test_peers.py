# SPDX-License-Identifier: Apache-2.0
"""Beside the other instrumentation of OpenStack, as its wheels are: it imports eventlet before any service has chosen,
and one of its packages writes over the launcher's own file, and takes that along when it is removed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests import launched

PEERS = (
    "keystoneauth1",
    "keystonemiddleware",
    "openstacksdk",
    "oslo-log",
    "oslo-messaging",
    "oslo-service",
    "taskflow",
)
VERSION = "0.13.1"
OWN = f"opentelemetry-instrumentation=={metadata.version('opentelemetry-instrumentation')}"
WHEELS = Path(__file__).parents[2] / ".cache" / "peers" / VERSION
FILE = "opentelemetry/instrumentation/auto_instrumentation/sitecustomize.py"

# As nova does: it refuses to start where somebody else has imported eventlet before it.
SERVICE = """
import os, sys
early = sorted({"eventlet", "oslo_messaging", "oslo_service", "futurist", "requests", "urllib3"} & set(sys.modules))
if early:
    raise RuntimeError(f"{early} imported early")
if os.environ["BACKEND"] == "eventlet":
    import eventlet
    eventlet.monkey_patch()
from oslo_service import backend
backend.init_backend(backend.BackendType[os.environ["BACKEND"].upper()])
from oslo_config import cfg
import oslo_messaging
conf = cfg.CONF
conf([])
transport = oslo_messaging.get_rpc_transport(conf, "fake://")
target = oslo_messaging.Target(topic="topic", server="here")
class Endpoint:
    def answer(self, context):
        return 42
executor = "eventlet" if os.environ["BACKEND"] == "eventlet" else "threading"
server = oslo_messaging.get_rpc_server(transport, target, [Endpoint()], executor=executor)
server.start()
client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="topic"))
print(client.call({}, "answer"))
server.stop()
server.wait()
from opentelemetry import trace
print(type(trace.get_tracer_provider()).__module__)
"""
BACKENDS = ("threading", "eventlet")


@pytest.fixture(scope="session")
def wheels():
    """The wheels of the peers and of the launcher, fetched once."""
    if not (WHEELS / "complete").exists():
        names = [f"opentelemetry-instrumentation-{peer}=={VERSION}" for peer in PEERS]
        pip(sys.executable, "download", "--no-deps", "--dest", str(WHEELS), OWN, *names)
        (WHEELS / "complete").touch()
    return WHEELS


class Environment:
    """A virtual environment on top of that of the tests, which has the launcher and the peers for itself."""

    def __init__(self, directory, wheels):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
        self.python = directory / "bin" / "python"
        self.site = next(directory.glob("lib/python*/site-packages"))
        below = [path for path in site.getsitepackages() if Path(path).exists()]
        lines = [f"import site; site.addsitedir({path!r})" for path in below]
        (self.site / "below.pth").write_text("\n".join(lines))
        self.offline = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}

    def install(self, *names):
        pip(self.python, "install", "--no-deps", "--ignore-installed", *names, env=self.offline)

    def run(self, directory, **more):
        shutil.rmtree(directory / "otlp", ignore_errors=True)
        script = directory / "nova-thing"
        script.write_text(f"#!{self.python} -Wignore\n{SERVICE}")
        script.chmod(0o755)
        environ = launched.environment(directory, **more)
        done = subprocess.run(
            [self.site.parents[2] / "bin" / "opentelemetry-instrument", script],
            capture_output=True, text=True, cwd=directory, env=environ, timeout=60, check=False,
        )  # fmt: skip
        return launched.Run(done, directory)

    def obey(self, line):
        """Do what a line tells to run."""
        for command in line.split("run: ")[1].split(" && "):
            tool, *words = command.split()
            assert tool == "pip"
            pip(self.python, *words, env=self.offline)


def pip(python, *arguments, **how):
    subprocess.run([python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"], check=True, **how)


def peers(*names):
    return [f"opentelemetry-instrumentation-{name}=={VERSION}" for name in names]


def lines_of_ours(run):
    return [line for line in run.done.stderr.splitlines() if line.startswith("otel-openstack")]


@pytest.fixture
def environment(tmp_path, wheels):
    made = Environment(tmp_path / "venv", wheels)
    yield made
    shutil.rmtree(tmp_path / "venv")


def assert_measured(run):
    assert run.done.returncode == 0, run.done.stderr
    assert run.said == ["42", "otel_openstack.tracing.provider"]
    # A call and the work on it, each once, below the work of the thread that made it.
    assert sorted(name for _, name in run.spans())[1:] == ["topic/answer", "topic/answer"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_services_start_and_are_measured_once_beside_all_peers(tmp_path, environment, backend):
    environment.install(OWN)
    environment.install(*peers(*PEERS))
    stock = metadata.distribution("opentelemetry-instrumentation").locate_file(FILE)
    assert (environment.site / FILE).read_text() != Path(stock).read_text()
    # The option of the other file would have it import eventlet here and now.
    run = environment.run(tmp_path, BACKEND=backend, OTEL_PYTHON_EVENTLET_MONKEY_PATCH="true")
    assert_measured(run)
    (line,) = lines_of_ours(run)
    assert "was replaced by opentelemetry-instrumentation-oslo-service" in line
    assert "OTEL_PYTHON_EVENTLET_MONKEY_PATCH is ignored" in line
    assert "Traceback" not in run.done.stderr


def test_peers_before_the_launcher(tmp_path, environment):
    environment.install(*peers(*PEERS))
    environment.install(OWN)
    run = environment.run(tmp_path, BACKEND="threading")
    assert_measured(run)
    assert run.done.stderr == ""


@pytest.mark.parametrize("removed", [False, True])
def test_what_the_line_says_repairs_it(tmp_path, environment, removed):
    environment.install(OWN)
    environment.install(*peers("oslo-service"))
    if removed:
        pip(environment.python, "uninstall", "-y", "opentelemetry-instrumentation-oslo-service")
    run = environment.run(tmp_path, BACKEND="threading")
    assert_measured(run)  # by our own file; those that need the launcher's are not
    (line,) = lines_of_ours(run)
    assert ("starts unmeasured" in line) == removed
    environment.obey(line)
    run = environment.run(tmp_path, BACKEND="threading")
    assert_measured(run)
    assert run.done.stderr == ""


def test_a_switched_off_distribution_runs_none_of_their_hooks(tmp_path, environment):
    """One of them chooses the service's concurrency, whatever OpenTelemetry's own switches say."""
    environment.install(OWN)
    environment.install(*peers(*PEERS))
    run = environment.run(tmp_path, BACKEND="eventlet", OTEL_SDK_DISABLED="true")
    assert run.done.returncode == 0, run.done.stderr
    assert run.said[0] == "42"
