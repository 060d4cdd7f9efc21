# SPDX-License-Identifier: Apache-2.0
"""Services under the launcher, their helpers, which are left alone, and their workers, which are not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from otel_openstack.runtime import inheritance
from tests import launched
from tests.launched import BIN, traces_of_us
from tests.process_model import cells
from tests.sink import Sink

SPAN = """
from opentelemetry import trace
def work(name):
    with trace.get_tracer("theirs").start_as_current_span(name):
        pass
"""


def only_line(run):
    assert run.done.returncode == 0, run.done.stderr
    return json.loads(run.said[-1])


def test_qemu_img_through_prlimit(tmp_path):
    """How nova and cinder look at an image: a Python helper that limits itself and becomes qemu-img."""
    python = tmp_path / "timed-python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -X importtime "$@"\n')
    python.chmod(0o755)
    run = launched.run(
        tmp_path,
        """
        import json
        from oslo_concurrency import processutils
        limits = processutils.ProcessLimits(cpu_time=30, address_space=4 << 30)
        def execute(*command):
            return processutils.execute(*command, prlimit=limits)
        execute("qemu-img", "create", "-f", "qcow2", "disk", "1M")
        out, err = execute("qemu-img", "info", "--output=json", "disk")
        environ, times = processutils.execute("env", prlimit=limits, python_exec="./timed-python")
        print(json.dumps([json.loads(out)["virtual-size"], err, environ, times]))
        """,
    )
    size, errors, environ, imports = only_line(run)
    assert (size, errors) == (1 << 20, "")
    assert traces_of_us(dict(line.partition("=")[::2] for line in environ.splitlines())) == []
    assert "argparse" in imports
    assert "opentelemetry" not in imports


WORKERS = """
import json, multiprocessing, os, sys
from multiprocessing import resource_tracker
{span}
def worker(name):
    work(name)
    print(json.dumps([os.getpid(), os.getppid()]), flush=True)

if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    work("parent")
    for number in range(2):
        child = context.Process(target=worker, args=(f"work {{number}}",))
        child.start()
        child.join()
    with open(f"/proc/{{resource_tracker._resource_tracker._pid}}/environ") as file:
        print(json.dumps(file.read()))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("launcher", [True, False])
def test_workers_of_multiprocessing_stay_measured(tmp_path, method, launcher):
    code = WORKERS.format(span=SPAN, method=method)
    switched_on = 'import sys\nif __name__ == "__main__":\n    import otel_openstack.auto\n'
    run = launched.run(tmp_path, code if launcher else switched_on + code, launcher=launcher)
    *workers, tracker = map(json.loads, run.said)
    found = run.spans()
    assert sorted(name for _, name in found) == ["parent", "work 0", "work 1"], run.done.stderr
    pids = {resource["process.pid"] for resource, name in found if name != "parent"}
    assert pids == {pid for pid, _ in workers}
    assert {resource["service.name"] for resource, _ in found} == {"nova-thing"}
    assert traces_of_us(dict(entry.partition("=")[::2] for entry in tracker.split("\0"))) == []


HELPERS = """
import json, os, subprocess, sys
{span}
work("service")
helper = [sys.executable, "-c", {helper!r}]
print(json.dumps([json.loads(subprocess.check_output({front} + helper)), os.getpid()]))
"""
HELPER = """
import json, os, sys
from opentelemetry import trace
with trace.get_tracer("theirs").start_as_current_span("helper"):
    pass
inventory = sys.modules.get("otel_openstack.patching.inventory")
print(json.dumps([dict(os.environ), [entry.reason for entry in inventory.entries()] if inventory else None]))
"""
NOT_STRIPPED = {"OTEL_OPENSTACK_DISABLED_PATCHES": "process.*"}


def helper(front=()):
    return HELPERS.format(span=SPAN, helper=HELPER, front=list(front))


