# SPDX-License-Identifier: Apache-2.0
"""The Debian package, installed in a clean Debian with a running systemd, and its units there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from collector.packaging import deb
from tests.collector import container as containers
from tests.collector.listening import beyond_loopback, listening
from tests.collector.peers import CACHE, CONFIG, ROOT, text, wait

pytestmark = pytest.mark.servers
NAME = "otel-openstack-collector"
PACKAGING = ROOT / "collector" / "packaging"
STATE = f"/var/lib/{NAME}"
ETC = "/etc/otel-openstack"
# As much as the limiter lets the collector have, and half of it.
MEMORY = {"agent": 384, "gateway": 1536, "standalone": 1536}
TLS = {"OTEL_OPENSTACK_TOKEN": "t0ken", "OTEL_OPENSTACK_GATEWAY": "https://127.0.0.1:5318"}
EVERYWHERE = (
    "to-statsd.yaml", "to-dogstatsd.yaml", "to-prometheus.yaml", "to-prometheus-remote-write.yaml",
    "to-prometheus-otlp.yaml", "to-files.yaml", "to-jaeger.yaml", "to-otlp.yaml",
)  # fmt: skip
# A role, the fragments of its environment file (None: as it is shipped), and more of its environment.
STARTS = (
    ("agent", None, {}),
    ("agent", ("to-otlp.yaml", "to-otlp-tls.yaml", "to-two-gateways.yaml", "to-two-gateways-tls.yaml"), TLS),
    ("agent", ("to-otlp.yaml", "to-otlp-persistent.yaml"), {}),
    ("agent", EVERYWHERE, {}),
    ("gateway", None, {}),
    ("gateway", ("gateway-tls.yaml", *EVERYWHERE), TLS),
    ("standalone", None, {}),
    ("standalone", EVERYWHERE, {}),
)
# By the semantic conventions.
HOST_ARCHITECTURES = {"amd64", "arm32", "arm64", "ia64", "ppc32", "ppc64", "s390x", "x86"}
LOGS = '{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "marked"}}]}]}]}'
# As a service does it: not as root.
POST = f"""
import encodings.idna, http.client, os, socket
connection = http.client.HTTPConnection("127.0.0.1", 4318, timeout=10)
if PATH:
    os.chroot(PATH)
    connection.sock = socket.socket(socket.AF_UNIX)
os.setuid(65534)
if PATH:
    connection.sock.connect("/run/otel-openstack/otlp.sock")
