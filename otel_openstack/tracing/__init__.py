# SPDX-License-Identifier: Apache-2.0
"""Lean spans: the API is OpenTelemetry's, the hot path is ours; see docs/spans.md for what differs from the SDK."""

from otel_openstack.tracing.joining import join
from otel_openstack.tracing.operations import Operation, child, leaf, root, totals
from otel_openstack.tracing.provider import TracerProvider
from otel_openstack.tracing.tasks import Captured, capture
from otel_openstack.tracing.totals import Totals

__all__ = ["Captured", "Operation", "Totals", "TracerProvider", "capture", "child", "join", "leaf", "root", "totals"]
