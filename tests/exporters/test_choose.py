# SPDX-License-Identifier: Apache-2.0
"""Which exporters the standard variables ask for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from otel_openstack.exporters.choose import choose
from otel_openstack.exporters.fanout import Fanout
from otel_openstack.exporters.otlp_file import OtlpFile
from otel_openstack.exporters.otlp_grpc import OtlpGrpc
from otel_openstack.exporters.otlp_http import OtlpHttp
from otel_openstack.exporters.sink import Outcome
from otel_openstack.runtime.originals import monotonic
from tests.sink import Sink


def test_otlp_over_http_to_the_local_collector_is_the_default():
    choices = choose({})
    assert isinstance(choices.traces.sink, OtlpHttp)
    assert choices.traces.sink is choices.metrics.sink is choices.logs.sink
    assert choices.traces.sink.encoding == "protobuf"
    assert choices.describe() == "http://localhost:4318"
    assert choices.problems == ()


@pytest.mark.parametrize("text", ["none", "none ", " none"])
def test_none(text):
    choices = choose({"OTEL_TRACES_EXPORTER": text})
    assert choices.traces.sink is None
    assert choices.traces.others == ()
    assert isinstance(choices.metrics.sink, OtlpHttp)
    assert choices.describe() == "metrics/logs: http://localhost:4318"


def test_empty_is_unset():
    assert isinstance(choose({"OTEL_TRACES_EXPORTER": ""}).traces.sink, OtlpHttp)


@pytest.mark.parametrize(
    ("protocol", "kind", "encoding"),
    [("http/protobuf", OtlpHttp, "protobuf"), ("http/json", OtlpHttp, "json"), ("grpc", OtlpGrpc, "protobuf")],
)
def test_protocols(protocol, kind, encoding):
    sink = choose({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}).traces.sink
    assert isinstance(sink, kind)
    assert sink.encoding == encoding


def test_the_protocol_of_a_signal():
    choices = choose({"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"})
    assert (choices.traces.sink.encoding, choices.metrics.sink.encoding) == ("protobuf", "json")


def test_an_unknown_protocol_is_told():
    choices = choose({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/proto"})
    assert choices.traces.sink.encoding == "protobuf"
    assert len(choices.problems) == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='http/proto'" in choices.problems[0]


@pytest.mark.parametrize("name", ["otlp_file", "otlp_json_file"])
def test_files(name):
    choices = choose({"OTEL_TRACES_EXPORTER": name, "OTEL_METRICS_EXPORTER": name})
    assert isinstance(choices.traces.sink, OtlpFile)
    assert choices.traces.sink is choices.metrics.sink


def test_files_and_the_collector_get_the_same():
    sink = choose({"OTEL_TRACES_EXPORTER": "otlp,otlp_file"}).traces.sink
    assert isinstance(sink, Fanout)
    assert sink.encoding == "json"


@pytest.mark.parametrize("wrong", ["localhost:4317", "nonsense"])
def test_a_wrong_endpoint_is_told_and_nothing_is_sent(wrong):
    choices = choose({"OTEL_EXPORTER_OTLP_ENDPOINT": wrong})
    assert choices.traces.sink is choices.metrics.sink is None
    assert all("OTEL_EXPORTER_OTLP_ENDPOINT" in problem for problem in choices.problems)
    assert choices.describe() == "nowhere"


def test_missing_certificates_are_told():
    choices = choose({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such.pem"})
    assert choices.traces.sink is None
    assert "/no/such.pem" in choices.problems[0]


def test_other_exporters_are_handed_back_by_name():
    choices = choose({"OTEL_TRACES_EXPORTER": "console,otlp"})
    assert isinstance(choices.traces.sink, OtlpHttp)
    (other,) = choices.traces.others
    assert other.load().__name__ == "ConsoleSpanExporter"
    assert choices.problems == ()


def test_an_exporter_that_is_not_installed_is_told_with_what_is():
    choices = choose({"OTEL_TRACES_EXPORTER": "zipkin"})
    assert choices.traces.sink is None
    assert len(choices.problems) == 1
    assert "OTEL_TRACES_EXPORTER=zipkin" in choices.problems[0]
    assert "otlp_file" in choices.problems[0]


def test_choosing_imports_nothing_early():
    script = """