connection.request("POST", "/v1/logs", {LOGS!r}, {{"Content-Type": "application/json"}})
print(connection.getresponse().status)
"""
HEALTH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:13133/', timeout=5).status)"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The package, and a later version of it."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("the package is made with dpkg-deb, which Debian and Ubuntu have")
    return deb.build(CACHE), deb.build(tmp_path_factory.mktemp("later"), "0.1.0-2", ("-Znone",))


@pytest.fixture(scope="module")
def container(tmp_path_factory, packages):
    if reason := containers.missing():
        pytest.skip(reason)
    with containers.Container(tmp_path_factory.mktemp("container"), *{path.parent for path in packages}) as running:
        yield running


@pytest.fixture(scope="module")
def installed(container, packages, tmp_path_factory):
    container.run("dpkg", "--install", packages[0])
    pem = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem / "key.pem", "-out", pem / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    for name, source in {"cert.pem": "cert.pem", "key.pem": "key.pem", "ca.pem": "cert.pem"}.items():
        target = container.path(f"{ETC}/tls/{name}")
        target.write_bytes((pem / source).read_bytes())
        target.chmod(0o600)
    return container


def files(container, *places):
    """What is there, with its kind and mode."""
    found = container.run("find", *places, "-xdev", "-printf", "%M %p\n")
    return {line for line in found.splitlines() if not re.search(r"/(proc|sys|dev|run|tmp)/|/var/log/|\.cache", line)}


def unit(role):
    return f"{NAME}@{role}"


def tell(container, role, fragments, more):
    """Write the environment file of a role, as an operator would: a line behind what is there wins."""
    path = container.path(f"{ETC}/{role}.env")
    lines = [f"{name}={value}" for name, value in more.items()]
    if fragments is not None:
        lines.append(f'OTEL_OPENSTACK_COLLECTOR_FRAGMENTS="{" ".join(f"--config {name}" for name in fragments)}"')
    path.write_text("\n".join([(PACKAGING / "environment" / f"{role}.env").read_text(), *lines, ""]))


def started(container, role):
    """Start the unit and return its main process."""
    container.run("systemctl", "start", unit(role))
    log = lambda: container.ask("journalctl", "--unit", unit(role), "--lines=20", "--output=cat").stdout  # noqa: E731
    try:
        wait(lambda: container.python(HEALTH) == "200", "the collector's health")
    except AssertionError as error:
        raise AssertionError(log()) from error
    pid = container.run("systemctl", "show", unit(role), "--property=MainPID", "--value").strip()
    return container.path(f"/proc/{pid}")


def closed(status):
    """A dynamic user without rights, under a filter of system calls; `status` is that of /proc."""
    return (
        re.search(r"(?m)^CapBnd:\t0+$", status)
        and re.search(r"(?m)^NoNewPrivs:\t1$", status)
        and re.search(r"(?m)^Seccomp:\t2$", status)
        and int(re.search(r"(?m)^Uid:\t(\d+)", status)[1]) >= 61184
    )


def test_the_unit_is_understood_and_closed(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    source = (PACKAGING / "systemd" / f"{NAME}@.service").read_text()
    path = tmp_path / f"{NAME}@agent.service"
    path.write_text(source.replace(f"/usr/bin/{NAME}", "/bin/true"))
    for check in (("verify", "--man=no"), ("security", "--offline=true", "--threshold=15")):
        done = subprocess.run(["systemd-analyze", *check, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        assert "Unknown" not in done.stderr, done.stderr


def test_lintian_finds_nothing(packages):
    if not shutil.which("lintian"):
        pytest.skip("there is no lintian here")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", packages[0]], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_every_configuration_is_shipped_and_started_by_the_unit():
    started = {f"{role}.yaml" for role, _, _ in STARTS}.union(*(fragments or () for _, fragments, _ in STARTS))
    assert started == {path.name for path in CONFIG.iterdir()}


@pytest.mark.parametrize(("role", "fragments", "more"), STARTS)
def test_the_unit_starts_and_listens_on_loopback_only(installed, role, fragments, more):
    tell(installed, role, fragments, more)
    process = started(installed, role)
    try:
        assert ("127.0.0.1", 4318) in listening(process)
        assert not beyond_loopback(process)
        assert closed((process / "status").read_text())
        assert installed.run("systemctl", "show", unit(role), "--property=MemoryMax", "--value").strip() == str(
            MEMORY[role] * 2**20
        )
        environment = dict(word.split("=", 1) for word in (process / "environ").read_text().split("\0") if word)
        assert environment["GOMEMLIMIT"] == f"{MEMORY[role] // 2}MiB", "where the limiter begins to refuse"
        assert environment["OTEL_OPENSTACK_HOST_ID"] == installed.path("/etc/machine-id").read_text().strip()
        assert environment["OTEL_OPENSTACK_HOST_ARCH"] in HOST_ARCHITECTURES
        if "gateway-tls.yaml" not in (fragments or ()):
            assert installed.python(f"PATH = None{POST}") == "200"
        if role != "gateway":
            assert installed.python(f"PATH = {str(installed.path('/'))!r}{POST}") == "200"
            assert installed.run("stat", "--format=%a", "/run/otel-openstack/otlp.sock").strip() == "666"
        if fragments and "to-files.yaml" in fragments and role != "gateway":
            written = installed.path(f"/var/lib/private/{NAME}/{role}/logs.jsonl")
            wait(lambda: "marked" in text(written), "the file")
            assert "marked" in installed.run("cat", f"{STATE}/{role}/logs.jsonl")
    finally:
        installed.ask("systemctl", "stop", unit(role))
    assert installed.ask("systemctl", "is-failed", unit(role)).stdout.strip() == "inactive", "it ends by itself"


def test_reload_takes_what_is_valid_only(installed):
    tell(installed, "agent", ("to-otlp.yaml", "own.yaml"), {})
    own = installed.path(f"{ETC}/collector/own.yaml")
    own.write_text("receivers: {}\n")
    process = started(installed, "agent")
    own.write_text("exporters: {otlp_http: {sending_queue: {no_such_key: 1}}}\n")
    assert installed.ask("systemctl", "reload", unit("agent")).returncode
    assert "no_such_key" in installed.run("journalctl", "--unit", unit("agent"), "--output=cat")
    assert installed.python(HEALTH) == "200"
    own.write_text("receivers: {otlp: {protocols: {http: {endpoint: '127.0.0.1:4399'}}}}\n")
    installed.run("systemctl", "reload", unit("agent"))
    wait(lambda: ("127.0.0.1", 4399) in listening(process), "the same process with the new configuration")
    installed.run("systemctl", "stop", unit("agent"))
    own.unlink()


def test_an_upgrade_keeps_and_a_purge_removes(container, packages):
    container.ask("dpkg", "--purge", NAME)
    container.ask("rm", "-r", ETC)  # what was added by hand
    before = files(container, "/")
    assert not [line for line in before if "otel-openstack" in line], "left by what the tests before did"
    container.run("dpkg", "--install", packages[0])
    assert NAME not in container.run("systemctl", "list-units", "--plain", "--no-legend", "--type=service")
    assert oct(container.path(f"{ETC}/agent.env").stat().st_mode & 0o777) == "0o640"
    assert oct(container.path(f"{ETC}/tls").stat().st_mode & 0o777) == "0o700"
    tell(container, "agent", ("to-files.yaml",), {"OTEL_OPENSTACK_TOKEN": "mine"})
    edited = container.path(f"{ETC}/agent.env").read_text()
    container.run("systemctl", "enable", unit("agent"))
    old = started(container, "agent")
    container.run("dpkg", "--install", packages[1])
    assert "0.1.0-2" in container.run("dpkg", "--status", NAME)
    assert container.path(f"{ETC}/agent.env").read_text() == edited
    assert started(container, "agent").name != old.name, "what runs is the new one"
    container.run("dpkg", "--remove", NAME)
    assert container.ask("systemctl", "is-active", unit("agent")).stdout.strip() != "active"
    assert container.path(f"{ETC}/agent.env").read_text() == edited
    container.run("dpkg", "--purge", NAME)
    left = {line for line in files(container, "/") - before if "/var/lib/dpkg/" not in line}
    assert not left
    assert NAME not in "".join(os.listdir(container.path("/var/lib/dpkg/info")))


def test_the_same_sources_make_the_same_package(packages, tmp_path):
    again = deb.build(tmp_path, "0.1.0-2", ("-Znone",))
    assert again.read_bytes() == packages[1].read_bytes()
