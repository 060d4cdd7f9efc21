# SPDX-License-Identifier: Apache-2.0
"""Between hosts: who may reach a collector, over what, and with which token."""

from __future__ import annotations

import http.client
import ssl
import subprocess

import pytest

from tests.collector.listening import beyond_loopback, listening, of
from tests.collector.peers import Collector, Worker, free_port, text, wait

pytestmark = pytest.mark.servers
EVERYWHERE = (
    "to-statsd.yaml", "to-dogstatsd.yaml", "to-prometheus.yaml", "to-prometheus-remote-write.yaml",
    "to-prometheus-otlp.yaml", "to-files.yaml", "to-jaeger.yaml", "to-otlp.yaml",
)  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A gateway's certificate, which is its own CA, and another CA."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("gateway", "other"):
        command = [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", directory / f"{name}.key",
            "-out", directory / f"{name}.pem",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    return directory


def tls(certificates, ca="gateway", token="right"):
    return {
        "OTEL_OPENSTACK_TLS_CERT": str(certificates / "gateway.pem"),
        "OTEL_OPENSTACK_TLS_KEY": str(certificates / "gateway.key"),
        "OTEL_OPENSTACK_TLS_CA": str(certificates / f"{ca}.pem"),
        "OTEL_OPENSTACK_TOKEN": token,
    }


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, certificates):
    files = ("gateway.yaml", "gateway-tls.yaml", "to-files.yaml")
    with Collector(tmp_path_factory.mktemp("gateway"), *files, environment=tls(certificates)) as running:
        yield running


@pytest.mark.parametrize(
    ("ca", "token", "told"),
    [("gateway", "right", None), ("gateway", "wrong", "401"), ("other", "right", "certificate")],
)
def test_an_agent_reaches_a_gateway_with_its_ca_and_the_token_only(tmp_path, certificates, gateway, ca, token, told):
    environment = {**tls(certificates, ca, token), "OTEL_OPENSTACK_GATEWAY": f"https://127.0.0.1:{gateway.otlp}"}
    retries = "{initial_interval: 100ms, max_interval: 200ms, max_elapsed_time: 500ms}"
    impatient = f"exporters: {{otlp_http: {{retry_on_failure: {retries}}}}}"
    files = ("agent.yaml", "to-otlp.yaml", "to-otlp-tls.yaml")
    with Collector(tmp_path, *files, extra=impatient, environment=environment) as agent:
        worker = Worker(service=f"{ca}-{token}")
        worker.serve(0.1)
        agent.report(worker)
        arrived = gateway.directory / "metrics.jsonl"
        if told is None:
            wait(lambda: worker.instance in text(arrived), "what the agent took in")
            assert not agent.own("exporter_send_failed_metric_points").total()
        else:
            lost = wait(lambda: agent.own("exporter_send_failed_metric_points").total(), "refused and counted")
            assert lost == len([*worker.metrics()])
            assert told in text(agent.process.log)
            assert worker.instance not in text(arrived)
        assert "right" not in text(agent.process.log).replace(f"{ca}-{token}", ""), "no token in the log"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Bearer right"}, 200)],
)
def test_a_gateway_asks_every_sender_for_the_token(certificates, gateway, headers, status):
    context = ssl.create_default_context(cafile=certificates / "gateway.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", gateway.otlp, context=context, timeout=10)
    connection.request("POST", "/v1/metrics", "{}", {"Content-Type": "application/json"} | headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == status


def test_a_gateway_with_tls_takes_nothing_in_the_clear(gateway):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.otlp, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer right"}
    connection.request("POST", "/v1/metrics", "{}", headers)
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize(
    "files", [("agent.yaml",), ("gateway.yaml",), ("standalone.yaml",)], ids=lambda names: names[0]
)
def test_nothing_listens_beyond_loopback(tmp_path, files):
    port = free_port()
    environment = {"OTEL_OPENSTACK_PROMETHEUS": f"127.0.0.1:{port}"}
    with Collector(tmp_path, *files, *EVERYWHERE, environment=environment) as collector:
        process = of(collector.process.child.pid)
        assert {("127.0.0.1", port), ("127.0.0.1", collector.otlp)} <= listening(process)
        assert not beyond_loopback(process)


def test_a_gateway_listens_where_it_is_told(tmp_path):
    port = free_port()
    with Collector(tmp_path, "gateway.yaml", environment={"OTEL_OPENSTACK_OTLP_HTTP": f"0.0.0.0:{port}"}) as collector:
        assert {found[1] for found in beyond_loopback(of(collector.process.child.pid))} == {port}
