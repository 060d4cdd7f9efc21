# SPDX-License-Identifier: Apache-2.0
"""The alerts: what is asked, for how long, how bad it is, and what is said. Each has its page in docs/runbooks/."""

from __future__ import annotations

from typing import NamedTuple

from panels import share, utilisation

POOL = "db.client.connection.pool.name"


class Alert(NamedTuple):
    """`lasting` is Prometheus's `for`; texts are its templates."""

    name: str
    severity: str
    expression: str
    lasting: str
    summary: str
    description: str


class Group(NamedTuple):
    name: str
    alerts: tuple[Alert, ...]


def _share(some: str, every: str, *by: str, window: str = "5m") -> str:
    return share(some, every, *by).expression.replace("$__rate_interval", window)


def _full(used: str, limit: str, *by: str) -> str:
    return utilisation(used, limit, *by).expression


def _risen(series: str, window: str, *by: str) -> str:
    """How much counters rose, counting those whole that were born meanwhile: `increase` misses a counter's first value."""
    each = f"(<{series}> unless <{series}> offset {window}) or increase(<{series}>[{window}])"
    return f"sum by ({', '.join(by)}) ({each})"


def _burn(what: str, budget: float, *windows: tuple[float, str, str]) -> str:
    """Burn faster than `factor` in a long window and, so that it ends soon after its cause, in a short one."""
    return " or ".join(
        f"(job:openstack_api_{what}:ratio_rate{long} > {factor * budget:.6g} and job:openstack_api_{what}:ratio_rate{short} > {factor * budget:.6g})"
        for factor, long, short in windows
    )


def _busy(query: str, window: str, requests: float) -> str:
    """Only where enough requests came: one failure of three says nothing."""
    return f"({query}) and on (job) job:openstack_api_requests:rate{window} > {requests}"


# 2 % of the budget of 30 days in an hour, 5 % in six; 10 % in a day or in three.
FAST = ((14.4, "1h", "5m"), (6, "6h", "30m"))
SLOW = ((3, "1d", "2h"), (1, "3d", "6h"))
AVAILABILITY = 0.001
LATENCY = 0.01

API = Group(
    "api",
    (
        Alert(
            "ApiAvailabilityFastBurn", "critical", _busy(_burn("failed", AVAILABILITY, *FAST), "1h", 0.02), "2m",
            "{{ $labels.job }} answers {{ $value | humanizePercentage }} of its requests with errors",
            "The budget of 0.1 % failed requests in 30 days burns at least 6 times as fast as it may.",
        ),
        Alert(
            "ApiAvailabilitySlowBurn", "warning", _busy(_burn("failed", AVAILABILITY, *SLOW), "6h", 0.005), "1h",
            "{{ $labels.job }} answers {{ $value | humanizePercentage }} of its requests with errors, for a day or longer",
            "The budget of 0.1 % failed requests in 30 days will not last.",
        ),
        Alert(
            "ApiLatencyFastBurn", "critical", _busy(_burn("slow", LATENCY, *FAST), "1h", 0.02), "2m",
            "{{ $labels.job }} takes longer than a second for {{ $value | humanizePercentage }} of its requests",
            "The budget of 1 % slow requests in 30 days burns at least 6 times as fast as it may.",
        ),
        Alert(
            "ApiLatencySlowBurn", "warning", _busy(_burn("slow", LATENCY, *SLOW), "6h", 0.005), "1h",
            "{{ $labels.job }} takes longer than a second for {{ $value | humanizePercentage }} of its requests, for a day or longer",
            "The budget of 1 % slow requests in 30 days will not last.",
        ),
        Alert(
            "ApiBacklogFilling", "warning",
            _full("openstack.wsgi.backlog.connection.count", "openstack.wsgi.backlog.connection.limit", "job", "host.name", "server.port") + " > 0.5", "2m",
            "The listening queue of {{ $labels.job }} on {{ $labels.host_name }} is {{ $value | humanizePercentage }} full",
            "All workers are busy. When the queue is full, new connections wait for seconds or fail.",
        ),
        Alert(
            "ApiInputOutputTimeouts", "warning",
            _risen('openstack.http.server.io.errors{error.type=~"(?i).*time(d ?)?out.*"}', "10m", "job", "openstack.http.io.phase") + " > 5", "",
            "{{ $labels.job }}: {{ $value | humanize }} timeouts in 10 minutes while bodies were to {{ $labels.openstack_http_io_phase }}",
            "Clients, a proxy or the network are too slow for the service's timeout.",
        ),
    ),
)  # fmt: skip

