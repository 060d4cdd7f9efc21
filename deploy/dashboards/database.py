# SPDX-License-Identifier: Apache-2.0
"""Statements and where their time goes, pools of connections, and what breaks between a service and its database."""

from panels import Dashboard, busy, mean, panel, quantile, rate, section, state, table, utilisation

STATEMENTS = "db.client.operation.duration"
FUNCTIONS = "openstack.db.function.duration"
POOL = "db.client.connection.pool.name"
TABLE = ("job", "db.namespace", "db.collection.name", "db.operation.name")
USED = 'db.client.connection.count{db.client.connection.state="used"}'

DASHBOARD = Dashboard(
    "otel-openstack-database",
    "OpenStack database",
    "Statements by service and table, pools of connections, errors, retries and deadlocks; commands of the cache.",
    (
        section(
            "Statements and tables",
            panel("Statements", rate(f"{STATEMENTS}:count", "job", "db.system.name"), stacked=True),
            panel("Time in statements", busy(STATEMENTS, "job"), why="Seconds a second: how many connections are busy on average.", stacked=True),
            panel("Statements, p95", quantile(0.95, STATEMENTS, "job", "db.system.name")),
            table(
                "Tables",
                busy(STATEMENTS, *TABLE).called("Load"),
                rate(f"{STATEMENTS}:count", *TABLE).called("Statements"),
                mean(STATEMENTS, *TABLE).called("Mean"),
                quantile(0.95, STATEMENTS, *TABLE).called("p95"),
                why="The load is the time that the statements of a row took, by second.",
            ),
            panel("Failed statements", rate(f'{STATEMENTS}:count{{error.type!=""}}', "job", "db.operation.name", "error.type"), width=12),
            panel("Reads and writes", rate(f"{STATEMENTS}:count", "db.operation.name"), width=12, stacked=True),
        ),
        section(
            "Pools of connections",
            panel("Fullness of the fullest pool", utilisation(USED, "db.client.connection.max", "job", POOL), why="At 100 % the next request waits for a connection. The alert on the pool looks at this."),
            panel("Connections by state", state("db.client.connection.count", "job", "db.client.connection.state"), stacked=True),
            panel("Most connections", state("db.client.connection.max", "job"), why="Of all processes together: what the database has to be able to serve (max_connections)."),
            panel("Requests that wait for a connection", state("db.client.connection.pending_requests", "job", POOL)),
            panel("Wait for a connection, p95", quantile(0.95, "db.client.connection.wait_time", "job", POOL)),
            panel("Timeouts of the pool", rate("db.client.connection.timeouts", "job", POOL)),
            panel("Use of a connection, p95", quantile(0.95, "db.client.connection.use_time", "job", POOL), why="Long with few statements: a transaction that is kept open over something else."),
            panel("Time to connect, p95", quantile(0.95, "db.client.connection.create_time", "job", POOL)),
            panel("New connections", rate("db.client.connection.create_time:count", "job", POOL)),
        ),
        section(
            "What breaks",
            panel("Connection errors", rate("openstack.db.client.connection.errors", "job", POOL, "openstack.db.client.connection.phase", "error.type"), why="connect: not reached; ping: found dead before use, harmless alone; use: broke under a statement."),
            panel("Retries", rate("openstack.db.retries", "job", "code.function.name", "error.type")),
            panel("Deadlocks", rate("openstack.db.deadlocks", "job", "code.function.name")),
        ),
        section(
            "Functions of the services",
            table(
                "Functions",
                busy(FUNCTIONS, "job", "code.function.name", "openstack.db.access").called("Load"),
                rate(f"{FUNCTIONS}:count", "job", "code.function.name", "openstack.db.access").called("Calls"),
                mean(FUNCTIONS, "job", "code.function.name", "openstack.db.access").called("Mean"),
            ),
            panel("Functions, p95", quantile(0.95, FUNCTIONS, "job", "openstack.db.access"), width=12),
            panel("Failed functions", rate(f'{FUNCTIONS}:count{{error.type!=""}}', "job", "code.function.name", "error.type"), width=12),
        ),
    ),
)  # fmt: skip
