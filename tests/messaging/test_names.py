# SPDX-License-Identifier: Apache-2.0
"""Topics, methods and contexts: no host and no id in a name, whatever a message says."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_openstack.instrumentation import oslo_messaging_names as names


@pytest.mark.parametrize(
    ("topic", "base", "template"),
    [
        ("conductor", "conductor", "conductor"),
        ("compute.host1", "compute", "compute.{server}"),
        ("compute.host1.example.org", "compute", "compute.{server}"),
        ("q-agent-notifier-port-update.host1", "q-agent-notifier-port-update", "q-agent-notifier-port-update.{server}"),
        ("cinder-volume.host1@lvm", "cinder-volume", "cinder-volume.{server}"),
        ("guestagent.6f2fc1f0-8b5c-4a3b-9f3b-0d4e7c2a1b11", "guestagent", "guestagent.{server}"),
        ("agent-6f2fc1f08b5c4a3b9f3b0d4e7c2a1b11", "agent-{id}", "agent-{id}"),
        ("ironic.conductor_manager", "ironic.conductor_manager", "ironic.conductor_manager"),
        ("ironic.conductor_manager.host1", "ironic.conductor_manager", "ironic.conductor_manager.{server}"),
        ("neutron-vo-Port-1.11", "neutron-vo-Port-1.11", "neutron-vo-Port-1.11"),
        ("", "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_a_topic_becomes_a_template(topic: object, base: str, template: str) -> None:
    assert names.topic(topic) == (base, template)


def test_this_hosts_name_is_no_part_of_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node-77")
    assert names.topic("worker-node-77") == ("worker-{server}", "worker-{server}")


@pytest.mark.parametrize(
    ("server", "fanout", "expected"),
    [
        (None, None, ("compute", "compute")),
        ("host1", None, ("compute.host1", "compute.{server}")),
        (None, True, ("compute_fanout", "compute_fanout")),
        ("host1", True, ("compute_fanout", "compute_fanout")),
    ],
)
def test_a_destination_keeps_the_server_out_of_its_template(server: str, fanout: bool, expected: object) -> None:
    assert names.destination(SimpleNamespace(topic="compute", server=server, fanout=fanout)) == expected


def test_a_host_qualified_topic_with_a_server_has_one_placeholder() -> None:
    target = SimpleNamespace(topic="dhcp_agent.host1", server="host1", fanout=False)
    assert names.destination(target) == ("dhcp_agent.host1.host1", "dhcp_agent.{server}")


def test_topics_remembered_are_bounded() -> None:
    for number in range(5000):
        names.topic(f"hostile{number}")
    assert len(names._topics) <= 1000


@given(
    st.one_of(
        st.none(),
        st.text(),
        st.dictionaries(
            st.text() | st.sampled_from(["traceparent", "tracestate", "baggage", "request_id"]),
            st.none() | st.integers() | st.text() | st.lists(st.text()) | st.binary(),
        ),
    )
)
def test_a_context_of_any_kind_gives_strings_only(context: object) -> None:
    carrier = names.carrier(context)
    assert all(isinstance(value, str) for value in carrier.values())
    if isinstance(context, dict):
        assert all(isinstance(value, str) for value in names.identity(context).values())
        assert not set(names.stripped(context, carrier)) & set(carrier)
