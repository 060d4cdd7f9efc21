# SPDX-License-Identifier: Apache-2.0
"""Where telemetry leaves the process: sinks of OTLP, the choice between them and the count of what became of it."""
