# SPDX-License-Identifier: Apache-2.0
"""What the small services of these tests share: the distribution, work that leaves telemetry, and a witness.

The witness is a file to which every process writes what it did, independently of everything that is tested: a line
`<pid> <word> <number>` each. Appending so little in one write is atomic.
"""

import logging
import os
import posix
import time

MONOTONIC = time.monotonic


def start():
    """Set the distribution up, unless this run is the one without it."""
    logging.basicConfig(level="INFO", format="%(process)d %(levelname)s %(message)s")
    if os.environ.get("TEST_OFF"):
        return
    from otel_openstack import distro

    assert distro.start()


def witness(word, number=1):
    fd = posix.open(os.environ["TEST_WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    posix.write(fd, f"{os.getpid()} {word} {number}\n".encode())
    posix.close(fd)


def work(count=1):
    """Leave `count` spans, `count` records of an instrument of ours and one of the SDK's."""
    witness("work", count)
    if os.environ.get("TEST_OFF"):
        return
    from opentelemetry import metrics as api
    from opentelemetry import trace

    tracer = trace.get_tracer("test")
    counter = api.get_meter("test").create_counter("test.work")
    for _ in range(count):
        with tracer.start_as_current_span("work"):
            counter.add(1)


def ticker(sleep):
    """Measure how long the loop of `sleep` is held up, in milliseconds, until told to stop by the returned function."""
    worst = [0.0]
    going = [True]

    def run():
        before = MONOTONIC()
        while going[0]:
            sleep(0.005)
            now = MONOTONIC()
            worst[0] = max(worst[0], now - before - 0.005)
            before = now

    def stop():
        going[0] = False
        witness("gap", round(worst[0] * 1000))

    return run, stop
