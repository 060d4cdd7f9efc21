# SPDX-License-Identifier: Apache-2.0
"""For every alert: series with which it fires, series with which it is quiet, when it is asked, and with which labels.

Series are written as promtool wants them; `step` lies between two values, and between two evaluations.
"""

from __future__ import annotations

from typing import NamedTuple

JOB = 'job="openstack/nova-api"'
HOST = f'{JOB},host_name="c1"'
PROCESS = f'{HOST},instance="a"'
REQUESTS = "http_server_request_duration_seconds"
GOOD = f'{REQUESTS}_count{{{HOST},http_response_status_code="200"}}'
BAD = f'{REQUESTS}_count{{{HOST},http_response_status_code="503",error_type="503"}}'
REFUSED = f'{REQUESTS}_count{{{HOST},http_response_status_code="404"}}'
ALL = f"{REQUESTS}_count{{{HOST}}}"
QUICK = f'{REQUESTS}_bucket{{{HOST},le="1"}}'
QUICK_SCRAPED = f'{REQUESTS}_bucket{{{HOST},le="1.0"}}'
SERVICE = {"job": "openstack/nova-api"}
ON_HOST = SERVICE | {"host_name": "c1"}
OWN = 'job="otel-openstack-collector",instance="c1:8888"'
COLLECTOR = {"instance": "c1:8888"}

Series = dict[str, str]


class Case(NamedTuple):
    fires: Series
    quiet: Series
    at: str
    labels: dict[str, str]
    step: str = "1m"


def used(name: str, limit: str, share: int, labels: str, state: str) -> Series:
    """A pool of 100."""
    return {f'{name}{{{PROCESS}{labels},{state}="used"}}': f"{share}x20", f"{limit}{{{PROCESS}{labels}}}": "100x20"}


def histogram(name: str, seconds: str, more: str = "") -> Series:
    """Sixty observations a minute, all in the bucket that ends at `seconds`."""
    below = f'{name}_bucket{{{HOST}{more},le="0.001"}}'
    return {below: "0x40", f'{name}_bucket{{{HOST}{more},le="{seconds}"}}': "0+60x40", f'{name}_bucket{{{HOST}{more},le="+Inf"}}': "0+60x40"}  # fmt: skip


DB = ',db_client_connection_pool_name="nova"'
POOL = ',openstack_pool_name="p",openstack_pool_type="thread"'
DB_USED = ("db_client_connection_count", "db_client_connection_max")
POOL_USED = ("openstack_pool_worker_count", "openstack_pool_worker_limit")
BROKER_USED = ("openstack_messaging_client_connection_count", "openstack_messaging_client_connection_max")
LOOP = (
    f'openstack_event_loop_time_seconds_total{{{HOST},openstack_event_loop_type="eventlet",openstack_event_loop_state='
)
THREADS = "process_thread_count"
IO = f'openstack_http_server_io_errors_total{{{HOST},openstack_http_io_phase="receive",error_type='
DB_ERRORS = f"openstack_db_client_connection_errors_total{{{HOST}{DB},openstack_db_client_connection_phase="
RPC = f'rpc_client_call_duration_seconds_count{{{HOST},rpc_method="conductor/ping"'
TIMEOUTS = (
    f'openstack_rpc_client_timeouts_total{{{HOST},rpc_method="compute/ping",messaging_destination_template="compute"}}'
)
PENDING = f"openstack_pool_pending_requests{{{PROCESS}{POOL}}}"
DROPPED = f'otel_openstack_items_dropped_total{{{HOST},otel_openstack_signal="traces",otel_openstack_drop_reason="queue full"}}'
HOOK = f'otel_openstack_patch_failures_total{{{HOST},otel_openstack_patch_name="wsgi.call"}}'
SENT = 'exporter="otlp_http"'

