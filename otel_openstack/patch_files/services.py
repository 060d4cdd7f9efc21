# SPDX-License-Identifier: Apache-2.0
"""Which modules a service imports when it starts, as far as they can be imported without starting it."""

from __future__ import annotations

from importlib import metadata

# Of APIs, whose WSGI modules build the application when they are imported; and managers, which are imported by name.
MODULES: dict[str, tuple[str, ...]] = {
    "nova-api": ("nova.api.openstack.compute.routes", "nova.api.openstack.urlmap"),
    "nova-metadata": ("nova.api.metadata.handler",),
    "nova-compute": ("nova.compute.manager", "nova.virt.driver"),
    "nova-conductor": ("nova.conductor.manager",),
    "nova-scheduler": ("nova.scheduler.manager",),
    "neutron-api": ("neutron.api.v2.router", "neutron.plugins.ml2.plugin"),
    "neutron-server": ("neutron.api.v2.router", "neutron.plugins.ml2.plugin"),
    "neutron-rpc-server": ("neutron.service", "neutron.plugins.ml2.plugin"),
    "glance-api": ("glance.api.v2.router",),
    "keystone": ("keystone.server.flask.application",),
    "placement": ("placement.deploy",),
    "placement-api": ("placement.deploy",),
    "cinder-api": ("cinder.api.v3.router",),
    "cinder-scheduler": ("cinder.scheduler.manager",),
    "cinder-volume": ("cinder.volume.manager",),
    "cinder-backup": ("cinder.backup.manager",),
}
OBJECTS: dict[str, str] = {"cinder": "cinder.objects"}
"""Package -> its module whose `register_all` imports what others rely on; scripts call it before they import those."""
GROUPS = ("console_scripts", "wsgi_scripts")


def modules(service: str) -> tuple[str, ...]:
    """Return the modules: of the script called so and what is known besides; none of a service that is not known."""
    scripts = [entry.module for group in GROUPS for entry in metadata.entry_points(group=group, name=service)]
    return (*dict.fromkeys(scripts), *MODULES.get(service, ()))


def names() -> list[str]:
    """Return the services that are known by name."""
    scripts = {entry.name for group in GROUPS for entry in metadata.entry_points(group=group)}
    return sorted({*MODULES, *scripts})
