# SPDX-License-Identifier: Apache-2.0
"""What the processes themselves are doing: event loop, threads, locks, periodic tasks, garbage collector."""

from panels import Dashboard, busy, panel, quantile, rate, section, share, state, table

LOOP = "openstack.event_loop.time"
DELAY = "openstack.event_loop.delay"
TURN = "openstack.event_loop.function.duration"
TASKS = "openstack.periodic_task.duration"
LOCK = ("job", "openstack.lock.name", "openstack.lock.external")

DASHBOARD = Dashboard(
    "otel-openstack-runtime",
    "OpenStack event loop and threads",
    "Event loops (eventlet, asyncio) and native threads, locks, periodic tasks, memory and CPU of the services.",
    (
        section(
            "Event loop",
            panel("Time of the loop by state", rate(LOOP, "job", "openstack.event_loop.state"), why="Idle and active are well. Blocked is time in turns longer than 100 ms: everything else in the process waited.", stacked=True),
            panel("Share of the time blocked", share(f'{LOOP}{{openstack.event_loop.state="blocked"}}', LOOP, "job"), why="The alert on the loop looks at this."),
            panel("Delay of what was due, p99", quantile(0.99, DELAY, "job", "openstack.event_loop.type"), why="With type thread: how late the scheduler and the GIL let a sleeping thread run."),
            table(
                "Functions of the loop",
                busy(TURN, "job", "code.function.name", "openstack.event_loop.function.native").called("Load"),
                rate(f"{TURN}:count", "job", "code.function.name", "openstack.event_loop.function.native").called("Runs"),
                quantile(0.99, TURN, "job", "code.function.name", "openstack.event_loop.function.native").called("p99"),
                why="A function that is not native and takes long blocks the loop.",
            ),
        ),
        section(
            "Threads and processors",
            panel("CPU by service", rate("process.cpu.time", "job", "cpu.mode"), why="100 % is one core.", stacked=True),
            panel("Threads", state("process.thread.count", "job")),
            panel("Context switches", rate("process.context_switches", "job", "process.context_switch.type"), why="Many involuntary ones: more threads want to run than there are processors."),
            panel("Memory", state("process.memory.usage", "job"), stacked=True),
            panel("Open file descriptors", state("process.open_file_descriptor.count", "job")),
            panel("Collections of the oldest generation", rate('cpython.gc.collections{cpython.gc.generation="2"}', "job"), why="Each stops the process while it runs."),
            panel("Objects collected", rate("cpython.gc.collected_objects", "job"), width=12),
            panel("Objects that cannot be collected", rate("cpython.gc.uncollectable_objects", "job"), why="Should stay at zero.", width=12),
        ),
        section(
            "Locks",
            panel("Wait for a lock, p95", quantile(0.95, "openstack.lock.wait.duration", *LOCK)),
            panel("Waiting for locks", busy("openstack.lock.wait.duration", *LOCK), why="How many wait on average: 100 % is one."),
            panel("Time that a lock was held, p95", quantile(0.95, "openstack.lock.hold.duration", *LOCK)),
        ),
        section(
            "Periodic tasks",
            panel("Duration, p95", quantile(0.95, TASKS, "job", "openstack.periodic_task.name")),
            panel("Start later than due, p95", quantile(0.95, "openstack.periodic_task.lag", "job", "openstack.periodic_task.name")),
            panel("Failed turns", rate(f'{TASKS}:count{{error.type!=""}}', "job", "openstack.periodic_task.name", "error.type")),
        ),
    ),
)  # fmt: skip
