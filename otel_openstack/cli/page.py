# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack page`: traces and metrics of a recording as one HTML page."""
