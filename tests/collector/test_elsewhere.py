# SPDX-License-Identifier: Apache-2.0
"""What is shipped for builds elsewhere, as far as it can be held against the truth here.

Its own components cannot be had; their keys are compared with what their modules document, and everything around them
is given to the collector that is built here.
"""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.collector.peers import CACHE, CONFIG, ROOT

COLLECTOR = ROOT / "collector"
ELSEWHERE = COLLECTOR / "elsewhere"
UNTESTED = re.compile(r"\A# SPDX.*\n# Not (built and not )?tested here: ")
QUEUE = {"sizer", "queue_size", "num_consumers", "block_on_overflow"}
RETRY = {"initial_interval", "max_interval", "max_elapsed_time"}
SENDING = {"timeout": None, "sending_queue": QUEUE, "retry_on_failure": RETRY}
SASL = {"sasl": {"username", "password", "mechanism", "version"}}
KAFKA = {"brokers": None, "client_id": None, "protocol_version": None, "tls": None, "auth": SASL}
# From config.schema.yaml and README.md of the modules at v0.161.0: keys, and the keys below them. `otlp` is the core's
# exporter, which is here: the collector itself says whether it takes the block.
DOCUMENTED = {
    ("exporters", "load_balancing"): {
        "routing_key": None, "routing_attributes": None, "protocol": {"otlp": None},
        "resolver": {"dns": {"hostname", "interval", "port", "timeout"}, "static": {"hostnames"}},
        **SENDING,
    },
    ("exporters", "kafka"): {
        "partition_traces_by_id": None, "partition_metrics_by_resource_attributes": None,
        "partition_logs_by_resource_attributes": None, "partition_logs_by_trace_id": None,
        "producer": {"max_message_bytes", "required_acks", "compression", "linger", "flush_max_messages"},
        **{signal: {"topic", "encoding"} for signal in ("traces", "metrics", "logs")}, **KAFKA, **SENDING,
    },
    ("receivers", "kafka"): {
        "group_id": None, "initial_offset": None, "session_timeout": None,
        **{signal: {"topics", "encoding"} for signal in ("traces", "metrics", "logs")}, **KAFKA,
    },
}  # fmt: skip
BASES = {"to-gateways.yaml": "agent.yaml", "to-kafka.yaml": "agent.yaml", "from-kafka.yaml": "gateway.yaml"}


def modules(name):
    return set(re.findall(r"gomod: (\S+ v\S+)", (COLLECTOR / name).read_text()))


def undocumented(found, known, at):
    """The keys that a component does not have, as the documentation of its module says."""
    for key, value in (found or {}).items():
        if key not in known:
            yield f"{at}::{key}"
        elif isinstance(known, dict) and known[key] and isinstance(value, dict):
            yield from undocumented(value, known[key], f"{at}::{key}")


def stood_in(configuration):
    """The same with components that are here in the place of those that are not."""
    renamed = {}
    for kind in ("receivers", "exporters"):
        for name in [name for name in configuration.get(kind, ()) if (kind, name.partition("/")[0]) in DOCUMENTED]:
            block = configuration[kind].pop(name)
            if name.startswith("load_balancing"):
                stand_in, block = f"otlp_grpc/{name}", block["protocol"]["otlp"] | {"endpoint": "localhost:4317"}
            elif kind == "exporters":
                own = {key: block[key] for key in (*SENDING, "tls") if key in block}
                stand_in, block = f"otlp_http/{name}", own | {"endpoint": "https://localhost:4318"}
            else:
                stand_in, block = f"otlp/{name}", {"protocols": {"http": {"endpoint": "localhost:4318"}}}
            configuration[kind][stand_in.replace("_balancing/", "-")] = block
            renamed[name] = stand_in.replace("_balancing/", "-")
    for pipeline in configuration["service"]["pipelines"].values():
        for kind in ("receivers", "exporters"):
            if kind in pipeline:
                pipeline[kind] = [renamed.get(name, name) for name in pipeline[kind]]
    return configuration


def test_all_of_it_is_known_and_says_that_it_is_not_tested():
    assert {path.name for path in ELSEWHERE.iterdir()} == set(BASES)
    for path in (COLLECTOR / "manifest-elsewhere.yaml", *ELSEWHERE.iterdir()):
        assert UNTESTED.match(path.read_text()), path.name


def test_the_other_manifest_is_this_one_and_what_it_names(tmp_path):
    more = modules("manifest-elsewhere.yaml") - modules("manifest.yaml")
    assert {module.split("/")[-1].split()[0] for module in more} == {
        "loadbalancingexporter", "kafkaexporter", "kafkareceiver",
    }  # fmt: skip
    assert modules("manifest.yaml") < modules("manifest-elsewhere.yaml")
    manifest = yaml.safe_load((COLLECTOR / "manifest-elsewhere.yaml").read_text())
    manifest["dist"]["output_path"] = str(tmp_path)
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    done = subprocess.run(
        [CACHE / "bin" / "builder", "--skip-get-modules", "--skip-compilation", "--config", tmp_path / "manifest.yaml"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sources = (tmp_path / "components.go").read_text()
    assert all(module.split()[0] in sources for module in more)


@pytest.mark.parametrize("name", BASES)
def test_its_keys_are_documented(name):
    configuration = yaml.safe_load((ELSEWHERE / name).read_text())
    for (kind, type_), known in DOCUMENTED.items():
        for component, block in configuration.get(kind, {}).items():
            if component.partition("/")[0] == type_:
                assert not [*undocumented(block, known, component)]


@pytest.mark.parametrize("name", BASES)
def test_what_stands_around_is_valid(name, tmp_path):
    path = tmp_path / name
    path.write_text(yaml.safe_dump(stood_in(yaml.safe_load((ELSEWHERE / name).read_text()))))
    done = subprocess.run(
        [CACHE / "otel-openstack-collector", "validate", "--config", CONFIG / BASES[name], "--config", path],
        env={"OTEL_OPENSTACK_TOKEN": "t", "OTEL_OPENSTACK_TLS_CA": ""}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
