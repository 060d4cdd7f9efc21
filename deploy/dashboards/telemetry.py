# SPDX-License-Identifier: Apache-2.0
"""Whether what the other dashboards show is complete: what services and collectors recorded, delivered and lost."""

from panels import Dashboard, Query, panel, quantile, rate, section, share, state, table, utilisation

ITEMS = "otel_openstack.items"
QUEUE = ("exporter", "data_type")
OF = ("instance", "receiver")
TO = ("instance", "exporter")

DASHBOARD = Dashboard(
    "otel-openstack-telemetry",
    "OpenStack telemetry's own health",
    "Recorded = delivered + dropped + still queued, in the services; received = sent + refused + failed, in the collectors.",
    (
        section(
            "In the services",
            panel("Recorded", rate(f"{ITEMS}.recorded", "otel_openstack.signal")),
            panel("Delivered", rate(f"{ITEMS}.delivered", "otel_openstack.signal")),
            panel("Dropped", rate(f"{ITEMS}.dropped", "job", "otel_openstack.signal", "otel_openstack.drop.reason"), why="Lost for good. The alert on dropping looks at this."),
            panel("Share dropped", share(f"{ITEMS}.dropped", f"{ITEMS}.recorded", "job")),
            panel("Waiting for export", state("otel_openstack.queue.length", "job", "otel_openstack.signal")),
            panel("Duration of an export, p95", quantile(0.95, "otel_openstack.export.duration", "job", "otel_openstack.signal")),
            panel("Failed exports", rate('otel_openstack.export.duration:count{error.type!=""}', "job", "error.type")),
            panel("Failures inside hooks", rate("otel_openstack.patch.failures", "job", "otel_openstack.patch.name"), why="After five in a process its hook is off there: what it measured is missing from then on."),
            panel("Processes that report", Query("count by (job) (<process.thread.count>)", ("job",))),
            table("Series by instrument", state("otel_openstack.instrument.series", "job", "otel_openstack.instrument.name").called("Series"), why="Over all processes; an instrument that is at its limit folds the rest into one series."),
        ),
        section(
            "In the collectors",
            panel("Up", Query('sum by (instance) (<up{job="otel-openstack-collector"}>)', ("instance",))),
            panel("Spans received", rate("otelcol_receiver_accepted_spans", *OF)),
            panel("Points received", rate("otelcol_receiver_accepted_metric_points", *OF)),
            panel("Log records received", rate("otelcol_receiver_accepted_log_records", *OF)),
            panel("Refused", *(rate(f"otelcol_receiver_refused_{kind}", *OF).called(name) for kind, name in (("spans", "spans"), ("metric_points", "points"), ("log_records", "records"))), why="For want of memory: the senders keep and send again, and drop when their queues are full."),
            panel("Spans sent", rate("otelcol_exporter_sent_spans", *TO)),
            panel("Points sent", rate("otelcol_exporter_sent_metric_points", *TO)),
            panel("Given up", *(rate(f"otelcol_exporter_send_failed_{kind}", *TO).called(name) for kind, name in (("spans", "spans"), ("metric_points", "points"))), why="After all repetitions: lost."),
            panel("Sending queue full", *(rate(f"otelcol_exporter_enqueue_failed_{kind}", *TO).called(name) for kind, name in (("spans", "spans"), ("metric_points", "points")))),
            panel("Fullness of sending queues", Query("max by (instance, exporter, data_type) (<otelcol_exporter_queue_size> / <otelcol_exporter_queue_capacity>)", ("instance", *QUEUE), "share")),
            panel("Lines of statsd lost", rate("otelcol_exporter_statsd_dropped_lines", "instance", "exporter", "reason")),
            panel("Series added up for Prometheus", utilisation("otelcol_deltatocumulative_streams_tracked", "otelcol_deltatocumulative_streams_limit", "instance"), why="At 100 % new series are lost."),
            panel("Memory of the collector", state("otelcol_process_memory_rss", "instance"), width=12),
            panel("CPU of the collector", rate("otelcol_process_cpu_seconds", "instance"), width=12),
        ),
    ),
)  # fmt: skip
