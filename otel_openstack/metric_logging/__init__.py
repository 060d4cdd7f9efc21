# SPDX-License-Identifier: Apache-2.0
"""Measurements through the log: a level METRIC, and what a `logging.conf` needs to send its records elsewhere.

    LOG = metric_logging.get_logger(__name__)
    LOG.metric("compute.build", 1.25, "histogram", unit="s", attributes={"flavor": "m1.tiny"})

`docs/metric-logging.md` has the configurations. Importing this module registers the name of the level. It works without
the distribution too; then the handlers' thread is all that starts.
"""

from otel_openstack.metric_logging.adapter import MetricAdapter, get_logger
from otel_openstack.metric_logging.datagrams import DatagramHandler
from otel_openstack.metric_logging.formats import DogStatsdFormatter, JSONFormatter, StatsdFormatter
from otel_openstack.metric_logging.records import METRIC, METRICS, Measurement, MetricFilter
from otel_openstack.metric_logging.to_otlp import OTLPHandler

__all__ = [
    "METRIC",
    "METRICS",
    "DatagramHandler",
    "DogStatsdFormatter",
    "JSONFormatter",
    "Measurement",
    "MetricAdapter",
    "MetricFilter",
    "OTLPHandler",
    "StatsdFormatter",
    "get_logger",
]
