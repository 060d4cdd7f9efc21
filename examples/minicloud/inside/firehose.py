# SPDX-License-Identifier: Apache-2.0
"""Writes every message that RabbitMQ's firehose shows as one JSON line: a witness that owes nothing to the product.

    firehose.py HOST:PORT FILE

The firehose must be on (`rabbitmqctl trace_on`). It says `ready` when it listens and ends on SIGTERM, after what is
still queued. A line: kind (publish or deliver), name (exchange or queue), key, and of the body what identifies the
message: method, reply, event with its time and instance, unique id, msg id, context keys that start with `trace` and
the request's ids.
"""

import json
import os
import signal
import sys
import threading

import amqp

QUIET = 1.0  # seconds without a message after which a stopped witness has seen everything
CONTEXT = ("_context_traceparent", "_context_request_id", "_context_user_id", "_context_user")


def main():
    address, path = sys.argv[1:]
    connection = amqp.Connection(host=address, userid="guest", password=os.environ["RABBITMQ_DEFAULT_PASS"])
    connection.connect()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).queue
    for pattern in ("publish.#", "deliver.#"):
        channel.queue_bind(queue, "amq.rabbitmq.trace", pattern)

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    with open(path, "w") as output:
        channel.basic_consume(queue, no_ack=True, callback=lambda message: print(line(message), file=output))
        print("ready", flush=True)
        while True:
            try:
                connection.drain_events(timeout=QUIET)
            except TimeoutError:
                if stopping.is_set():
                    return


def line(message):
    kind, _, name = message.delivery_info["routing_key"].partition(".")
    headers = message.headers
    body = message.body if isinstance(message.body, str) else bytes(message.body).decode(errors="replace")
    facts = {"kind": kind, "name": name, "key": headers.get("routing_keys"), "exchange": headers.get("exchange_name")}
    return json.dumps(facts | identity(body))


def instance_of(payload):
    return payload.get("instance_id") if isinstance(payload, dict) else None


def identity(body):
    """What tells one oslo.messaging message from another."""
    try:
        content = json.loads(body)
        content = json.loads(content["oslo.message"]) if "oslo.message" in content else content
    except ValueError:
        return {"other": body[:100]}
    return {
        "method": content.get("method"),
        "namespace": content.get("namespace"),
        "event": content.get("event_type"),
        "priority": content.get("priority"),
        "timestamp": content.get("timestamp"),
        "instance": instance_of(content.get("payload")),
        "reply": "result" in content or "failure" in content,
        "unique_id": content.get("_unique_id"),
        "msg_id": content.get("_msg_id"),
        **{key.removeprefix("_context_"): content.get(key) for key in CONTEXT},
    }


main()
