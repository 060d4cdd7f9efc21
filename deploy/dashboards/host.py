# SPDX-License-Identifier: Apache-2.0
"""One host: which services run there, what they use, and whether one of them is in trouble."""

from panels import Dashboard, Query, busy, panel, quantile, rate, section, share, state, utilisation

LOOP = "openstack.event_loop.time"
FAILED = 'error.type!="",http.response.status_code=~"5..|"'

DASHBOARD = Dashboard(
    "otel-openstack-host",
    "OpenStack host",
    "Everything that the services of one host say: processes, CPU, memory, requests, messages, database, loop.",
    (
        section(
            "The processes of the host",
            panel("Processes", Query("count by (job) (<process.thread.count>)", ("job",)), why="A worker that is respawned is counted twice for up to five minutes."),
            panel("CPU", rate("process.cpu.time", "job"), why="100 % is one core.", stacked=True),
            panel("Memory", state("process.memory.usage", "job"), stacked=True),
            panel("Memory by process", state("process.memory.usage", "job", "instance"), why="One that grows for days leaks."),
            panel("Threads by process", state("process.thread.count", "job", "instance")),
            panel("Open file descriptors by process", state("process.open_file_descriptor.count", "job", "instance")),
        ),
        section(
            "Work",
            panel("Requests", rate("http.server.request.duration:count", "job"), stacked=True),
            panel("Failed requests", share(f"http.server.request.duration:count{{{FAILED}}}", "http.server.request.duration:count", "job")),
            panel("Requests, p95", quantile(0.95, "http.server.request.duration", "job")),
            panel("Messages served", rate("rpc.server.call.duration:count", "job", "rpc.method"), stacked=True),
            panel("Wait of messages, p95", quantile(0.95, "openstack.rpc.server.request.time_in_queue", "job")),
            panel("Outgoing calls, p95", quantile(0.95, "rpc.client.call.duration", "job", "rpc.method")),
            panel("Time in statements", busy("db.client.operation.duration", "job"), stacked=True),
            panel("Periodic tasks, p95", quantile(0.95, "openstack.periodic_task.duration", "job", "openstack.periodic_task.name")),
            panel("Loop blocked", share(f'{LOOP}{{openstack.event_loop.state="blocked"}}', LOOP, "job")),
        ),
        section(
            "What is full, what is lost",
            panel("Fullest pool of database connections", utilisation('db.client.connection.count{db.client.connection.state="used"}', "db.client.connection.max", "job", "db.client.connection.pool.name")),
            panel("Fullest pool of workers", utilisation('openstack.pool.worker.count{openstack.pool.state="used"}', "openstack.pool.worker.limit", "job", "openstack.pool.name")),
            panel("Telemetry dropped", rate("otel_openstack.items.dropped", "job", "otel_openstack.signal", "otel_openstack.drop.reason")),
        ),
    ),
    one_host=True,
)  # fmt: skip
