# SPDX-License-Identifier: Apache-2.0
"""A process of its own: `plain.py native|before|after|fork`.

native: threads, one of which still works when the main thread is through. before, after: eventlet patches before or
after the distribution is set up. fork: children made while the parent exports, which end in all the ways there are.
"""

import os
import sys

KIND = sys.argv[1]
if KIND == "before":
    import eventlet

    eventlet.monkey_patch()

import telemetry

telemetry.start()
if KIND == "after":
    import eventlet

    eventlet.monkey_patch()

import threading
import time


def native():
    telemetry.work(5)
    threads = [threading.Thread(target=telemetry.work, args=(5,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.2)
    threading.Thread(target=lambda: (time.sleep(0.3), telemetry.work(5))).start()


def green():
    tick, stop = telemetry.ticker(time.sleep)
    threading.Thread(target=tick, daemon=True).start()
    threads = [threading.Thread(target=telemetry.work, args=(5,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        telemetry.work(1)
        time.sleep(0.05)
    stop()


def fork():
    import multiprocessing

    telemetry.work(5)
    going = [True]

    def busy():
        while going[0]:
            telemetry.work(1)
            time.sleep(0.001)

    thread = threading.Thread(target=busy)
    thread.start()
    children = []
    for number in range(6):
        time.sleep(0.25)  # over an export interval, so that some forks fall into an export
        child = os.fork()
        if not child:
            telemetry.work(4)
            if number % 3 == 0:
                os._exit(0)
            if number % 3 == 1:
                time.sleep(1.1)
                telemetry.work(2)
            sys.exit(0)
        children.append(child)
    process = multiprocessing.get_context("fork").Process(target=telemetry.work, args=(9,))
    process.start()
    going[0] = False
    thread.join()
    process.join()
    for child in children:
        os.waitpid(child, 0)


{"native": native, "before": green, "after": green, "fork": fork}[KIND]()
telemetry.witness("end")
