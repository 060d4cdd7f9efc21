# SPDX-License-Identifier: Apache-2.0
"""An idle process is silent between its export intervals, although exporting changes the metrics of its own health."""

from __future__ import annotations

from otel_openstack import health, metrics, settings
from otel_openstack.exporters.accounting import account
from otel_openstack.exporters.sink import Outcome
from otel_openstack.metrics.job import MetricsJob
from otel_openstack.metrics.provider import PullReader, build
from otel_openstack.runtime import originals
from otel_openstack.semconv import instruments


class Sink:
    encoding = "json"

    def __init__(self):
        self.payloads = []

    def send(self, signal, payload, items, deadline):
        self.payloads.append(payload.decode())
        return Outcome.DELIVERED, 0


def test_exporting_is_no_reason_to_export(telemetry):
    settings.use(settings.Settings(level="detailed", strict=True))
    metrics.reset()
    reader, sink = PullReader(), Sink()
    provider = build(readers=[reader])
    handles = health.observe({"traces": []})
    account("metrics").reset()
    try:
        job = MetricsJob(reader, sink, everything=3600.0)
        deadline = originals.monotonic() + 10
        metrics.counter(instruments.MESSAGING_CLIENT_SENT_MESSAGES).add(1, "rabbitmq")
        job.run(deadline, final=False)
        assert len(sink.payloads) == 1
        job.run(deadline, final=False)
        job.run(deadline, final=False)
        assert len(sink.payloads) == 1
        metrics.counter(instruments.MESSAGING_CLIENT_SENT_MESSAGES).add(1, "rabbitmq")
        job.run(deadline, final=False)
        assert len(sink.payloads) == 2
        assert "items.delivered" not in sink.payloads[-1]
        job.run(deadline, final=True)
        assert "items.delivered" in sink.payloads[-1]
        assert "export.duration" in sink.payloads[-1]  # of level detailed
    finally:
        del provider
        for handle in handles:
            handle.close()
