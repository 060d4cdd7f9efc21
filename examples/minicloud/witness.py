# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's own account of every message, beside a run of the client."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import processes
import servers
from layout import HOST, INSIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from layout import Cloud

NAME = "firehose"
Message = dict[str, Any]  # a line of inside/firehose.py


@contextlib.contextmanager
def firehose(cloud: Cloud, name: str = "firehose.jsonl") -> Iterator[Path]:
    """Everything that RabbitMQ takes and delivers meanwhile is in the returned file afterwards."""
    path = cloud.state / name
    path.unlink(missing_ok=True)
    servers.rabbitmqctl(cloud, "trace_on")
    command = ["python", str(INSIDE / "firehose.py"), f"{HOST}:{cloud.ports['amqp']}", str(path)]
    processes.start(cloud, NAME, command, servers.rabbit_environment(cloud))
    log = cloud.log / f"{NAME}.log"
    processes.wait_ready(cloud, NAME, lambda: "ready" in log.read_text(), 30)
    try:
        yield path
    finally:
        processes.stop(cloud, [NAME])
        servers.rabbitmqctl(cloud, "trace_off")


def messages(path: Path) -> list[Message]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def counts(seen: Iterable[Message]) -> Counter[str]:
    """How many messages of each kind a user's request caused.

    The rule for what counts: the message's context names a user, or it is the reply to a call whose context does.
    Periodic work (reports of state, tasks on a timer) acts as the service itself, without a user, and how often it
    runs depends on how long the run takes.
    """
    published = [message for message in seen if message["kind"] == "publish"]
    asked = {m["msg_id"] for m in published if _of_a_user(m) and m.get("msg_id")}
    return Counter(
        _title(message)
        for message in published
        if _of_a_user(message) or (message.get("reply") and message.get("msg_id") in asked)
    )


def _of_a_user(message: Message) -> bool:
    return bool(message.get("user_id") or message.get("user"))


def _title(message: Message) -> str:
    if message.get("reply"):
        return "reply"
    if message.get("event"):
        return f"notify {message['event']}"
    return f"{'call' if message.get('msg_id') else 'cast'} {message.get('method')}"
