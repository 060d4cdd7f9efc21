# SPDX-License-Identifier: Apache-2.0
"""An OpenTelemetry distribution for OpenStack: unchanged services measure and trace themselves."""

__version__ = "0.1.0"
