# SPDX-License-Identifier: Apache-2.0
"""How the distribution is switched on, in processes of their own, as an operator starts them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
FILE = {"OTEL_TRACES_EXPORTER": "otlp_file", "OTEL_METRICS_EXPORTER": "otlp_file"}
WORK = """
import sys
from opentelemetry import trace, metrics
with trace.get_tracer("theirs").start_as_current_span("work"):
    metrics.get_meter("theirs").create_counter("theirs.count").add(3)
print("served", type(trace.get_tracer_provider()).__module__)
"""
OTHER = """
import sys
class Distro:
    def __init__(self): sys.stderr.write("other distro chosen\\n")
class Configurator:
    def configure(self, **kwargs): sys.stderr.write("other configurator chosen\\n")
"""


def run(tmp_path, *command, code=WORK, launcher=True, **environment):
    script = tmp_path / "nova-thing"
    script.write_text(f"#!{sys.executable}\n{code}")
    script.chmod(0o755)
    front = [str(BIN / "opentelemetry-instrument")] if launcher else []
    return subprocess.run(
        [*front, *(command or (str(script),))],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
        env={"PATH": f"{BIN}:/usr/bin:/bin", **FILE, **environment},
    )


def ours(done):
    """Return the lines of ours on standard error."""
    return [line for line in done.stderr.splitlines() if line.startswith("otel-openstack") or "Traceback" in line]


def exported(directory):
    """Return the spans and the metrics that were written, each with its resource."""
    spans, metrics = [], []
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            data = json.loads(line)
            for part in data.get("resourceSpans", ()):
                spans += [(resource(part), span) for scope in part["scopeSpans"] for span in scope["spans"]]
            for part in data.get("resourceMetrics", ()):
                metrics += [(resource(part), metric) for scope in part["scopeMetrics"] for metric in scope["metrics"]]
    return spans, metrics


def resource(part):
    return {pair["key"]: next(iter(pair["value"].values())) for pair in part["resource"]["attributes"]}


def other_distribution(directory):
    """Install another distribution into `directory`, as a wheel would be."""
    info = directory / "other_distro-1.0.dist-info"
    info.mkdir(parents=True)
    (directory / "other_distro.py").write_text(OTHER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-distro\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[opentelemetry_distro]\nother = other_distro:Distro\n"
        "[opentelemetry_configurator]\nother = other_distro:Configurator\n"
    )
    return str(directory)


def test_the_launcher_starts_a_service_under_its_own_name(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served otel_openstack.tracing.provider\n", "")
    spans, metrics = exported(tmp_path / "otlp")
    ((about, span),) = spans
    assert span["name"] == "work"
    assert (about["service.name"], about["service.namespace"]) == ("nova-thing", "openstack")
    assert about["telemetry.distro.name"] == "otel-openstack"
    (theirs,) = [metric for _, metric in metrics if metric["name"] == "theirs.count"]
    assert theirs["sum"]["dataPoints"][0]["asInt"] in (3, "3")


def test_the_file_is_private_to_the_service(tmp_path):
    run(tmp_path)
    (path,) = (tmp_path / "otlp").glob("*.jsonl")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.name.startswith("nova-thing-")


def test_auto_does_the_same_without_the_launcher(tmp_path):
    done = run(tmp_path, launcher=False, code="import otel_openstack.auto\n" + WORK)
    assert done.stdout == "served otel_openstack.tracing.provider\n"
    assert [span["name"] for _, span in exported(tmp_path / "otlp")[0]] == ["work"]


@pytest.mark.parametrize("first", [True, False])
def test_ours_is_chosen_beside_another_distribution_found_before_or_after(tmp_path, first):
    # The test environment itself has opentelemetry-distro installed.
    other = other_distribution(tmp_path / "site")
    ours = str(next(Path(p) for p in sys.path if (Path(p) / "opentelemetry").exists()))
    done = run(tmp_path, PYTHONPATH=os.pathsep.join([other, ours] if first else [ours, other]))
    assert "chosen" not in done.stderr
    assert done.stdout == "served otel_openstack.tracing.provider\n"


def test_another_one_that_was_named_is_kept_and_said_loudly(tmp_path):
    other = other_distribution(tmp_path / "site")
    done = run(tmp_path, PYTHONPATH=other, OTEL_PYTHON_DISTRO="other", OTEL_PYTHON_CONFIGURATOR="other")
    assert "other configurator chosen" in done.stderr
    assert "otel-openstack is installed but not active: OTEL_PYTHON_DISTRO=other" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"OTEL_OPENSTACK_LEVLE": "deep"},
            "otel-openstack: error: unknown option OTEL_OPENSTACK_LEVLE: did you mean OTEL_OPENSTACK_LEVEL?",
        ),
        (
            {"OTEL_OPENSTACK_LEVEL": "extreme"},
            (
                "otel-openstack: error: OTEL_OPENSTACK_LEVEL='extreme': "
                "must be one of off, basic, detailed, deep; using 'basic'"
            ),
        ),
    ],
)
def test_wrong_options_are_told_and_the_service_runs(tmp_path, given, said):
    done = run(tmp_path, **given)
    assert done.returncode == 0
    assert ours(done) == [said]
    assert len(exported(tmp_path / "otlp")[0]) == 1


def test_an_unknown_exporter_or_sampler_or_endpoint_is_told_and_the_service_runs(tmp_path):
    done = run(tmp_path, OTEL_TRACES_EXPORTER="nonsense", OTEL_TRACES_SAMPLER="nosuch")
    assert "OTEL_TRACES_EXPORTER=nonsense: no such exporter is installed" in done.stderr
    assert "OTEL_TRACES_SAMPLER=nosuch" in done.stderr
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (0, "served otel_openstack.tracing.provider\n")
    done = run(tmp_path, OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318' is no http or https URL" in done.stderr
    assert done.returncode == 0


HALF = 'file_format: "1.0"\ntracer_provider: [\n'
ONE_LINE = {
    "an endpoint for all signals": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "nonsense", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"},
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT='nonsense' is no http or https URL; give one such as http://localhost:4318; "
            "traces and metrics and logs go nowhere"
        ),
    ),
    "a certificate": (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://localhost:1", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/none"},
        "cannot use the certificates /none for https://localhost:1: ",
    ),
    "an exporter": ({"OTEL_METRICS_EXPORTER": "nonsense"}, "OTEL_METRICS_EXPORTER=nonsense: no such exporter"),
    "events": ({"OTEL_LOGS_EXPORTER": "console"}, "OTEL_LOGS_EXPORTER=console takes no events of ours; logs go"),
    "a file that is missing": ({"OTEL_CONFIG_FILE": "none.yaml"}, "OTEL_CONFIG_FILE=none.yaml: Configuration file not"),
    "a half-written file": ({"OTEL_CONFIG_FILE": "half.yaml"}, "OTEL_CONFIG_FILE=half.yaml: "),
    "a directory": ({"OTEL_CONFIG_FILE": "/tmp"}, "OTEL_CONFIG_FILE=/tmp: Configuration path is not a file"),
}


@pytest.mark.parametrize("wrong", ONE_LINE)
def test_whatever_is_wrong_is_one_line_and_the_service_runs(tmp_path, wrong):
    given, said = ONE_LINE[wrong]
    (tmp_path / "half.yaml").write_text(HALF)
    done = run(tmp_path, **{"OTEL_LOGS_EXPORTER": "otlp", **given})
    assert (done.returncode, done.stdout) == (0, "served otel_openstack.tracing.provider\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"otel-openstack: error: {said}")
    assert (tmp_path / "half.yaml").read_text() == HALF


def test_a_directory_that_cannot_be_written_is_told_and_the_service_runs(tmp_path):
    (tmp_path / "otlp").write_text("a file stands here")
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "served otel_openstack.tracing.provider\n")
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if "/otlp" in line]) == 1
    assert (tmp_path / "otlp").read_text() == "a file stands here"


def test_disabled_means_nothing_at_all(tmp_path):
    done = run(tmp_path, OTEL_SDK_DISABLED="true")
    assert done.returncode == 0
    assert ours(done) == []
    assert "otel_openstack" not in done.stdout
    assert not (tmp_path / "otlp").exists()


def test_standard_variables_keep_their_meaning(tmp_path):
    done = run(
        tmp_path,
        OTEL_SERVICE_NAME="mine",
        OTEL_RESOURCE_ATTRIBUTES="cloud.region=north,deployment.environment.name=lab",
        OTEL_TRACES_SAMPLER="always_off",
    )
    assert ours(done) == []
    spans, metrics = exported(tmp_path / "otlp")
    assert spans == []
    about = metrics[0][0]
    assert (about["service.name"], about["cloud.region"]) == ("mine", "north")
    assert about["deployment.environment.name"] == "lab"


def test_resource_detectors_are_asked(tmp_path):
    done = run(tmp_path, OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="otel,process,nosuch")
    about = exported(tmp_path / "otlp")[0][0][0]
    assert about["process.owner"]
    assert about["service.name"] == "nova-thing"
    assert "resource detector nosuch cannot be used" in done.stderr


CONFIG = """
file_format: "1.0"
resource:
  attributes:
    - name: deployment.environment.name
      value: from-the-file
