# SPDX-License-Identifier: Apache-2.0
"""The start under the launcher by a file of ours: what it loads and what not, and when the launcher runs its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import pytest

from otel_openstack.runtime import inheritance, installed
from tests import launched

# What the launcher's own start brings into every process, and is not needed where nothing else is to be loaded; and
# what our own modules are not to bring in either.
DEAR = ("opentelemetry.instrumentation", "wrapt", "packaging", "asyncio", "importlib.metadata", "email", "zipfile")
LOADED = f"""
import sys
print(*[name for name in sys.modules if name.startswith({DEAR!r})])
print("opentelemetry.sdk" in sys.modules)
"""
OURS = f"otel_openstack/{inheritance.OWN_DIRECTORY}"
OTHER = """
from opentelemetry.instrumentation.distro import BaseDistro

class Other(BaseDistro):
    def _configure(self, **kwargs):
        print("the other one")
"""


def other(directory):
    """Install another distribution into `directory`."""
    info = directory / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (directory / "other.py").write_text(OTHER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_distro]\nother = other:Other\n")
    return str(directory)


def test_a_start_loads_nothing_that_it_does_not_need(tmp_path):
    code = LOADED + "import os; print(os.environ['PYTHONPATH'].partition(':')[0])"
    run = launched.run(tmp_path, code)
    assert (run.done.stderr, run.said[:2]) == ("", ["", "True"])
    assert run.said[2].endswith(OURS)


def test_a_switched_off_process_loads_nothing_at_all(tmp_path):
    run = launched.run(tmp_path, LOADED, OTEL_SDK_DISABLED="true")
    assert (run.done.stderr, run.said) == ("", ["", "False"])


@pytest.mark.parametrize("how", ["variable", "option"])
def test_another_distribution_that_an_operator_names_is_loaded_by_the_launcher(tmp_path, how):
    code = "from otel_openstack import distro\nprint(distro.active())"
    site = other(tmp_path / "site")
    variables = {"OTEL_PYTHON_DISTRO": "other", "OTEL_PYTHON_CONFIGURATOR": "none"}
    more = variables if how == "variable" else {}
    command = ["opentelemetry-instrument"] + (["--distro", "other", "--configurator", "none"] if not more else [])
    done = subprocess.run(
        [launched.BIN / command[0], *command[1:], launched.service(tmp_path, code)],
        env=launched.environment(tmp_path, PYTHONPATH=site, **more), cwd=tmp_path,
        capture_output=True, text=True, check=True, timeout=90,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["the other one", "False"]
    assert "otel-openstack is installed but not active" in done.stderr


def test_the_launchers_own_directory_starts_us_too(tmp_path):
    """As where an operator of Kubernetes puts it into PYTHONPATH: there is no process of the launcher that chooses."""
    place = metadata.distribution("opentelemetry-instrumentation").locate_file(inheritance.DIRECTORIES[0])
    code = """
    from opentelemetry import trace
    with trace.get_tracer("theirs").start_as_current_span("service"):
        pass
    """
    run = launched.run(tmp_path, code, launcher=False, PYTHONPATH=str(place), OTEL_PYTHON_DISTRO="otel_openstack")
    assert run.done.stderr == ""
    assert [name for _, name in run.spans()] == ["service"]


def test_what_is_started_meanwhile_does_not_start_itself(tmp_path):
    """As by a resource detector of others."""
    site = tmp_path / "site"
    info = site / "detector-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "detector.py").write_text(
        "import os, subprocess, sys\n"
        "from opentelemetry.sdk.resources import Resource, ResourceDetector\n"
        "class Detector(ResourceDetector):\n"
        "    def detect(self):\n"
        "        code = 'import sys; print(\"otel_openstack\" in sys.modules)'\n"
        "        return Resource({'below': subprocess.check_output([sys.executable, '-c', code], text=True).strip()})\n"
    )
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: detector\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[opentelemetry_resource_detector]\nbelow = detector:Detector\n")
    code = "from otel_openstack import resource\nprint(resource.current().attributes['below'])"
    run = launched.run(tmp_path, code, PYTHONPATH=str(site), OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="below")
    assert (run.done.stderr, run.said) == ("", ["False"])


def test_a_misspelt_propagator_fails_no_application(tmp_path):
    environ = launched.environment(tmp_path, OTEL_PROPAGATORS="nonsense")
    code = "import otel_openstack.auto as auto; print(auto.active)"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "this process is not measured: ValueError('Propagator nonsense not found." in done.stderr


GROUPS = ("opentelemetry_instrumentor", "opentelemetry_distro", "opentelemetry_post_instrument", "pytest11")


def test_packages_are_as_importlib_tells(tmp_path, monkeypatch):
    """In the environment of the tests, and of the older kinds."""
    (tmp_path / "Some_thing-1.2.egg-info").write_text("Metadata-Version: 1.0\nName: Some-thing\nVersion: 1.2\n\nText\n")
    egg = tmp_path / "an_egg-3-py3.11.egg" / "EGG-INFO"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: an-egg\nVersion: 3\n")
    (egg / "entry_points.txt").write_text("[console_scripts]\na = b:c\n\n[pytest11]\n# none\nd = e\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(egg.parent), *sys.path])
    names = {found.metadata["Name"] for found in metadata.distributions()}
    assert {"Some-thing", "an-egg", "otel-openstack", "opentelemetry-sdk"} <= names
    assert {name: installed.version(name) for name in names} == {name: metadata.version(name) for name in names}
    assert installed.version("no-such-package") == ""
    assert installed.version("no-such-package", "an-egg") == "3"
    points = {(point.group, point.name) for group in GROUPS for point in metadata.entry_points(group=group)}
    assert set(installed.entry_points(GROUPS)) == points
    assert ("pytest11", "d") in points


def test_archives_in_the_path_are_left_to_importlib(tmp_path, monkeypatch):
    (tmp_path / "packages.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [*sys.path, os.fspath(tmp_path / "packages.zip")])
    assert installed.entry_points(GROUPS) is None
