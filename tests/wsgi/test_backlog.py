# SPDX-License-Identifier: Apache-2.0
"""The accept queue of a real listening socket, seen through the kernel."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest

from otel_openstack.instrumentation import backlog
from otel_openstack.testing import Telemetry

COUNT = "openstack.wsgi.backlog.connection.count"
LIMIT = "openstack.wsgi.backlog.connection.limit"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as made:
        yield made
    backlog.uninstall()


def mine(port: int) -> list[backlog.Listener]:
    return [found for found in backlog.find() if found.port == port]


def test_connections_that_wait_are_counted(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    (found,) = mine(port)
    assert backlog.lengths(found) == (0, 7)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    assert backlog.lengths(found) == (3, 7)
    accepted, _ = listener.accept()
    assert backlog.lengths(found) == (2, 7)
    for connection in (*clients, accepted):
        connection.close()


def test_points_of_the_process(telemetry: Telemetry, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    backlog.watch()
    backlog.watch()
    with socket.create_connection(("127.0.0.1", port)):
        assert {p.attributes["server.port"]: p.value for p in telemetry.points(COUNT)}[port] == 1
        assert {p.attributes["server.port"]: p.value for p in telemetry.points(LIMIT)}[port] == 7


def test_only_listening_tcp_sockets(tmp_path: object) -> None:
    with socket.socket(socket.AF_UNIX) as local, socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as udp:
        local.bind(f"{tmp_path}/s")
        local.listen()
        idle.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", 0))
        assert not {local.fileno(), idle.fileno(), udp.fileno()} & {found.fd for found in backlog.find()}


def test_one_process_of_those_that_share_a_socket_reports_it(telemetry: Telemetry, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    backlog.watch()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, repr([p.value for p in telemetry.points(LIMIT)]).encode())
        backlog.watch()
        os.write(writer, repr([p.value for p in telemetry.points(LIMIT)]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"[][]"
    os.close(reader)
    assert port in {p.attributes["server.port"] for p in telemetry.points(LIMIT)}


def test_the_sockets_mode_is_not_touched(listener: socket.socket) -> None:
    before = fcntl.fcntl(listener, fcntl.F_GETFL)
    socket.setdefaulttimeout(5)
    try:
        (found,) = mine(listener.getsockname()[1])
        assert backlog.lengths(found) == (0, 7)
    finally:
        socket.setdefaulttimeout(None)
    assert fcntl.fcntl(listener, fcntl.F_GETFL) == before
    assert not before & os.O_NONBLOCK


def test_a_descriptor_that_is_another_by_now(listener: socket.socket) -> None:
    (found,) = mine(listener.getsockname()[1])
    fd = listener.fileno()
    listener.close()
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert other.fileno() == fd
        assert backlog.lengths(found) is None