DATABASE = Group(
    "database",
    (
        Alert(
            "DatabasePoolNearlyFull", "warning",
            _full('db.client.connection.count{db.client.connection.state="used"}', "db.client.connection.max", "job", "host.name", POOL) + " > 0.8", "5m",
            "A pool {{ $labels.db_client_connection_pool_name }} of {{ $labels.job }} on {{ $labels.host_name }} is {{ $value | humanizePercentage }} used",
            "At 100 % (overflow included) requests wait for a connection, and fail after the pool's timeout.",
        ),
        Alert(
            "DatabasePoolTimeouts", "critical", _risen("db.client.connection.timeouts", "5m", "job", POOL) + " > 0", "",
            "{{ $labels.job }}: {{ $value | humanize }} requests got no connection to {{ $labels.db_client_connection_pool_name }} in time",
            "The pool was full for as long as its timeout; each of these requests failed.",
        ),
        Alert(
            "DatabaseConnectionErrors", "critical",
            _risen('openstack.db.client.connection.errors{openstack.db.client.connection.phase!="ping"}', "5m", "job", POOL) + " > 3", "",
            "{{ $labels.job }}: {{ $value | humanize }} connection errors at {{ $labels.db_client_connection_pool_name }} in 5 minutes",
            "Connections could not be opened or broke in use. Those that only a ping found dead are not counted.",
        ),
        Alert(
            "DatabaseDeadlocks", "warning", "sum by (job) (rate(<openstack.db.deadlocks>[10m])) * 60 > 1", "10m",
            "{{ $labels.job }} meets {{ $value | humanize }} deadlocks a minute",
            "Transactions end each other and are repeated: time is lost, and after the last repetition a request.",
        ),
    ),
)  # fmt: skip

RPC = Group(
    "rpc",
    (
        Alert(
            "RpcTimeouts", "critical", _risen("openstack.rpc.client.timeouts", "10m", "job", "rpc.method") + " > 2", "",
            "{{ $labels.job }}: {{ $value | humanize }} calls of {{ $labels.rpc_method }} got no reply in 10 minutes",
            "The server is gone, hangs, or has more to do than it can; or the broker lost messages.",
        ),
        Alert(
            "RpcQueueWait", "warning", "job:openstack_rpc_time_in_queue:p95_5m > 1", "5m",
            "Messages to {{ $labels.job }} wait {{ $value | humanizeDuration }} for a worker (p95)",
            "All workers of the server are busy. At the timeout of the callers (60 s by default) calls begin to fail.",
        ),
        Alert(
            "RpcRemoteErrors", "warning",
            _share('rpc.client.call.duration:count{openstack.rpc.error.origin="remote"}', "rpc.client.call.duration:count", "job", window="10m") + " > 0.05", "10m",
            "{{ $value | humanizePercentage }} of the calls of {{ $labels.job }} fail at the other end",
            "The server raised an exception and sent it back.",
        ),
        Alert(
            "RpcReplyErrors", "warning", _risen("openstack.rpc.server.reply.errors", "10m", "job") + " > 2", "",
            "{{ $labels.job }}: {{ $value | humanize }} replies did not arrive in 10 minutes",
            "Callers wait until their timeout although the work was done.",
        ),
        Alert(
            "BrokerPoolNearlyFull", "warning",
            _full('openstack.messaging.client.connection.count{openstack.pool.state="used"}', "openstack.messaging.client.connection.max", "job", "host.name") + " > 0.8", "5m",
            "The pool of connections to the broker of {{ $labels.job }} on {{ $labels.host_name }} is {{ $value | humanizePercentage }} used",
            "At 100 % each cast and call waits for a connection, without a limit of time.",
        ),
    ),
)  # fmt: skip

