# SPDX-License-Identifier: Apache-2.0
"""Writes every few seconds how many objects and greenlets this process holds: for the soak, never in the product.

Imported in the process that is looked at, before its own code, and begins again in each child. The thread is a native
one also under eventlet: what it uses is taken at import, before anything is patched. It collects no garbage: that would
run the finalizers of green code in a thread that is none.

The list of all objects exists within one call into C only. While it is there everything has a reference more, and uWSGI
answers a request with 500 when the arguments of its application have: other threads must not run meanwhile.
"""

import _thread
import collections
import functools
import gc
import json
import os
import sys
import time

DIRECTORY = os.environ["MINICLOUD_SAMPLES"]
EVERY = 10.0  # seconds
OURS = "otel_openstack."  # classes of the distribution
TYPES = 40  # how many of the most frequent types are noted
TYPES_EVERY = 6  # samples

_start, _sleep, _now = _thread.start_new_thread, time.sleep, time.time


def begin():
    _start(_run, ())


def _run():
    path = os.path.join(DIRECTORY, f"objects-{os.getpid()}.jsonl")
    number = 0
    with open(path, "a") as output:
        while True:
            _sleep(EVERY)
            output.write(json.dumps(_sample(types=number % TYPES_EVERY == 0)) + "\n")
            output.flush()
            number += 1


def _sample(types):
    counted = collections.Counter(_types())
    greenlet = sys.modules.get("greenlet")
    greenlets = sum(count for kind, count in counted.items() if greenlet and issubclass(kind, greenlet.greenlet))
    ours = {_name(kind): count for kind, count in counted.items() if str(kind.__module__).startswith(OURS)}
    sample = {"time": _now(), "objects": counted.total(), "greenlets": greenlets, "ours": sum(ours.values())}
    if types:
        sample["types"] = {_name(kind): count for kind, count in counted.most_common(TYPES)} | ours
    return sample


def _name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _types():
    """The type of every tracked object."""
    (found,) = list(map(list, map(functools.partial(map, type), map(gc.get_objects, (None,)))))
    return found


begin()
os.register_at_fork(after_in_child=begin)
