# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ of a test session, on free ports of the loopback, ended by its own pids; and its firehose.

Use: `broker = pytest.fixture(scope="session")(rabbitmq.serve)` in a conftest, then `broker.url`, `broker.firehose()`.
The firehose is the broker's own record of every message published and delivered: the witness that is not ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 60
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
ONE_CORE = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
TRACE_ALL = '[{rabbit, [{trace_vhosts, [<<"/">>]}]}].\n'


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def connected(port: int, hello: bytes = b"") -> bool:
    """Return whether something listens on the port and, where it is greeted, answers."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
        if not hello:
            return True
        sock.sendall(hello)
        return bool(sock.recv(1))
    return False


@dataclass
class Message:
    """One message of the firehose; `kind` is publish or deliver, `body` the decoded RPC message or notification."""

    kind: str
    exchange: str
    routing_key: str
    body: dict[str, Any]

    @property
    def traceparent(self) -> str | None:
        return self.body.get("_context_traceparent")

    @property
    def is_reply(self) -> bool:
        return self.routing_key.startswith("reply_")


@dataclass
class RabbitMQ:
    """A broker on its own node, with its own port mapper."""

    directory: Path
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"rabbit://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        epmd = free_port()
        (self.directory / "advanced.config").write_text(TRACE_ALL)
        (self.directory / "enabled_plugins").write_text("[].\n")
        names = {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"t{os.getpid()}{uuid.uuid4().hex[:6]}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_LOGS": str(self.directory / "node.log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "advanced.config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} {ONE_CORE}",
        }
        self._spawn(["epmd", "-port", str(epmd), "-address", "127.0.0.1"], {})
        self._until(lambda: bool(connected(epmd)))  # else the broker starts one of its own, as a daemon
        self._spawn([SERVER], names)
        # The port opens a little before the virtual host is there: ask for the protocol's first frame.
        self._until(lambda: bool(connected(self.port, b"AMQP\x00\x00\x09\x01")))

    def _spawn(self, command: list[str], names: dict[str, str]) -> None:
        with (self.directory / "out.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **names},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _until(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not ready():
            alive = self.processes[-1].poll() is None and time.monotonic() < end
            assert alive, "RabbitMQ did not start: " + (self.directory / "out.log").read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """End each process group that `start` made, the broker before its port mapper."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(SECONDS)
        self.processes.clear()

    @contextlib.contextmanager
    def firehose(self) -> Iterator[Firehose]:
        """Listen to every message that is published and delivered from now on."""
        import amqp

        with amqp.Connection(f"127.0.0.1:{self.port}", "guest", "guest") as connection:
            channel = connection.channel()
            queue = channel.queue_declare(exclusive=True).queue
            for key in ("publish.#", "deliver.#"):
                channel.queue_bind(queue, "amq.rabbitmq.trace", key)
            yield Firehose(channel, queue)


@dataclass
class Firehose:
    """What the broker saw."""

    channel: Any
    queue: str
    seen: list[Message] = field(default_factory=list)

    def messages(self, kind: str | None = None) -> list[Message]:
        """Return what was seen so far, all or what was published or delivered."""
        while (found := self.channel.basic_get(self.queue, no_ack=True)) is not None:
            what, _, name = found.delivery_info["routing_key"].partition(".")
            headers = found.headers
            key = headers["routing_keys"][0]
            body = json.loads(found.body)
            if "oslo.message" in body:
                body = json.loads(body["oslo.message"])
            self.seen.append(Message(what, headers["exchange_name"], key or name, body))
        return [message for message in self.seen if kind is None or message.kind == kind]


def serve() -> Iterator[RabbitMQ]:
    """Fixture body: a broker for the session; once more on other ports if somebody else was quicker to take one."""
    with tempfile.TemporaryDirectory(prefix="rabbitmq-test-", ignore_cleanup_errors=True) as base:
        broker = RabbitMQ(Path(tempfile.mkdtemp(dir=base)))
        try:
            try:
                broker.start()
            except AssertionError:
                broker.stop()
                broker = RabbitMQ(Path(tempfile.mkdtemp(dir=base)))
                broker.start()
            yield broker
        finally:
            broker.stop()
