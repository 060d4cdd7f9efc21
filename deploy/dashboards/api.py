# SPDX-License-Identifier: Apache-2.0
"""Rate, errors and duration of the APIs, per service and route; and where the time of a request goes."""

from panels import Dashboard, mean, panel, quantile, quantiles, rate, section, share, state, table, utilisation

REQUESTS = "http.server.request.duration"
# Answers with 5xx, and requests that ended in an exception before they had a status.
FAILED = 'error.type!="",http.response.status_code=~"5..|"'
ROUTE = ("job", "http.request.method", "http.route")

DASHBOARD = Dashboard(
    "otel-openstack-api",
    "OpenStack API",
    "Requests of every service: rate, errors, duration, by route; where a request spends its time; what calls out.",
    (
        section(
            "Rate, errors, duration per service",
            panel("Requests", rate(f"{REQUESTS}:count", "job"), stacked=True),
            panel(
                "Failed requests",
                share(f"{REQUESTS}:count{{{FAILED}}}", f"{REQUESTS}:count", "job"),
                why="Share of answers with 5xx, or without any. The alerts on the error budget look at this.",
            ),
            panel("Duration, p95", quantile(0.95, REQUESTS, "job")),
            panel(
                "Answers by status",
                rate(f"{REQUESTS}:count", "http.response.status_code"),
                why="A rise of 401 is a token service in trouble, of 409 and 503 a database or a lock.",
                stacked=True,
            ),
            panel("Duration of all, p50, p95, p99", *quantiles(REQUESTS)),
            panel("Requests under way", state("http.server.active_requests", "job"), why="Near the number of workers, the next request waits in the backlog."),
        ),
        section(
            "Per route",
            table(
                "Routes",
                rate(f"{REQUESTS}:count", *ROUTE).called("Requests"),
                share(f"{REQUESTS}:count{{{FAILED}}}", f"{REQUESTS}:count", *ROUTE).called("Failed"),
                mean(REQUESTS, *ROUTE).called("Mean"),
                quantile(0.95, REQUESTS, *ROUTE).called("p95"),
                why="Sort by a column to find the busiest, the worst, the slowest route.",
            ),
            panel("Failures by type", rate(f"{REQUESTS}:count{{{FAILED}}}", "job", "http.route", "error.type"), width=12),
            panel("Slowest routes, p95", quantile(0.95, REQUESTS, "job", "http.route"), width=12),
        ),
        section(
            "Where a request waits",
            panel(
                "Fullness of the listening queue",
                utilisation("openstack.wsgi.backlog.connection.count", "openstack.wsgi.backlog.connection.limit", "job", "server.port"),
                why="A full queue makes clients wait seconds for a connection: more workers, or faster ones.",
            ),
            panel("Connections that wait to be accepted", state("openstack.wsgi.backlog.connection.count", "job", "host.name")),
            panel("Wait before the application, p95", quantile(0.95, "openstack.wsgi.request.time_in_queue", "job")),
            panel("Errors of input and output", rate("openstack.http.server.io.errors", "job", "openstack.http.io.phase", "error.type"), why="Clients that went away or were too slow, seen where a body is read or an answer sent."),
            panel("Time to read a body, p95", quantile(0.95, "openstack.http.server.request.receive.duration", "job")),
            panel("Time to send an answer, p95", quantile(0.95, "openstack.http.server.response.send.duration", "job")),
        ),
        section(
            "Phases and sizes",
            panel("Until the controller is called, p95", quantile(0.95, "openstack.wsgi.dispatch.duration", "job"), why="Filters, and with them the check of the token."),
            panel("Until the first byte, p95", quantile(0.95, "openstack.wsgi.request.process.duration", "job")),
            panel("Producing the body, p95", quantile(0.95, "openstack.wsgi.response.process.duration", "job")),
            panel("Bytes received", rate("http.server.request.body.size:sum", "job"), width=12),
            panel("Bytes sent", rate("http.server.response.body.size:sum", "job"), width=12),
        ),
        section(
            "Requests to other services",
            panel("Outgoing requests", rate("http.client.request.duration:count", "job", "server.address", "server.port")),
            panel("Failed outgoing requests", rate('http.client.request.duration:count{error.type!=""}', "job", "server.address", "server.port", "error.type")),
            panel("Outgoing requests, p95", quantile(0.95, "http.client.request.duration", "job", "server.address", "server.port")),
        ),
    ),
)  # fmt: skip
