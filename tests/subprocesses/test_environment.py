# SPDX-License-Identifier: Apache-2.0
"""What a subprocess is given, by every way that Python has to start one."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys

import pytest

from otel_openstack.patching.guard import resume, suspend
from otel_openstack.runtime import inheritance
from tests import green

LAUNCHER = "/site-packages/opentelemetry/instrumentation/auto_instrumentation"
SHELLS = {"PWD", "OLDPWD", "SHLVL", "_", "LINES", "COLUMNS"}  # what a shell adds, and readline in C


def wait(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def by_fork(execute, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            execute(*arguments)
        finally:
            os._exit(99)
    wait(pid)


def by_pty(program):
    pty.spawn([program], lambda fd: os.read(fd, 1024))


async def by_asyncio(program):
    assert await (await asyncio.create_subprocess_exec(program)).wait() == 0


WAYS = {
    "Popen": lambda p: subprocess.run([p], check=True),
    "Popen with an environment": lambda p: subprocess.run([p], env=os.environ.copy(), check=True),
    "Popen with bytes": lambda p: subprocess.run([p], env=dict(os.environb), check=True),
    "Popen, arguments by position": lambda p: subprocess.Popen([p], -1, p, None, None, None, None, True, False).wait(),
    "Popen by posix_spawn": lambda p: subprocess.run([p], close_fds=False, check=True),
    "shell": lambda p: subprocess.run(p, shell=True, check=True),
    "system": lambda p: os.system(p),  # noqa: PLW0108 - what it is when it is called
    "system by keyword, bytes": lambda p: os.system(command=os.fsencode(p)),
    "popen": lambda p: os.popen(p).close(),
    "posix_spawn": lambda p: wait(os.posix_spawn(p, [p], os.environ)),
    "posix_spawnp": lambda p: wait(os.posix_spawnp(p, [p], os.environb)),
    "spawnv": lambda p: os.spawnv(os.P_WAIT, p, [p]),
    "spawnlpe": lambda p: os.spawnlpe(os.P_WAIT, p, p, os.environ),
    "execv": lambda p: by_fork(os.execv, p, [p]),
    "execvp": lambda p: by_fork(os.execvp, p, [p]),
    "execle": lambda p: by_fork(os.execle, p, p, os.environ),
    "execve by keyword": lambda p: by_fork(lambda: os.execve(path=p, argv=[p], env=os.environ)),
    "pty": by_pty,
    "asyncio": lambda p: asyncio.run(by_asyncio(p)),
}


@pytest.fixture
def program(tmp_path):
    """A program that writes down its environment."""
    script = tmp_path / "helper"
    script.write_text('#!/bin/sh\nenv > "$DUMP"\n')
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """The environment of a service under the launcher, and what a helper was given, once it has run."""
    dump = tmp_path / "dump"
    for name, value in {
        "DUMP": str(dump),
        "KEEP": "what is not ours",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=secret",
        "OTEL_PYTHON_DISTRO": "otel_openstack",
        "PYTHONPATH": os.pathsep.join([LAUNCHER, "/started here", "/theirs"]),
        inheritance.MARK: "1000:0:/started here",
    }.items():
        monkeypatch.setenv(name, value)
    return lambda: dict(line.partition("=")[::2] for line in dump.read_text().splitlines())


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("way", WAYS)
def test_a_helper_is_given_nothing_of_ours_and_all_else(telemetry, given, program, way):
    expected = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") and name not in {inheritance.MARK, *SHELLS}
    }
    with telemetry.patched("subprocesses"):
        WAYS[way](program)
    expected["PYTHONPATH"] = "/theirs"
    assert {name: value for name, value in given().items() if name not in SHELLS} == expected
    assert os.environ["PYTHONPATH"] == os.pathsep.join([LAUNCHER, "/started here", "/theirs"])


def test_a_service_that_is_switched_off_keeps_its_helpers_clean(telemetry, given, program):
    with telemetry.patched("subprocesses"):
        suspend()
        try:
            subprocess.run([program], check=True)
            os.system(f"{program}; true")
        finally:
            resume()
    assert [name for name in given() if "OTEL_" in name] == []


def test_a_path_that_was_not_set_before_is_not_set(telemetry, given, program, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([LAUNCHER, "/started here"]))
    with telemetry.patched("subprocesses"):
        subprocess.run([program], check=True)
        assert "PYTHONPATH" not in given()
        os.system(program)
        assert "PYTHONPATH" not in given()


def test_what_a_service_sets_for_a_subprocess_stays(telemetry, given, program):
    more = {"OTEL_SERVICE_NAME": "child", "OTEL_PYTHON_DISTRO": "another", "PYTHONPATH": "/of the child"}
    with telemetry.patched("subprocesses"):
        subprocess.run([program], env={**os.environ, **more}, check=True)
    found = given()
    assert more.items() <= found.items()
    assert "OTEL_EXPORTER_OTLP_HEADERS" not in found


def test_a_call_that_has_nothing_of_ours_passes_as_it_is(telemetry, monkeypatch):
    import _posixsubprocess

    calls = []
    monkeypatch.setattr(_posixsubprocess, "fork_exec", lambda *args: calls.append(args) or 1)
    command, environ = ["prog"], [b"A=1", b"B=2", b"A=3", b"odd"]
    with telemetry.patched("subprocesses"):
        _posixsubprocess.fork_exec(command, (b"prog",), True, (), None, environ, -1)
    assert calls[0][0] is command
    assert calls[0][5] is environ


@pytest.mark.parametrize("wrong", [{"A": None}, {1: "x"}, {"A=B": "x"}])
def test_wrong_calls_fail_as_they_do_without_us(telemetry, wrong, program):
    def errors():
        for call in (
            lambda: subprocess.Popen([program], env=wrong),
            lambda: os.posix_spawn(program, [program], wrong),
            lambda: os.execve(program, [], wrong),
            lambda: os.execve(program),
            lambda: os.execv(program, [None]),
            lambda: os.system(3),
        ):
            with pytest.raises((TypeError, ValueError)) as caught:
                call()
            yield caught.type

    before = list(errors())
    with telemetry.patched("subprocesses"):
        assert list(errors()) == before


def test_programs_that_an_operator_names_are_measured(telemetry, given, program):
    from otel_openstack import settings

    settings.use(settings.Settings(strict=True, subprocesses=("helper",)))
    with telemetry.patched("subprocesses"):
        subprocess.run([program], check=True)
    found = given()
    assert found["OTEL_EXPORTER_OTLP_HEADERS"] == "authorization=secret"
    assert found["PYTHONPATH"] == os.environ["PYTHONPATH"]
    # It is no helper of this process, wherever that is going to be looked at.
    assert inheritance.origin(found) == inheritance.Origin(os.geteuid(), 0, "/started here")


def test_undone_everything_is_as_it_was(telemetry):
    import _posixsubprocess

    names = ("execv", "execve", "system", "posix_spawn", "posix_spawnp")
    before = [*(getattr(os, name) for name in names), _posixsubprocess.fork_exec, subprocess._fork_exec]
    with telemetry.patched("subprocesses"):
        assert inheritance.MARK in os.environ
        assert subprocess._fork_exec is not before[-1]
    assert [*(getattr(os, name) for name in names), _posixsubprocess.fork_exec, subprocess._fork_exec] == before
    assert inheritance.MARK not in os.environ


def test_green_subprocesses():
    """Eventlet makes copies of the module, one of them from its source."""
    found = green.run(
        """
        import os, subprocess
        from eventlet import patcher
        instrumentation.install(("subprocesses",))
        os.environ["OTEL_SECRET"] = "canary"
        command = [sys.executable, "-c", "import os; print(*[name for name in os.environ if 'OTEL_' in name])"]
        green_one = subprocess
        import eventlet.green.subprocess
        for name, module in {"patched": green_one, "green": eventlet.green.subprocess,
                             "original": patcher.original("subprocess")}.items():
            out[name] = module.check_output(command).decode().split()
        out["popen"] = os.popen("env").read().count("OTEL_")
        """
    )
    assert found == {"patched": [], "green": [], "original": [], "popen": 0}


def test_copies_that_eventlet_made_before_us():
    code = """
