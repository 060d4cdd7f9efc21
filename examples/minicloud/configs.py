# SPDX-License-Identifier: Apache-2.0
"""Every configuration file of the cloud as data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import cases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cases import Config, Section
    from layout import Cloud


def write_all(cloud: Cloud) -> None:
    """Write the files under etc/; done at every start, since ports and concurrency may have changed."""
    for name, config in files(cloud).items():
        (cloud.etc / name).write_text(_text(config))
    # nova's WSGI entry point looks for its paste file beside its configuration.
    shutil.copy(_paste(cloud, "nova/api-paste.ini"), cloud.etc / "api-paste.ini")


def files(cloud: Cloud) -> dict[str, Config]:
    own = {
        "keystone.conf": _keystone(cloud),
        "placement.conf": _placement(cloud),
        "glance-api.conf": _glance(cloud),
        "nova.conf": _nova(cloud),
        "neutron.conf": _neutron(cloud),
        "plugins/ml2/ml2_conf.ini": ML2,
    }
    others = cases.config(cloud)
    return {name: config | others.get(name, {}) for name, config in own.items()}


ML2: Config = {
    "ml2": {
        "type_drivers": "local,flat,vlan",
        "tenant_network_types": "local",
        "mechanism_drivers": "openvswitch",
        "extension_drivers": "port_security",
    },
    "securitygroup": {"enable_security_group": "true"},
}
NOTIFY: Section = {"driver": "messagingv2"}


def _keystone(cloud: Cloud) -> Config:
    return {
        "database": {"connection": cloud.database("keystone")},
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": f"{cloud.state}/fernet-keys"},
        "credential": {"key_repository": f"{cloud.state}/credential-keys"},
        "cache": _cache(cloud),
        "oslo_messaging_notifications": {"driver": "noop"},
    }


def _placement(cloud: Cloud) -> Config:
    return {
        "api": {"auth_strategy": "keystone"},
        "placement_database": {"connection": cloud.database("placement")},
        "keystone_authtoken": _token_check(cloud, "placement"),
    }


def _glance(cloud: Cloud) -> Config:
    return {
        "DEFAULT": {
            "enabled_backends": "file1:file",
            "worker_self_reference_url": cloud.url("glance"),
            "transport_url": cloud.transport,
            "node_staging_uri": f"file://{cloud.state}/glance-staging",
            "enabled_import_methods": "[]",
        },
        "database": {"connection": cloud.database("glance")},
        "glance_store": {"default_backend": "file1"},
        "file1": {"filesystem_store_datadir": f"{cloud.state}/images"},
        "paste_deploy": {"flavor": "keystone", "config_file": str(_paste(cloud, "glance/glance-api-paste.ini"))},
        "oslo_messaging_notifications": NOTIFY,
        "keystone_authtoken": _token_check(cloud, "glance"),
    }


def _nova(cloud: Cloud) -> Config:
    as_nova = _login(cloud, "nova")
    return {
        "DEFAULT": {
            "concurrency_backend": cloud.options.concurrency,
            "transport_url": cloud.transport,
            "state_path": f"{cloud.state}/nova",
            "my_ip": "127.0.0.1",
            "host": "demo-host",
            # fake.FakeDriver makes node ids at random, so that nova-compute cannot restart.
            "compute_driver": "fake.FakeDriverWithoutFakeNodes",
            "use_cow_images": "false",
            "rpc_response_timeout": "30",
            "report_interval": "10",
            "heal_instance_info_cache_interval": "-1",
            # Periodic tasks begin within five seconds, not within a minute: even a short run sees some.
            "periodic_fuzzy_delay": "5",
        },
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": str(_paste(cloud, "nova/api-paste.ini"))},
        "database": {"connection": cloud.database("nova")},
        "api_database": {"connection": cloud.database("nova_api")},
        "cache": _cache(cloud),
        "conductor": {"workers": "1"},
        "scheduler": {"workers": "1", "discover_hosts_in_cells_interval": "10"},
        "oslo_concurrency": {"lock_path": f"{cloud.state}/nova/lock"},
        "oslo_messaging_notifications": NOTIFY,
        "notifications": {"notify_on_state_change": "vm_and_task_state"},
        "glance": as_nova,
        "placement": as_nova,
        "service_user": {"send_service_user_token": "true", **as_nova},
        "neutron": {**as_nova, "service_metadata_proxy": "false"},
        "cinder": {**as_nova, "os_region_name": "RegionOne"},
        "vnc": {"enabled": "false"},
        "keystone_authtoken": _token_check(cloud, "nova"),
    }


def _neutron(cloud: Cloud) -> Config:
    return {
        "DEFAULT": {
            "core_plugin": "ml2",
            "service_plugins": "",
            "auth_strategy": "keystone",
            "transport_url": cloud.transport,
            "state_path": f"{cloud.state}/neutron",
            "api_paste_config": str(_paste(cloud, "neutron/api-paste.ini")),
            "notify_nova_on_port_status_changes": "true",
            "notify_nova_on_port_data_changes": "true",
            "rpc_workers": "1",
            "rpc_state_report_workers": "0",
            "api_workers": "1",
            "rpc_response_timeout": "30",
        },
        "database": {"connection": cloud.database("neutron")},
        "oslo_concurrency": {"lock_path": f"{cloud.state}/neutron/lock"},
        "oslo_messaging_notifications": NOTIFY,
        "nova": _login(cloud, "nova"),
        "placement": _login(cloud, "placement"),
        "keystone_authtoken": _token_check(cloud, "neutron"),
        "agent": {"report_interval": "10"},
    }


def _login(cloud: Cloud, user: str) -> Section:
    return {
        "auth_url": cloud.url("keystone", "/v3"),
        "auth_type": "password",
        "username": user,
        "password": cloud.password,
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": "RegionOne",
    }


def _token_check(cloud: Cloud, user: str) -> Section:
    login = _login(cloud, user)
    del login["region_name"]
    return login | {
        "www_authenticate_uri": cloud.url("keystone", "/v3"),
        "service_token_roles_required": "true",
        "service_token_roles": "service",
        "memcached_servers": f"127.0.0.1:{cloud.ports['memcached']}",
        "memcache_security_strategy": "ENCRYPT",
        "memcache_secret_key": cloud.password,
    }


def _cache(cloud: Cloud) -> Section:
    return {
        "enabled": "true",
        "backend": "dogpile.cache.pymemcache",
        "memcache_servers": f"127.0.0.1:{cloud.ports['memcached']}",
    }


def _paste(cloud: Cloud, name: str) -> Path:
    """The service's own pipelines, or a copy with the filters that the case adds."""
    packaged = cloud.venv / "etc" / name
    text = packaged.read_text()
    changed = cases.pipelines(cloud, text)
    if changed == text:
        return packaged
    copy = cloud.etc / name.replace("/", "-")
    copy.write_text(changed)
    return copy


def _text(config: Mapping[str, Section]) -> str:
    return "\n".join(
        f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
        for section, options in config.items()
    )
