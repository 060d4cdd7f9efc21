# SPDX-License-Identifier: Apache-2.0
"""What the launcher loads of other packages beside ours: all that does no harm, each for itself."""

from __future__ import annotations

from tests import launched

PACKAGE = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Instrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ()
    def _instrument(self, **kwargs):
        print("instrumented", type(self).__name__)
    def _uninstrument(self, **kwargs):
        pass

class Broken(Instrumentor):
    def _instrument(self, **kwargs):
        raise RuntimeError("not today")

class Missing(Instrumentor):
    def _instrument(self, **kwargs):
        import nosuchlibrary

class Working(Instrumentor):
    pass

def prepare():
    print("prepared")

def choose():
    print("the concurrency is chosen")
"""
ENTRY_POINTS = """
[opentelemetry_instrumentor]
a_broken = theirs:Broken
b_missing = theirs:Missing
c_working = theirs:Working
oslo_service = theirs:Working

[opentelemetry_pre_instrument]
theirs = theirs:prepare
oslo_service = theirs:choose
"""
SERVICE = """
from opentelemetry.instrumentation.auto_instrumentation import _load
from otel_openstack.patching import inventory
print(_load.entry_points.__module__)
THEIRS = ("hook oslo_service", "instrumentor a_broken", "instrumentor b_missing", "instrumentor c_working",
          "instrumentor oslo_service")
for entry in inventory.entries():
    if entry.name in THEIRS:  # others may be installed here
        print(entry.name, entry.state.value, entry.reason)
"""


def install(directory):
    """Install a package with such entry points into `directory`, as a wheel would be."""
    info = directory / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (directory / "theirs.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return str(directory)


def test_each_is_loaded_for_itself_and_those_that_stop_services_are_not(tmp_path):
    run = launched.run(tmp_path, SERVICE, PYTHONPATH=install(tmp_path / "site"))
    assert run.done.returncode == 0
    assert run.said == [
        "prepared",
        "instrumented Working",
        "opentelemetry.util._importlib_metadata",
        "hook oslo_service stepped aside chooses the concurrency of oslo.service for the service, and imports eventlet",
        "instrumentor a_broken failed RuntimeError('not today')",
        "instrumentor c_working active ",
        "instrumentor oslo_service stepped aside imports its library before the service has chosen its concurrency",
    ]
    (line,) = run.done.stderr.splitlines()
    assert line == (
        "otel-openstack: instrumentor a_broken of another package failed and is left out: RuntimeError('not today')"
    )


def test_those_that_an_operator_asks_for_are_loaded(tmp_path):
    site = install(tmp_path / "site")
    run = launched.run(tmp_path, SERVICE, PYTHONPATH=site, OTEL_OPENSTACK_INSTRUMENTORS="oslo-service")
    assert run.said[:3] == ["prepared", "the concurrency is chosen", "instrumented Working"]


def test_without_us_they_are_left_out_too(tmp_path):
    """Nothing is measured, so nothing is changed in the service."""
    code = SERVICE.partition("for entry")[0]
    run = launched.run(tmp_path, code, PYTHONPATH=install(tmp_path / "site"), OTEL_SDK_DISABLED="true")
    assert (run.said, run.done.stderr) == (["opentelemetry.util._importlib_metadata"], "")


def test_one_start_and_one_origin_under_a_launcher_below_a_launcher(tmp_path):
    """As an operator does in a shell that was started so: the inner launcher's own process is no service."""
    code = """
    import os
    from otel_openstack.runtime import inheritance
    origin = inheritance.origin(os.environ)
    print(origin.process == os.getpid(), origin.added, os.environ["PYTHONPATH"].count("auto_instrumentation"))
    from opentelemetry import trace
    with trace.get_tracer("theirs").start_as_current_span("service"):
        pass
    """
    outer = (str(launched.BIN / "opentelemetry-instrument"),)
    run = launched.run(tmp_path, code, before=outer)
    assert (run.done.stderr, run.said) == ("", [f"True {tmp_path} 1"])
    assert [name for _, name in run.spans()] == ["service"]
