# SPDX-License-Identifier: Apache-2.0
"""Backups of servers: a service as OpenStack's are, small enough to be read in ten minutes."""

from oslo_service import backend

from otel_openstack import use_registry

use_registry("telemetry.yaml")

# Native threads, as nova and neutron choose them; has to come before the first import of oslo_service.service.
backend.init_backend(backend.BackendType.THREADING)
