# SPDX-License-Identifier: Apache-2.0
"""Says on standard output when a queue gets its first consumer: `QUEUE SECONDS`, seconds of the monotonic clock.

That is when an RPC server serves; their logs do not tell. It ends with the last queue.
"""

import os
import sys
import time

import amqp

POLL = 0.02  # seconds


def main():
    address, *waiting = sys.argv[1:]
    connection = amqp.Connection(host=address, userid="guest", password=os.environ["RABBITMQ_DEFAULT_PASS"])
    connection.connect()
    channel = connection.channel()
    while waiting:
        for queue in list(waiting):
            try:
                consumers = channel.queue_declare(queue, passive=True).consumer_count
            except amqp.exceptions.NotFound:  # not declared yet; the library opens the channel again by itself
                consumers = 0
            if consumers:
                print(queue, time.monotonic(), flush=True)
                waiting.remove(queue)
        time.sleep(POLL)
    connection.close()


main()
