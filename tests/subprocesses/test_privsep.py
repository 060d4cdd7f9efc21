# SPDX-License-Identifier: Apache-2.0
"""oslo.privsep's daemon, which has privileges, in both ways to start it: through sudo, and as a fork of the service."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests import launched
from tests.launched import BIN, traces_of_us

NOBODY = 65534
# Who may become root without a password, and take the whole environment along: PYTHONPATH too, which sudo would keep
# back, so that ours has to be out of it by then.
SUDOERS = """
Defaults:#65534 setenv, !requiretty, !env_reset, env_delete -= "PYTHONPATH", !secure_path
#65534 ALL=(root) NOPASSWD:SETENV: ALL
"""
# In a mount namespace of its own, so that the machine's sudoers stay as they are; and as a user who may read where the
# tests are, since that may be the home of root.
AS_NOBODY = (
    "unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/sudoers.d && exec "$@"', "{sudoers}",
    "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
    "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override",
)  # fmt: skip

HELPERS = """
import os, subprocess, sys
from oslo_privsep import priv_context
context = priv_context.PrivContext("helpers", cfg_section="helpers", pypath="helpers.context", capabilities=[])

@context.entrypoint
def look():
    from opentelemetry import trace
    with trace.get_tracer("theirs").start_as_current_span("in the helper"):
        pass
    inventory = sys.modules.get("otel_openstack.patching.inventory")
    entries = {entry.name: [entry.state.value, entry.reason] for entry in inventory.entries()} if inventory else None
    below = subprocess.check_output(["env"]).decode().splitlines()
    threads = len(os.listdir("/proc/self/task"))
    return [os.getpid(), os.geteuid(), dict(os.environ), entries, below, threads]
"""
SERVICE = """
import json, os, sys, time
from oslo_config import cfg
from oslo_privsep import priv_context
import helpers
from opentelemetry import trace
cfg.CONF([], project="thing")
cfg.CONF.set_override("helper_command", "sudo -E {helper}", group="helpers")
cfg.CONF.set_override("thread_pool_size", 1, group="helpers")
with trace.get_tracer("theirs").start_as_current_span("service"):
    pass
helpers.context.start(priv_context.Method.{method})
pid, *seen = helpers.look()
time.sleep(1.3)  # an export later
assert helpers.look()[0] == pid
print(json.dumps([pid, *seen, dict(os.environ)]))
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.call(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL) != 0,
    reason="needs root and a mount namespace, to let somebody else become root",
)


def run(directory, method, *, before=(), launcher=True, **more):
    (directory / "helpers.py").write_text(textwrap.dedent(HELPERS))
    code = SERVICE.format(helper=BIN / "privsep-helper", method=method)
    done = launched.run(directory, code, before=before, launcher=launcher, PYTHONPATH=str(directory), **more)
    assert done.done.returncode == 0, done.done.stderr
    return done, json.loads(done.said[-1])


@pytest.fixture
def place():
    """A directory that others than root can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def as_nobody(place):
    """What stands before a command that somebody else runs."""
    sudoers = place / "sudoers.d"
    sudoers.mkdir(mode=0o750)
    (sudoers / "tests").write_text(SUDOERS)
    (sudoers / "tests").chmod(0o440)
    (place / "otlp").mkdir()
    os.chown(place / "otlp", NOBODY, NOBODY)
    return tuple(word.format(sudoers=sudoers) for word in AS_NOBODY)


def test_the_helper_of_sudo_has_nothing_of_ours(place, as_nobody):
    done, (_, user, environ, entries, below, _, services) = run(place, "ROOTWRAP", before=as_nobody)
    assert user == 0
    assert traces_of_us(services) != []
    assert traces_of_us(environ) == []
    assert traces_of_us(dict(line.partition("=")[::2] for line in below)) == []
    assert environ["PYTHONPATH"] == str(place)
    assert entries is None
    assert [name for _, name in done.spans()] == ["service"]


def test_a_helper_of_sudo_that_was_given_our_environment_refuses(place, as_nobody):
    more = {"OTEL_OPENSTACK_DISABLED_PATCHES": "process.*"}
    done, (_, user, environ, entries, _, _, _) = run(place, "ROOTWRAP", before=as_nobody, **more)
    assert user == 0
    assert traces_of_us(environ) != []
    assert entries == {"distribution": ["skipped", f"runs as root with the environment of user {NOBODY}"]}
    assert [name for _, name in done.spans()] == ["service"]


def test_the_fork_of_a_service_exports_nothing(tmp_path):
    done, (pid, _, environ, entries, below, threads, services) = run(tmp_path, "FORK")
    assert traces_of_us(services) != []
    assert traces_of_us(environ) == []
    assert traces_of_us(dict(line.partition("=")[::2] for line in below)) == []
    assert environ["PYTHONPATH"] == str(tmp_path)
    assert [name for name, (state, _) in entries.items() if state in ("active", "waiting")] == []
    assert [(name, resource["process.pid"] == pid) for resource, name in done.spans()] == [("service", False)]
    bare = tmp_path / "bare"
    bare.mkdir()
    _, (_, _, _, entries, _, threads_without, _) = run(bare, "FORK", launcher=False)
    assert entries is None
    assert threads == threads_without