PROCESSES = Group(
    "processes",
    (
        Alert(
            "EventLoopBlocked", "warning",
            _share('openstack.event_loop.time{openstack.event_loop.state="blocked"}', "openstack.event_loop.time", "job", "host.name") + " > 0.1", "5m",
            "The event loop of {{ $labels.job }} on {{ $labels.host_name }} is blocked for {{ $value | humanizePercentage }} of the time",
            "Turns longer than 100 ms. Heartbeats, timers and all other requests of the process wait meanwhile.",
        ),
        Alert(
            "WorkerPoolFull", "warning",
            "("
            + _full('openstack.pool.worker.count{openstack.pool.state="used"}', "openstack.pool.worker.limit", "job", "host.name", "openstack.pool.name")
            + " >= 0.9) and on (job, host.name, openstack.pool.name) sum by (job, host.name, openstack.pool.name) (<openstack.pool.pending_requests>) > 0", "5m",
            "The pool {{ $labels.openstack_pool_name }} of {{ $labels.job }} on {{ $labels.host_name }} is full, and work waits for it",
            "{{ $value | humanizePercentage }} of its workers are busy.",
        ),
        Alert(
            "PoolTimeouts", "warning", _risen('openstack.pool.timeouts{openstack.pool.type!="green"}', "10m", "job", "openstack.pool.name") + " > 5", "",
            "{{ $labels.job }}: {{ $value | humanize }} waits for the pool {{ $labels.openstack_pool_name }} timed out in 10 minutes",
            "Its workers or connections were busy for longer than the wait was allowed to last.",
        ),
        Alert(
            "LockWaitLong", "warning", "job:openstack_lock_wait:p95_5m > 5", "10m",
            "{{ $labels.job }} waits {{ $value | humanizeDuration }} for locks (p95)",
            "Something holds a lock of oslo.concurrency for long, or many want it.",
        ),
        Alert(
            "PeriodicTasksLate", "warning", "job:openstack_periodic_task_lag:p95_5m > 60", "15m",
            "Periodic tasks of {{ $labels.job }} start {{ $value | humanizeDuration }} late (p95)",
            "Tasks before them take longer than their interval; reports of state may be late, and the service look dead.",
        ),
        Alert(
            "ServiceGone", "critical",
            "(job_host:openstack_processes:count offset 1h) unless on (job, host.name) job_host:openstack_processes:count", "10m",
            "{{ $labels.job }} on {{ $labels.host_name }} reports no more",
            "It had {{ $value }} processes an hour ago. It was stopped, it hangs, or its telemetry does not arrive.",
        ),
        Alert(
            "WorkersGone", "warning",
            "job_host:openstack_processes:count < 0.75 * (job_host:openstack_processes:count offset 1h)", "15m",
            "{{ $labels.job }} on {{ $labels.host_name }} has {{ $value }} processes left",
            "More than a quarter of those of an hour ago are gone.",
        ),
    ),
)  # fmt: skip

TELEMETRY = Group(
    "telemetry",
    (
        Alert(
            "TelemetryDropping", "warning", "sum by (job, otel_openstack.drop.reason) (rate(<otel_openstack.items.dropped>[5m])) > 0", "10m",
            "{{ $labels.job }} loses {{ $value | humanize }} items of telemetry a second: {{ $labels.otel_openstack_drop_reason }}",
            "The collector is away, slow or refuses. The service itself is not held up.",
        ),
        Alert(
            "TelemetryHookFailing", "warning", _risen("otel_openstack.patch.failures", "1h", "job", "otel_openstack.patch.name") + " > 0", "",
            "A hook of otel-openstack fails in {{ $labels.job }}: {{ $labels.otel_openstack_patch_name }}",
            "The service is not harmed. After five failures in a process the hook is off there.",
        ),
        Alert(
            "CollectorDown", "critical", '<up{job="otel-openstack-collector"}> == 0', "5m",
            "The collector at {{ $labels.instance }} cannot be scraped",
            "What the services of its hosts say is dropped after seconds, and every alert on them is blind.",
        ),
        Alert(
            "CollectorRefusing", "critical",
            " or ".join(
                f"sum by (instance) (rate(<otelcol_receiver_refused_{kind}>[5m])) > 0"
                for kind in ("spans", "metric_points", "log_records")
            ), "5m",
            "The collector at {{ $labels.instance }} refuses {{ $value | humanize }} items a second",
            "Its memory limiter is at its limit.",
        ),
        Alert(
            "CollectorSendFailing", "warning",
            " or ".join(
                f"sum by (instance, exporter) (rate(<otelcol_exporter_{how}_failed_{kind}>[5m])) > 0"
                for how in ("send", "enqueue") for kind in ("spans", "metric_points")
            ), "5m",
            "{{ $labels.exporter }} of the collector at {{ $labels.instance }} loses {{ $value | humanize }} items a second",
            "Its receiver is away or refuses, for longer than repetitions and the queue bridge.",
        ),
        Alert(
            "CollectorQueueFilling", "warning",
            "max by (instance, exporter, data_type) (<otelcol_exporter_queue_size> / <otelcol_exporter_queue_capacity>) > 0.8", "5m",
            "The sending queue of {{ $labels.exporter }} at {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
            "Its receiver takes less than comes in. When the queue is full, it drops.",
        ),
        Alert(
            "StatsdDropping", "warning", "sum by (instance, exporter, reason) (rate(<otelcol_exporter_statsd_dropped_lines>[5m])) > 0", "5m",
            "{{ $labels.exporter }} at {{ $labels.instance }} loses {{ $value | humanize }} lines a second: {{ $labels.reason }}",
            "The statsd server is away, or more comes than the rate limit lets through.",
        ),
    ),
)  # fmt: skip

GROUPS = (API, DATABASE, RPC, PROCESSES, TELEMETRY)
