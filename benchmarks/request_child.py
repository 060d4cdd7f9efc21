# SPDX-License-Identifier: Apache-2.0
"""The process of one variant: waits for a line `run N` or `count N`, serves N requests, says what it took."""

from __future__ import annotations

import gc
import json
import os
import sys
import time

import request_app
from callgrind import Requests
from request_variants import BY_NAME


def main(app: str, name: str) -> None:
    request_app.quiet()
    # On one processor, all variants alike: what threads cost each other between two would hide all else.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    prepared = BY_NAME[name].prepare()
    application = prepared.wrap(request_app.APPLICATIONS[app](prepared.hook))
    served = 0

    def block(times: int) -> None:
        request_app.run(application, prepared.headers, times)
        prepared.flush()

    for line in sys.stdin:
        command, times = line.split()
        number = int(times)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        if command == "count":
            requests = Requests()
            requests.count("serve", lambda number=number: request_app.run(application, prepared.headers, number))
            requests.count("export", prepared.flush)
        else:
            block(number)
        served += number
        told = {"cpu": (time.process_time() - cpu) / number, "wall": (time.perf_counter() - wall) / number}
        counted = prepared.counted() if prepared.counted else None
        print(json.dumps(told | {"served": served, "counted": counted}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # threads of others may never end
