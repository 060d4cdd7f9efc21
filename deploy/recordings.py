# SPDX-License-Identifier: Apache-2.0
"""Recording rules: what alerts ask over long windows, and quantiles that several of them ask for.

Names are level:metric:operation. Ratios of APIs are of failed, or of slow, in all requests.
"""

from __future__ import annotations

REQUESTS = "http.server.request.duration"
# Answers with 5xx, and requests that ended in an exception before they had a status.
FAILED = 'error.type!="",http.response.status_code=~"5..|"'
# The boundary of the histogram that counts as slow: 1 s. Scraped it is written `1.0`, by remote write `1`.
QUICK = 'le=~"1(\\\\.0)?"'
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def _requests(window: str) -> str:
    return f"sum by (job) (rate(<{REQUESTS}:count>[{window}]))"


def _failing(window: str) -> str:
    failed = f"sum by (job) (rate(<{REQUESTS}:count{{{FAILED}}}>[{window}]))"
    return f"({failed} or 0 * {_requests(window)}) / {_requests(window)}"


def _slow(window: str) -> str:
    return f"1 - sum by (job) (rate(<{REQUESTS}:bucket{{{QUICK}}}>[{window}])) / {_requests(window)}"


def _p95(histogram: str) -> str:
    return f"histogram_quantile(0.95, sum by (le, job) (rate(<{histogram}:bucket>[5m])))"


RECORDINGS: dict[str, dict[str, str]] = {
    "otel-openstack-api-recordings": {
        **{f"job:openstack_api_requests:rate{window}": _requests(window) for window in ("1h", "6h")},
        **{f"job:openstack_api_failed:ratio_rate{window}": _failing(window) for window in WINDOWS},
        **{f"job:openstack_api_slow:ratio_rate{window}": _slow(window) for window in WINDOWS},
    },
    "otel-openstack-recordings": {
        "job:openstack_rpc_time_in_queue:p95_5m": _p95("openstack.rpc.server.request.time_in_queue"),
        "job:openstack_lock_wait:p95_5m": _p95("openstack.lock.wait.duration"),
        "job:openstack_periodic_task_lag:p95_5m": _p95("openstack.periodic_task.lag"),
        "job_host:openstack_processes:count": "count by (job, host.name) (<process.thread.count>)",
    },
}
