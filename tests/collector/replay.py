# SPDX-License-Identifier: Apache-2.0
"""A recorded run of OTLP JSON lines, sent again in the order in which it was made, many times as fast.

Metrics begin anew at the time of the replay, or their counters would be older than the collector and mere baselines.
"""

from __future__ import annotations

import itertools
import json
import re
import time

STAMP = re.compile(r'"((?:startT|t)imeUnixNano)": ?"(\d{19})"')
PATHS = {"resourceSpans": "/v1/traces", "resourceMetrics": "/v1/metrics", "resourceLogs": "/v1/logs"}


class Recording:
    """Lines of a directory, each with the time of its newest point or span."""

    def __init__(self, directory):
        lines = [line for path in sorted(directory.iterdir()) for line in path.read_text().splitlines()]
        self.lines = sorted(lines, key=newest)
        stamps = [int(stamp) for line in self.metrics() for _, stamp in STAMP.findall(line)]
        self.began, self.ended = min(stamps), max(stamps)

    def metrics(self):
        return [line for line in self.lines if signal(line) == "resourceMetrics"]

    def spans(self):
        return [span for line in self.lines for span in spans_of(json.loads(line))]

    def send(self, collector, seconds):
        """Send all of it in about `seconds`."""
        start = time.time_ns()
        scale = seconds * 1e9 / (self.ended - self.began)
        for line in self.lines:
            due = start + (min(newest(line), self.ended) - self.began) * scale
            time.sleep(max(0, (due - time.time_ns()) / 1e9))
            kind = signal(line)
            body = moved(line, self.began, start, scale) if kind == "resourceMetrics" else line
            assert collector.post(body, PATHS[kind]) == 200


def batches(directory, kind):
    """Lines of one kind of signal, in the order of files."""
    for path in sorted(directory.iterdir()):
        yield from (line for line in path.read_text().splitlines() if signal(line) == kind)


def from_tomorrow(line):
    """Counters that began before the collector are baselines: let these begin later."""
    later = 24 * 3600 * 10**9
    return STAMP.sub(lambda found: f'"{found[1]}":"{int(found[2]) + later}"', line)


def signal(line):
    return next(kind for kind in PATHS if f'"{kind}"' in line[:40])


def newest(line):
    return max(int(stamp) for stamp in re.findall(r'imeUnixNano": ?"(\d{19})"', line))


def moved(line, began, start, scale):
    return STAMP.sub(lambda found: f'"{found[1]}":"{start + int((int(found[2]) - began) * scale)}"', line)


def spans_of(request):
    scopes = (scope for resource in request.get("resourceSpans", ()) for scope in resource["scopeSpans"])
    return itertools.chain.from_iterable(scope["spans"] for scope in scopes)