import sys
from otel_openstack.exporters.choose import choose
for protocol in ("grpc", "http/protobuf"):
    choose({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_METRICS_EXPORTER": "console"})
early = {"grpc", "requests", "urllib3", "eventlet", "http.client", "google.protobuf", "ssl"} & set(sys.modules)
assert not early, early
"""
    subprocess.run([sys.executable, "-c", script], check=True)


class Scripted:
    """A sink that answers as told."""

    encoding = "json"

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.got = []

    def send(self, signal, payload, items, deadline):
        self.got.append(payload)
        return self.outcomes.pop(0), 0

    def close(self):
        """Nothing is open."""

    def describe(self):
        return "a script"


def test_what_one_sink_has_is_not_sent_to_it_again_for_the_other():
    good = Scripted(Outcome.DELIVERED, Outcome.DELIVERED)
    late = Scripted(Outcome.RETRY, Outcome.DELIVERED, Outcome.REJECTED)
    sink = Fanout([good, late])
    first, second = b"first", b"second"
    assert sink.send("traces", first, 1, 0.0) == (Outcome.RETRY, 0)
    assert sink.send("traces", first, 1, 0.0) == (Outcome.DELIVERED, 0)
    assert sink.send("traces", second, 1, 0.0) == (Outcome.DELIVERED, 0)
    assert good.got == [first, second]
    assert late.got == [first, first, second]


@pytest.fixture
def grpc_server():
    import grpc
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request, context):  # noqa: N802 - the name in the protocol
            self.got = request
            self.metadata = dict(context.invocation_metadata())
            return trace_service_pb2.ExportTraceServiceResponse()

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(1))
    service = Service()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"http://127.0.0.1:{port}"
    server.stop(0).wait()


SPANS = b"\n\x0b\x12\t\x12\x07*\x05hello"  # one span called hello


def test_grpc(grpc_server):
    service, url = grpc_server
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_HEADERS": "key=a%20b"}
    sink = choose({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **environ}).traces.sink
    assert sink.send("traces", SPANS, 1, monotonic() + 5) == (Outcome.DELIVERED, 0)
    assert service.got.resource_spans[0].scope_spans[0].spans[0].name == "hello"
    assert service.metadata["key"] == "a b"
    sink.close()


def test_an_instrumentor_of_grpc_makes_no_spans_of_exports(grpc_server, monkeypatch):
    """They would be exported, and so on; it asks what contrib's asks."""
    import grpc
    from opentelemetry.instrumentation.utils import is_instrumentation_enabled

    enabled = []

    class Tracing(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            enabled.append(is_instrumentation_enabled())
            return continuation(details, request)

    channel = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", lambda *a, **k: grpc.intercept_channel(channel(*a, **k), Tracing()))
    _, url = grpc_server
    sink = choose({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": url}).traces.sink
    assert sink.send("traces", SPANS, 1, monotonic() + 5) == (Outcome.DELIVERED, 0)
    assert enabled == [False]
    assert is_instrumentation_enabled()
    sink.close()


@pytest.mark.parametrize("mode", ["refusing", "hanging", "blackhole"])
def test_grpc_is_bounded(mode):
    import time

    with Sink(mode) as collector:
        environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        sink = choose(environ).traces.sink
        begin = time.monotonic()
        assert sink.send("traces", SPANS, 1, monotonic() + 0.5) == (Outcome.RETRY, 0)
        assert time.monotonic() - begin < 3
        sink.close()


def test_grpc_in_a_green_process_goes_over_http_with_one_warning():
    script = """
import eventlet
eventlet.monkey_patch()
import logging, sys
logging.basicConfig()
from otel_openstack.exporters.choose import choose
from otel_openstack.runtime.originals import monotonic
sink = choose().traces.sink
for _ in range(2):
    print(sink.send("traces", b"", 1, monotonic() + 5)[0].name)
assert "grpc" not in sys.modules
"""
    with Sink() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url,
            "PYTHONWARNINGS": "ignore",
        }
        done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["DELIVERED", "DELIVERED"]
        assert done.stderr.count("over gRPC blocks") == 1
        assert [request.path for request in collector.requests] == ["/v1/traces"] * 2


def test_statsd_takes_metrics_beside_others_and_nothing_else():
    choices = choose(
        {"OTEL_METRICS_EXPORTER": "statsd,otlp", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    )
    assert choices.metrics.statsd.endpoint == "127.0.0.1:8125"
    assert isinstance(choices.metrics.sink, OtlpHttp)
    assert choices.metrics.others == ()
    assert choices.describe() == "metrics: http://localhost:4318; metrics: statsd at 127.0.0.1:8125"
    assert choices.problems == ()
    refused = choose({"OTEL_TRACES_EXPORTER": "statsd"})
    assert refused.traces.statsd is None
    assert "OTEL_TRACES_EXPORTER=statsd: no such exporter is installed" in refused.problems[0]
    assert "statsd" not in refused.problems[0].partition("choose from")[2]
