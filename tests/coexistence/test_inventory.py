# SPDX-License-Identifier: Apache-2.0
"""What stepped aside, and why, stands in the start-up line; it is written again, complete, when more shows later."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_openstack import announcement
from otel_openstack.patching import inventory
from otel_openstack.patching.inventory import Entry, State

NAME = "the tracing of somebody"
BIN = Path(sys.executable).parent
LINE = re.compile(r"otel-openstack: version .* measures nova-thing at level basic; active: .*; exports ")
# A service as services are: its log set up from its configuration, other tools' tracing on in that.
SERVICE = """
import os
from oslo_config import cfg
from oslo_log import log
from oslo_messaging import _tracing
from oslo_middleware import tracing
from osprofiler import notifier, opts
conf = cfg.CONF
log.register_options(conf)
conf([], project="thing")
conf.set_override("log_file", "service.log")
conf.set_override("tracing_enabled", True, "oslo_messaging_tracing")
tracing._register_opts(conf)
conf.set_override("enabled", True, "oslo_middleware_tracing")
opts.set_defaults(conf, enabled=True, connection_string="otlp://127.0.0.1:9")
conf.register_opts(opts._OTLP_OPTS, group="profiler_otlp")
log.setup(conf, "thing")
log.getLogger("thing").info("log is set up")
tracing.init_tracing(conf)
log.getLogger("thing").info("filter is made")
driver = notifier.create("otlp://127.0.0.1:9", project="nova", service="api", host="here", conf=conf).__self__
driver.trace_api.get_tracer_provider().shutdown()
log.getLogger("thing").info("profiler is made")
if child := os.fork():
    os.waitpid(child, 0)
else:
    tracing.init_tracing(conf)
    _tracing.trace_send(conf, None, None, None, None)
    os._exit(0)
"""
MESSAGING = "oslo.messaging's tracing (its messages are traced already)"
MIDDLEWARE = "oslo.middleware's tracing (its requests are traced already)"
PROFILER = "osprofiler's OTLP driver (has a tracer provider of its own; "


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """What was told to somebody who asked for what steps aside."""
    told: list[str] = []
    before = list(inventory._watchers)
    inventory.when_aside(lambda: told.append("again"))
    yield told
    inventory._watchers[:] = before
    inventory.forget(NAME)


def test_what_steps_aside_is_told_once(seen: list[str]) -> None:
    inventory.aside(NAME, "is done already")
    assert NAME in inventory.names(State.ASIDE)
    inventory.aside(NAME, "is done already")
    assert seen == ["again"]
    inventory.aside(NAME, "for another reason")
    assert seen == ["again", "again"]


def test_instrumentors_stand_together_under_their_reason() -> None:
    entries = [
        Entry("hook early", State.ASIDE, "imports too much"),
        Entry("instrumentor one", State.ASIDE, "comes early"),
        Entry("instrumentor two", State.ASIDE, "counts twice"),
        Entry("instrumentor six", State.ASIDE, "comes early"),
    ]
    assert announcement.stepped_aside(entries) == (
        "hook early (imports too much), instrumentors one six (comes early), instrumentors two (counts twice)"
    )


def test_the_last_start_up_line_tells_all_that_the_configuration_switched_on(tmp_path: Path) -> None:
    script = tmp_path / "nova-thing"
    script.write_text(f"#!{sys.executable}\n{SERVICE}")
    script.chmod(0o755)
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "otlp_file"}
    done = subprocess.run(
        [str(BIN / "opentelemetry-instrument"), str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "service.log").read_text().splitlines()
    told = [words for line in lines if (words := _words(line))]
    assert told == [
        {MESSAGING}, "log is set up",
        {MESSAGING, MIDDLEWARE}, "filter is made",
        {MESSAGING, MIDDLEWARE, PROFILER}, "profiler is made",
    ]  # fmt: skip
    start_up = [line for line in lines if LINE.search(line)]
    assert all("instrumentors " in line and "would record what is recorded already" in line for line in start_up)


def _words(line: str) -> str | set[str]:
    """A start-up line as who is in it, a line of the service as what it says; others are nothing."""
    if LINE.search(line):
        return {name for name in (MESSAGING, MIDDLEWARE, PROFILER) if name in line}
    return line.rpartition("] ")[2] if " thing [" in line else ""
