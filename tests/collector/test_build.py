# SPDX-License-Identifier: Apache-2.0
"""The exporter's own tests, and configurations that the built binary takes."""

from __future__ import annotations

import itertools
import re
import subprocess

import pytest

from tests.collector.peers import CACHE, CONFIG, ROOT, binary

EXPORTER = ROOT / "collector" / "exporter" / "statsdexporter"
BASES = ("agent.yaml", "gateway.yaml", "standalone.yaml")
FRAGMENTS = (
    ("to-statsd.yaml",), ("to-dogstatsd.yaml",), ("to-otlp.yaml",), ("to-jaeger.yaml",), ("to-files.yaml",),
    ("to-prometheus.yaml",), ("to-prometheus.yaml", "to-prometheus-remote-write.yaml"),
    ("to-prometheus.yaml", "to-prometheus-otlp.yaml"), ("to-otlp.yaml", "to-otlp-tls.yaml"),
    ("to-otlp.yaml", "to-otlp-persistent.yaml"), ("to-otlp.yaml", "to-two-gateways.yaml"),
    ("to-otlp.yaml", "to-otlp-tls.yaml", "to-two-gateways.yaml", "to-two-gateways-tls.yaml"),
)  # fmt: skip


def run(*command, cwd=EXPORTER, **environment):
    import os

    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def test_go_is_formatted():
    assert run("gofmt", "-l", ".") == ""


def test_go_vet():
    run("go", "vet", "./...")


def test_go_tests():
    run("go", "test", "./...")


@pytest.mark.parametrize("name", ["FuzzLines", "FuzzTemplates", "FuzzHistograms"])
def test_go_fuzz(name):
    run("go", "test", "-run", "^$", "-fuzz", f"^{name}$", "-fuzztime", "3s", "-fuzzminimizetime", "1s", ".")


def test_nothing_is_built_when_nothing_changed():
    before = (CACHE / "otel-openstack-collector").stat().st_mtime_ns
    binary()
    assert (CACHE / "otel-openstack-collector").stat().st_mtime_ns == before


def test_the_version_is_stamped():
    stamp = (CACHE / "stamp").read_text()[:8]
    assert run(CACHE / "otel-openstack-collector", "--version").split() == [
        "otel-openstack-collector", "version", f"0.1.0+{stamp}",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def validate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("validate")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
        "-days", "1", "-subj", "/CN=localhost",
    )  # fmt: skip
    environment = {
        "OTEL_OPENSTACK_TLS_CERT": str(certificate), "OTEL_OPENSTACK_TLS_KEY": str(key),
        "OTEL_OPENSTACK_TLS_CA": str(certificate), "OTEL_OPENSTACK_TOKEN": "t",
        "OTEL_OPENSTACK_QUEUE_DIRECTORY": str(directory),
    }  # fmt: skip

    def check(*files):
        arguments = [argument for name in files for argument in ("--config", str(CONFIG / name))]
        run(str(CACHE / "otel-openstack-collector"), "validate", *arguments, **environment)

    return check


@pytest.mark.parametrize("base", BASES)
def test_configurations_are_valid_alone_and_with_everything(base, validate):
    validate(base)
    # Each replaces the list of extensions, or needs it.
    exclusive = {"to-otlp-tls.yaml", "to-otlp-persistent.yaml", "to-two-gateways-tls.yaml"}
    validate(base, *dict.fromkeys(name for names in FRAGMENTS for name in names if name not in exclusive))


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda names: names[-1])
def test_each_fragment_is_valid_with_a_base(fragment, validate):
    validate("agent.yaml", *fragment)


def test_a_gateway_with_tls(validate):
    validate("gateway.yaml", "gateway-tls.yaml")


def test_nothing_listens_beyond_loopback_and_no_secret_is_written_down():
    known = {*BASES, "gateway-tls.yaml", *itertools.chain(*FRAGMENTS)}
    for path in CONFIG.iterdir():
        assert path.name in known, "a configuration that is not tested"
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"0\.0\.0\.0|\[::\]", text)
        for address in re.findall(r"(?<![\d.])\d+\.\d+\.\d+\.\d+", text):
            assert address.startswith("127."), path.name
        for secret in re.findall(r"(?m)^\s+(?:token|password|key_file|cert_file): (.*)$", text):
            assert secret.startswith("${env:"), path.name


def test_every_component_has_its_reason():
    manifest = (ROOT / "collector" / "manifest.yaml").read_text()
    readme = (ROOT / "collector" / "README.md").read_text()
    for module in re.findall(r"gomod: \S+/(\w+) v", manifest):
        assert f"`{module}`" in readme, module
