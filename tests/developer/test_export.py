# SPDX-License-Identifier: Apache-2.0
"""What decorated functions record leaves the process, and a forked child, though nothing else records there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROGRAM = Path(__file__).parent / "programs" / "script.py"


def test_decorated_functions_alone_start_the_export(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment |= {f"OTEL_{signal}_EXPORTER": "otlp_file" for signal in ("TRACES", "METRICS", "LOGS")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for path in tmp_path.rglob("*.jsonl") for line in path.read_text().splitlines()]
    events, spans, timed = Counter(), Counter(), Counter()
    for line in lines:
        for scope in (s for r in line.get("resourceLogs", ()) for s in r["scopeLogs"]):
            events.update((record["eventName"], "traceId" in record) for record in scope["logRecords"])
        for scope in (s for r in line.get("resourceSpans", ()) for s in r["scopeSpans"]):
            spans.update(span["name"] for span in scope["spans"])
        for scope in (s for r in line.get("resourceMetrics", ()) for s in r["scopeMetrics"]):
            for metric in scope["metrics"]:
                if metric["name"] == "demo.build.duration":
                    assert metric["unit"] == "s"
                    for point in metric["histogram"]["dataPoints"]:
                        timed[point["attributes"][0]["value"]["stringValue"]] = int(point["count"])
    assert timed == {"parent": 2, "child": 1}
    assert spans["demo.build"] == 1
    assert {name for name, _ in events} == {"demo.build.start", "demo.build.end"}
    assert sum(events.values()) == 2