propagator:
  composite:
    - tracecontext:
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_file/development:
            output_stream: file://{directory}/spans.jsonl
meter_provider:
  readers:
    - periodic:
        interval: 1000
        exporter:
          otlp_file/development:
            output_stream: file://{directory}/points.jsonl
  views:
    - selector:
        instrument_name: theirs.count
      stream:
        name: renamed.count
distribution:
  otel_openstack:
    level: detailed
    slow_call_threshold: 0.25
{more}
"""


def test_the_declarative_file(tmp_path):
    (tmp_path / "otel.yaml").write_text(CONFIG.format(directory=tmp_path / "from-file", more="    levle: x"))
    code = WORK + "from otel_openstack import settings; print(settings.get().level, settings.get().slow_call_threshold)"
    done = run(tmp_path, code=code, OTEL_CONFIG_FILE=str(tmp_path / "otel.yaml"))
    assert done.stdout.splitlines()[1:] == ["detailed 0.25"]
    assert ours(done) == ["otel-openstack: error: unknown option levle: did you mean level?"]
    spans, metrics = exported(tmp_path / "from-file")
    assert [(about["deployment.environment.name"], span["name"]) for about, span in spans] == [
        ("from-the-file", "work")
    ]
    assert spans[0][0]["service.name"] == "nova-thing"
    assert "renamed.count" in {metric["name"] for _, metric in metrics}
    assert not (tmp_path / "otlp").exists()


@pytest.mark.parametrize("text", ["file_format: [", "file_format: '9.0'\n", None])
def test_a_declarative_file_that_cannot_be_used(tmp_path, text):
    path = tmp_path / "otel.yaml"
    if text is not None:
        path.write_text(text)
    done = run(tmp_path, OTEL_CONFIG_FILE=str(path))
    assert done.returncode == 0
    assert f"otel-openstack: error: OTEL_CONFIG_FILE={path}: " in done.stderr
    assert "using the environment variables instead" in done.stderr
    assert len(exported(tmp_path / "otlp")[0]) == 1


def test_one_line_in_the_services_own_log(tmp_path):
    code = (
        """
from oslo_config import cfg
from oslo_log import log
conf = cfg.ConfigOpts()
conf.register_opt(cfg.StrOpt("region_name"), "service_catalog")
log.register_options(conf)
conf([], project="thing")
conf.set_override("region_name", "north", "service_catalog")
conf.set_override("log_file", "service.log")
log.setup(conf, "thing")
log.getLogger("thing").info("ready")
"""
        + WORK
    )
    run(tmp_path, code=code)
    lines = (tmp_path / "service.log").read_text().splitlines()
    ours = [line for line in lines if "otel-openstack" in line]
    assert len(ours) == 1
    assert "version 0.1.0 measures nova-thing at level basic; active: " in ours[0]
    assert "; stepped aside: instrumentors " in ours[0]
    assert "oslo_log" in ours[0]
    assert f"exports traces/metrics: files in {tmp_path}/otlp" in ours[0]
    assert exported(tmp_path / "otlp")[0][0][0]["cloud.region"] == "north"


def test_exporters_of_the_sdk_serve_too(tmp_path):
    done = run(tmp_path, OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="console")
    assert '"name": "work"' in done.stdout
    assert "theirs.count" in done.stdout
    assert not (tmp_path / "otlp").exists()