def test_a_python_helper_is_not_measured(tmp_path):
    run = launched.run(tmp_path, helper())
    (environ, entries), _ = only_line(run)
    assert traces_of_us(environ) == []
    assert entries is None
    assert [name for _, name in run.spans()] == ["service"]


def test_a_helper_that_was_started_behind_our_back_is_refused(tmp_path):
    """As from C: nothing was taken out of its environment."""
    run = launched.run(tmp_path, helper(), **NOT_STRIPPED)
    (environ, entries), pid = only_line(run)
    assert traces_of_us(environ) != []
    assert entries == [f"is a subprocess of process {pid} and none of its workers"]
    assert [name for _, name in run.spans()] == ["service"]
    assert run.done.stderr == ""


def test_a_program_under_the_launcher_by_name_is_measured(tmp_path):
    run = launched.run(tmp_path, helper([str(BIN / "opentelemetry-instrument")]))
    (_, entries), _ = only_line(run)
    assert entries
    assert sorted(name for _, name in run.spans()) == ["helper", "service"]


def test_a_shell_that_the_launcher_starts_may_start_the_service(tmp_path):
    """As the entry point of a container does."""
    script = launched.service(tmp_path, SPAN + "work('service')")
    shell = tmp_path / "start"
    shell.write_text(f"#!/bin/sh\n{script}\ntrue\n")
    shell.chmod(0o755)
    environ = launched.environment(tmp_path)
    subprocess.run([BIN / "opentelemetry-instrument", shell], env=environ, cwd=tmp_path, check=True)
    assert [name for _, name in launched.Run(None, tmp_path).spans()] == ["service"]


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
"""Root is what these tests are about: who is not root cannot become it here."""


@as_root
@pytest.mark.parametrize(("user", "spans"), [(0, ["service"]), (65534, [])])
def test_root_with_the_environment_of_somebody_else(tmp_path, user, spans):
    """A service that root starts is measured; a root process that took over what a user set up is not."""
    script = launched.service(tmp_path, SPAN + "work('service')")
    environ = launched.environment(tmp_path, _OTEL_OPENSTACK_ORIGIN=f"{user}:0:")
    place = metadata.distribution("opentelemetry-instrumentation").locate_file("opentelemetry/instrumentation")
    environ |= {"PYTHONPATH": f"{place}/auto_instrumentation", "OTEL_PYTHON_DISTRO": "otel_openstack"}
    done = subprocess.run([script], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [name for _, name in launched.Run(done, tmp_path).spans()] == spans
    assert done.stderr == ""


@pytest.mark.servers
@pytest.mark.parametrize(
    ("kind", "reload", "options"),
    [
        # The uWSGI that pip installs is a module, which executes the interpreter that the virtual environment has.
        ("uwsgi-lazy", signal.SIGHUP, ["--binary-path", sys.executable]),
        ("gunicorn", signal.SIGUSR2, []),
    ],
)
def test_a_server_that_executes_itself_anew_stays_measured(kind, reload, options):
    """uWSGI does so from C, under the same pid, gunicorn in a child. Helpers of the new one are as those of the old."""
    front = (str(BIN / "opentelemetry-instrument"),)
    with Sink() as sink, cells.serving(kind, sink, *options, front=front) as server:
        master = server.process.pid
        old = {server.get() for _ in range(20)}
        server.process.send_signal(reload)
        try:
            assert sink.wait(lambda: answer(server) not in {0, *old}, 15), server.log.read_text()
            if reload == signal.SIGUSR2:
                server.process.terminate()
                server.process.wait(30)
            new = server.get()
            assert new not in old
            assert sink.wait(lambda: new in sink.spans_by_pid()), server.log.read_text()
            origin = inheritance.origin(launched.environ_of(parent_of(new)))
            assert origin is not None
            assert origin.process == (master if reload == signal.SIGHUP else 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(master, signal.SIGKILL)  # the new master of gunicorn too


def answer(server):
    """Return the pid of the worker that answers, 0 if none does for the moment."""
    with contextlib.suppress(OSError, ValueError):
        return server.get()
    return 0


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