import os, subprocess, sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
from eventlet import patcher
original = patcher.original("subprocess")
from otel_openstack import instrumentation
instrumentation.install(("subprocesses",))
os.environ["OTEL_SECRET"] = "canary"
for module in (subprocess, original):
    print(module.check_output("env").decode().count("OTEL_"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0"]


@pytest.mark.parametrize(
    ("command", "itself"),
    [
        (["/usr/bin/python3", "/bin/service", "--config", "a"], True),
        (["/bin/service", "--config", "a"], True),
        (["/usr/bin/python3", "-W", "/bin/service", "--config", "a"], True),
        (["sudo", "/bin/service", "--config", "a"], False),
        (["/usr/bin/python3", "-m", "prlimit", "--", "/bin/service", "--config", "a"], False),
        (["/bin/service", "--config", "b"], False),
        (["python", "-m", "service"], True),
        ([], False),
    ],
)
def test_a_service_that_starts_itself_anew(monkeypatch, command, itself):
    monkeypatch.setattr(sys, "argv", ["/bin/service", "--config", "a"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "service"])
    assert inheritance.is_itself(command) is itself


SPAWNED = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"


@pytest.mark.parametrize(
    ("executable", "command", "refused"),
    [
        ("/usr/bin/python3", ["/usr/bin/python3", "/usr/bin/privsep-helper"], True),
        ("/usr/bin/python3", ["/usr/bin/python3", "-c", SPAWNED, "--multiprocessing-fork"], False),
        # The emperor starts it from C, and has an interpreter itself, so that it is marked as measured.
        ("/usr/bin/uwsgi-core", ["/usr/bin/uwsgi-core", "--ini", "vassal.ini"], False),
    ],
)
def test_who_refuses_the_environment_of_another_process(monkeypatch, executable, command, refused):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "orig_argv", command)
    assert bool(inheritance.refusal({inheritance.MARK: f"{os.geteuid()}:1:"})) is refused
    assert not inheritance.refusal({inheritance.MARK: f"{os.geteuid()}:{os.getpid()}:"})
    assert not inheritance.refusal({inheritance.MARK: "nonsense"})


def test_the_resource_tracker_is_a_helper(telemetry, given):
    from multiprocessing import resource_tracker

    from tests.launched import environ_of

    tracker = resource_tracker.ResourceTracker()
    with telemetry.patched("subprocesses"):
        tracker.ensure_running()
    try:
        assert telemetry.wait(lambda: "DUMP" in environ_of(tracker._pid))  # it is a copy of this process at first
        found = environ_of(tracker._pid)
        assert [name for name in found if "OTEL_" in name] == []
        assert found["PYTHONPATH"] == "/theirs"
    finally:
        os.close(tracker._fd)
        os.waitpid(tracker._pid, 0)
        tracker._fd = tracker._pid = None
