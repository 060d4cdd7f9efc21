# SPDX-License-Identifier: Apache-2.0
"""Pools of threads, green threads and connections: how full, who waits, who gave up."""

from panels import Dashboard, panel, quantile, rate, section, state, table, utilisation

POOL = ("job", "openstack.pool.type", "openstack.pool.name")
COUNT = "openstack.pool.worker.count"
LIMIT = "openstack.pool.worker.limit"
USED = f'{COUNT}{{openstack.pool.state="used"}}'

DASHBOARD = Dashboard(
    "otel-openstack-pools",
    "OpenStack pools",
    "Pools of threads, green threads and connections: used, free, limit, waiters and timeouts, to size them.",
    (
        section(
            "All pools",
            table(
                "Pools",
                utilisation(USED, LIMIT, *POOL).called("Fullest"),
                state(USED, *POOL).called("Used"),
                state(LIMIT, *POOL).called("Limit"),
                why="Fullest is the process whose pool is fullest; used and limit are sums over the processes.",
            ),
        ),
        section(
            "Workers",
            panel("Fullness of the fullest pool", utilisation(USED, LIMIT, *POOL), why="The alert on full pools looks at this, together with who waits."),
            panel("Used", state(USED, *POOL)),
            panel("Free", state(f'{COUNT}{{openstack.pool.state="idle"}}', *POOL), why="Idle, or not started yet: used and free add up to the limit."),
        ),
        section(
            "Waiters",
            panel("Waiting for a worker or a connection", state("openstack.pool.pending_requests", *POOL)),
            panel("Wait for a worker, p95", quantile(0.95, "openstack.pool.wait.duration", *POOL)),
            panel("Timeouts", rate("openstack.pool.timeouts", *POOL), why="Some services poll their pools with a timeout: look for a change, not for a value."),
        ),
    ),
)  # fmt: skip
