# SPDX-License-Identifier: Apache-2.0
"""Service users, services and endpoints as given in JSON: {"nova": ["compute", "http://…"], …}. May be repeated."""

import json
import os
import sys

import openstack


def main() -> None:
    cloud = openstack.connect(identity_endpoint_override=os.environ["OS_AUTH_URL"])
    identity = cloud.identity
    roles = [
        identity.find_role("admin"),
        identity.find_role("service") or identity.create_role(name="service"),
    ]
    project = identity.find_project("service") or identity.create_project(name="service", domain_id="default")
    for name, (kind, url) in json.loads(sys.argv[1]).items():
        user = identity.find_user(name) or identity.create_user(
            name=name, password=os.environ["OS_PASSWORD"], domain_id="default"
        )
        for role in roles:
            identity.assign_project_role_to_user(project=project, user=user, role=role)
        service = identity.find_service(name) or identity.create_service(name=name, type=kind)
        existing = {endpoint.interface: endpoint for endpoint in identity.endpoints(service_id=service.id)}
        for interface in ("public", "internal", "admin"):
            if interface not in existing:
                identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="RegionOne")
            elif existing[interface].url != url:
                identity.update_endpoint(existing[interface], url=url)


main()