CASES: dict[str, tuple[Case, ...]] = {
    "ApiAvailabilityFastBurn": (
        Case({GOOD: "0+100x90", BAD: "0+10x90"}, {GOOD: "0+10000x90", BAD: "0+10x90", REFUSED: "0+9000x90"}, "80m", SERVICE),
        # It ends soon after its cause, although the long window still has it.
        Case({GOOD: "0+100x90", BAD: "0+10x90"}, {GOOD: "0+100x90", BAD: "0+10x20 200x70"}, "70m", SERVICE),
        # Every request fails; and too few to say anything.
        Case({BAD: "0+10x90"}, {BAD: "0x80 1x9"}, "80m", SERVICE),
    ),
    "ApiAvailabilitySlowBurn": (
        Case({GOOD: "0+1000x70", BAD: "0+4x70"}, {GOOD: "0+10000x70", BAD: "0+4x70"}, "33h", SERVICE, "30m"),
    ),
    "ApiLatencyFastBurn": (
        Case({ALL: "0+100x90", QUICK: "0+80x90"}, {ALL: "0+100x90", QUICK: "0+98x90"}, "80m", SERVICE),
        Case({ALL: "0+100x90", QUICK_SCRAPED: "0+80x90"}, {ALL: "0+100x90", QUICK_SCRAPED: "0+98x90"}, "80m", SERVICE),
    ),
    "ApiLatencySlowBurn": (
        Case({ALL: "0+1000x70", QUICK: "0+950x70"}, {ALL: "0+1000x70", QUICK: "0+995x70"}, "33h", SERVICE, "30m"),
    ),
    "ApiBacklogFilling": (
        Case(
            {f'openstack_wsgi_backlog_connection_count{{{PROCESS},server_port="1"}}': "60x9", f'openstack_wsgi_backlog_connection_limit{{{PROCESS},server_port="1"}}': "100x9"},
            {f'openstack_wsgi_backlog_connection_count{{{PROCESS},server_port="1"}}': "40x9", f'openstack_wsgi_backlog_connection_limit{{{PROCESS},server_port="1"}}': "100x9"},
            "8m", ON_HOST | {"server_port": "1"},
        ),
    ),
    "ApiInputOutputTimeouts": (
        Case({IO + '"TimeoutError"}': "0x5 7x20"}, {IO + '"BrokenPipeError"}': "0x5 70x20", IO + '"TimeoutError"}': "0x5 3x20"}, "9m", SERVICE | {"openstack_http_io_phase": "receive"}),
        Case({IO + '"eventlet.timeout.Timeout"}': "_x5 7x20"}, {}, "9m", SERVICE | {"openstack_http_io_phase": "receive"}),
    ),
    "DatabasePoolNearlyFull": (
        Case(used(*DB_USED, 90, DB, "db_client_connection_state"), used(*DB_USED, 80, DB, "db_client_connection_state"), "10m", ON_HOST | {"db_client_connection_pool_name": "nova"}),
    ),
    "DatabasePoolTimeouts": (
        Case({f"db_client_connection_timeouts_total{{{HOST}{DB}}}": "_x5 1x10"}, {f"db_client_connection_timeouts_total{{{HOST}{DB}}}": "1x15"}, "7m", SERVICE | {"db_client_connection_pool_name": "nova"}),
        Case({f"db_client_connection_timeouts_total{{{HOST}{DB}}}": "1x8 2x9"}, {}, "10m", SERVICE | {"db_client_connection_pool_name": "nova"}),
    ),
    "DatabaseConnectionErrors": (
        Case({DB_ERRORS + '"use"}': "0x5 9x9"}, {DB_ERRORS + '"ping"}': "0x5 9x9", DB_ERRORS + '"use"}': "0x5 2x9"}, "8m", SERVICE | {"db_client_connection_pool_name": "nova"}),
    ),
    "DatabaseDeadlocks": (
        Case({f'openstack_db_deadlocks_total{{{HOST},code_function_name="f"}}': "0+3x40"}, {f'openstack_db_deadlocks_total{{{HOST},code_function_name="f"}}': "0+0.5x40"}, "30m", SERVICE),
    ),
    "RpcTimeouts": (Case({TIMEOUTS: "_x5 4x10"}, {TIMEOUTS: "_x5 1x10"}, "10m", SERVICE | {"rpc_method": "compute/ping"}),),
    "RpcQueueWait": (
        Case(histogram("openstack_rpc_server_request_time_in_queue_seconds", "5"), histogram("openstack_rpc_server_request_time_in_queue_seconds", "0.5"), "20m", SERVICE),
    ),
    "RpcRemoteErrors": (
        Case(
            {RPC + "}": "0+50x40", RPC + ',openstack_rpc_error_origin="remote",error_type="X"}': "0+10x40"},
            {RPC + "}": "0+50x40", RPC + ',openstack_rpc_error_origin="remote",error_type="X"}': "0+1x40", RPC + ',openstack_rpc_error_origin="local",error_type="Y"}': "0+30x40"},
            "30m", SERVICE,
        ),
    ),
    "RpcReplyErrors": (
        Case({f'openstack_rpc_server_reply_errors_total{{{HOST},error_type="late_reply"}}': "0x5 4x10"}, {f'openstack_rpc_server_reply_errors_total{{{HOST},error_type="late_reply"}}': "0x5 1x10"}, "9m", SERVICE),
    ),
    "BrokerPoolNearlyFull": (Case(used(*BROKER_USED, 90, "", "openstack_pool_state"), used(*BROKER_USED, 70, "", "openstack_pool_state"), "10m", ON_HOST),),
    "EventLoopBlocked": (
        Case({LOOP + '"blocked"}': "0+20x30", LOOP + '"idle"}': "0+40x30"}, {LOOP + '"blocked"}': "0+3x30", LOOP + '"idle"}': "0+57x30"}, "20m", ON_HOST),
    ),
    "WorkerPoolFull": (
        Case(
            used(*POOL_USED, 95, POOL, "openstack_pool_state") | {PENDING: "3x20"}, used(*POOL_USED, 95, POOL, "openstack_pool_state") | {PENDING: "0x20"},
            "10m", ON_HOST | {"openstack_pool_name": "p"},
        ),
        Case(
            used(*POOL_USED, 100, POOL, "openstack_pool_state") | {PENDING: "3x20"}, used(*POOL_USED, 50, POOL, "openstack_pool_state") | {PENDING: "3x20"},
            "10m", ON_HOST | {"openstack_pool_name": "p"},
        ),
    ),
    "PoolTimeouts": (
        Case({f"openstack_pool_timeouts_total{{{HOST}{POOL}}}": "0x5 9x10"}, {f'openstack_pool_timeouts_total{{{HOST},openstack_pool_name="eventlet",openstack_pool_type="green"}}': "0+9x15"}, "9m", SERVICE | {"openstack_pool_name": "p"}),
    ),
    "LockWaitLong": (Case(histogram("openstack_lock_wait_duration_seconds", "60", ',openstack_lock_name="l"'), histogram("openstack_lock_wait_duration_seconds", "1", ',openstack_lock_name="l"'), "30m", SERVICE),),
    "PeriodicTasksLate": (Case(histogram("openstack_periodic_task_lag_seconds", "300", ',openstack_periodic_task_name="t"'), histogram("openstack_periodic_task_lag_seconds", "10", ',openstack_periodic_task_name="t"'), "35m", SERVICE),),
    "ServiceGone": (Case({f"{THREADS}{{{PROCESS}}}": "5x30"}, {f"{THREADS}{{{PROCESS}}}": "5x120"}, "85m", ON_HOST),),
    "WorkersGone": (
        Case(
            {f'{THREADS}{{{HOST},instance="{name}"}}': "5x50" if name in "ab" else "5x150" for name in "abcd"},
            {f'{THREADS}{{{HOST},instance="{name}"}}': "5x50" if name == "a" else "5x150" for name in "abcd"},
            "100m", ON_HOST,
        ),
    ),
    "TelemetryDropping": (Case({DROPPED: "0+5x30"}, {DROPPED: "9x30"}, "20m", SERVICE | {"otel_openstack_drop_reason": "queue full"}),),
    "TelemetryHookFailing": (Case({HOOK: "_x5 1x20"}, {HOOK: "_x5 0x20"}, "10m", SERVICE | {"otel_openstack_patch_name": "wsgi.call"}),),
    "CollectorDown": (Case({f"up{{{OWN}}}": "0x20"}, {f"up{{{OWN}}}": "1x20", 'up{job="other",instance="x"}': "0x20"}, "10m", COLLECTOR | {"job": "otel-openstack-collector"}),),
    "CollectorRefusing": (
        Case({f'otelcol_receiver_refused_metric_points{{{OWN},receiver="otlp"}}': "0+9x30"}, {f'otelcol_receiver_refused_metric_points{{{OWN},receiver="otlp"}}': "9x30"}, "20m", COLLECTOR),
        Case({f'otelcol_receiver_refused_spans{{{OWN},receiver="otlp"}}': "0+9x30", f'otelcol_receiver_refused_metric_points{{{OWN},receiver="otlp"}}': "0x30"}, {}, "20m", COLLECTOR),
    ),
    "CollectorSendFailing": (
        Case({f"otelcol_exporter_send_failed_spans{{{OWN},{SENT}}}": "0+9x30"}, {f"otelcol_exporter_send_failed_spans{{{OWN},{SENT}}}": "9x30"}, "20m", COLLECTOR | {"exporter": "otlp_http"}),
        Case({f"otelcol_exporter_enqueue_failed_metric_points{{{OWN},{SENT}}}": "0+9x30"}, {}, "20m", COLLECTOR | {"exporter": "otlp_http"}),
    ),
    "CollectorQueueFilling": (
        Case(
            {f'otelcol_exporter_queue_size{{{OWN},{SENT},data_type="traces"}}': "90x20", f'otelcol_exporter_queue_capacity{{{OWN},{SENT},data_type="traces"}}': "100x20"},
            {f'otelcol_exporter_queue_size{{{OWN},{SENT},data_type="traces"}}': "70x20", f'otelcol_exporter_queue_capacity{{{OWN},{SENT},data_type="traces"}}': "100x20"},
            "10m", COLLECTOR | {"exporter": "otlp_http", "data_type": "traces"},
        ),
    ),
    "StatsdDropping": (
        Case({f'otelcol_exporter_statsd_dropped_lines{{{OWN},exporter="statsd",reason="write"}}': "0+9x30"}, {f'otelcol_exporter_statsd_dropped_lines{{{OWN},exporter="statsd",reason="write"}}': "9x30"}, "20m", COLLECTOR | {"exporter": "statsd", "reason": "write"}),
    ),
}  # fmt: skip
