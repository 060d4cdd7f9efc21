# SPDX-License-Identifier: Apache-2.0
"""Recorded telemetry -> answers. Reads OTLP JSON lines; needs neither the SDK nor the services."""
