# SPDX-License-Identifier: Apache-2.0
"""What is published is complete: the sdist has every file, the wheel all that it needs, and it works alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENTRIES = (
    "opentelemetry_distro", "opentelemetry_configurator", "opentelemetry_post_instrument",
    "opentelemetry_environment_variables", "pytest11", "console_scripts",
)  # fmt: skip
SHOW = """
from opentelemetry import metrics, trace
from importlib.resources import files
print(type(trace.get_tracer_provider()).__module__)
print(files("otel_openstack").joinpath("registry", "http.yaml").is_file())
"""


def run(*command, **environment):
    done = subprocess.run(
        command, cwd=environment.pop("cwd", ROOT), env=os.environ | environment, stdin=subprocess.DEVNULL, text=True,
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is made from it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), ".", PYTHONWARNINGS="ignore")
    return next(directory.glob("*.tar.gz")), next(directory.glob("*.whl"))


def kept(*places):
    """The files that git knows and that are there."""
    names = run("git", "ls-files", *places).splitlines()
    return {name for name in names if (ROOT / name).exists()}


def test_the_sdist_has_every_file(built):
    with tarfile.open(built[0]) as sdist:
        assert kept() <= {name.partition("/")[2] for name in sdist.getnames()}


def test_the_wheel_has_what_it_needs(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        entries = wheel.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert kept("otel_openstack") <= names
    assert {f"otel_openstack/{name}" for name in kept("registry", "examples/service")} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "otel_openstack/py.typed" in names
    assert all(f"[{group}]" in entries for group in ENTRIES)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"otel_openstack"}


def test_the_wheel_works_in_an_environment_of_its_own(built, tmp_path):
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    tools = tmp_path / "venv" / "bin"
    run(
        str(tools / "pip"),
        "install",
        "--quiet",
        "--no-compile",
        "--no-input",
        "--disable-pip-version-check",
        str(built[1]),
    )
    run(str(tools / "pip"), "check")
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    shown = run(str(tools / "opentelemetry-instrument"), "python", "-c", SHOW, **path, cwd=tmp_path)
    assert shown.split() == ["otel_openstack.tracing.provider", "True"]
    assert "trace" in run(str(tools / "otel-openstack"), "--help", **path, cwd=tmp_path)
    lacking = subprocess.run(
        [tools / "otel-openstack", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (lacking.returncode, lacking.stderr.count("\n")) == (2, 1)
    assert lacking.stderr.endswith(": pip install 'otel-openstack[demo]'\n")


def test_the_demo_runs_from_the_wheel(built, tmp_path):
    """Its files go before those of this checkout; the libraries that it needs are those of the tests."""
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(tmp_path / "site")
    code = "import sys; from otel_openstack.cli.main import main; sys.exit(main())"
    shown = run(sys.executable, "-c", code, "demo", cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert f"the service's code: {tmp_path}/site/otel_openstack/examples/service\n" in shown
    assert f"the page: {tmp_path}/otel-openstack-demo/index.html\n" in shown
    assert str(ROOT / "otel_openstack") not in (tmp_path / "otel-openstack-demo" / "index.html").read_text()
