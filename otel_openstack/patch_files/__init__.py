# SPDX-License-Identifier: Apache-2.0
"""Patch files: an operator names methods of a service, and what to measure of each, without changing the service.

    OTEL_OPENSTACK_PATCH_FILES=/etc/otel-openstack/nova.yaml,/etc/tach/tach-compute.conf
    OTEL_OPENSTACK_PATCH_PRESETS=nova

`read` is for a file, `install` for a process. Nothing here imports a module of a service: an entry waits until the
service has imported what it names.
"""

from otel_openstack.patch_files.files import PRESETS, preset, read
from otel_openstack.patch_files.installed import install, uninstall

__all__ = ["PRESETS", "install", "preset", "read", "uninstall"]
