# SPDX-License-Identifier: Apache-2.0
"""The command `otel-openstack`, one file a command."""
