# SPDX-License-Identifier: Apache-2.0
"""Who calls whom over the message bus, how long a message waits, what times out and what fails at the other end."""

from panels import Dashboard, busy, mean, panel, quantile, rate, section, share, state, table, utilisation

CLIENT = "rpc.client.call.duration"
SERVER = "rpc.server.call.duration"
QUEUE = "openstack.rpc.server.request.time_in_queue"
SENT = "messaging.client.operation.duration"
REMOTE = 'openstack.rpc.error.origin="remote"'
LOCAL = 'openstack.rpc.error.origin="local"'
BUS = ("job", "server.address")

DASHBOARD = Dashboard(
    "otel-openstack-rpc",
    "OpenStack RPC",
    "The map of calls between services, the wait of messages, timeouts, errors of the other end, casts and notifications.",
    (
        section(
            "Map",
            table(
                "Who calls",
                rate(f"{CLIENT}:count", "job", "rpc.method").called("Calls"),
                share(f'{CLIENT}:count{{error.type!=""}}', f"{CLIENT}:count", "job", "rpc.method").called("Failed"),
                mean(CLIENT, "job", "rpc.method").called("Mean"),
                quantile(0.95, CLIENT, "job", "rpc.method").called("p95"),
                why="A line is a service and a method that it calls; the other table says who serves that method.",
                width=12,
            ),
            table(
                "Who serves",
                rate(f"{SERVER}:count", "job", "rpc.method", "openstack.rpc.call.type").called("Served"),
                mean(SERVER, "job", "rpc.method", "openstack.rpc.call.type").called("Mean"),
                mean(QUEUE, "job", "rpc.method", "openstack.rpc.call.type").called("Mean wait"),
                quantile(0.95, QUEUE, "job", "rpc.method", "openstack.rpc.call.type").called("p95 of wait"),
                width=12,
            ),
            panel("Calls", rate(f"{CLIENT}:count", "job"), stacked=True),
            panel("Calls, p95 at the client", quantile(0.95, CLIENT, "job"), why="More than the server's time and the wait in its queue is the broker, or a reply that waits for its reader."),
            panel("Served, p95 at the server", quantile(0.95, SERVER, "job")),
        ),
        section(
            "Wait and load",
            panel("Wait in the queue of a server, p95", quantile(0.95, QUEUE, "job"), why="Rises when all workers of a server are busy. The alert on the wait looks at this."),
            panel("Workers busy with messages", busy(SERVER, "job"), why="How many workers are at it on average: 100 % is one."),
            panel("Wait for replies, p95", quantile(0.95, "openstack.rpc.client.reply.wait.duration", "job", "openstack.rpc.call.type")),
        ),
        section(
            "Timeouts and errors",
            panel("Timeouts", rate("openstack.rpc.client.timeouts", "job", "rpc.method"), why="No reply came in time: a dead server, a full queue, a lost message."),
            panel("Timeouts by topic", rate("openstack.rpc.client.timeouts", "messaging.destination.template")),
            panel("Remote errors", rate(f"{CLIENT}:count{{{REMOTE}}}", "job", "rpc.method", "error.type"), why="Raised by the server and sent back to its caller."),
            panel("Share of calls with a remote error", share(f"{CLIENT}:count{{{REMOTE}}}", f"{CLIENT}:count", "job")),
            panel("Local errors", rate(f"{CLIENT}:count{{{LOCAL}}}", "job", "error.type"), why="The broker could not be reached, or no reply came."),
            panel("Errors of replies", rate("openstack.rpc.server.reply.errors", "job", "error.type"), why="The caller waits until its timeout."),
            panel("Server errors", rate(f'{SERVER}:count{{error.type!=""}}', "job", "rpc.method", "error.type")),
            panel("Time to send a reply, p95", quantile(0.95, "openstack.rpc.server.reply.duration", "job")),
            panel("Messages that could not be sent", rate('messaging.client.sent.messages{error.type!=""}', "job", "messaging.operation.name", "error.type")),
        ),
        section(
            "Casts, notifications and messages",
            panel("Casts and notifications", rate(f"{SENT}:count", "messaging.operation.name"), stacked=True),
            panel("Time to send them, p95", quantile(0.95, SENT, "job", "messaging.operation.name")),
            panel("Processing of notifications, p95", quantile(0.95, "messaging.process.duration", "job", "messaging.destination.template")),
            panel("Messages sent", rate("messaging.client.sent.messages", "job", "messaging.operation.name"), stacked=True),
            panel("Messages delivered", rate("messaging.client.consumed.messages", "job", "messaging.destination.template"), stacked=True),
            panel("Processing of notifications", rate("messaging.process.duration:count", "job", "openstack.notification.priority")),
        ),
        section(
            "Connections to the broker, contexts",
            panel("Fullness of the connection pool", utilisation('openstack.messaging.client.connection.count{openstack.pool.state="used"}', "openstack.messaging.client.connection.max", *BUS), why="oslo.messaging's pool blocks at its limit (rpc_conn_pool_size)."),
            panel("Connections by state", state("openstack.messaging.client.connection.count", "job", "openstack.pool.state")),
            panel("Most connections", state("openstack.messaging.client.connection.max", "job")),
            panel("Packing a context, p95", quantile(0.95, "openstack.rpc.context.pack.duration", "job"), width=12),
            panel("Unpacking a context, p95", quantile(0.95, "openstack.rpc.context.unpack.duration", "job"), width=12),
        ),
    ),
)  # fmt: skip
