# SPDX-License-Identifier: Apache-2.0
"""Under which name a process measures itself."""

from __future__ import annotations

import sys

import pytest

from otel_openstack import resource


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/python3 /usr/bin/nova-compute --config-file /etc/nova/nova.conf", "nova-compute"),
        ("python3.11 -W ignore -X dev -I /opt/stack/bin/neutron-rpc-server", "neutron-rpc-server"),
        ("python -Werror -m nova.cmd.scheduler", "scheduler"),
        ("python agent.py", "agent"),
        ("python -c pass", ""),
        ("uwsgi --ini nova-api.ini", ""),
        ("python -X", ""),
    ],
)
def test_the_name_is_that_of_the_program(monkeypatch, command, name):
    monkeypatch.setattr(sys, "orig_argv", command.split())
    assert resource.command_name() == name
