# SPDX-License-Identifier: Apache-2.0
"""What a cloud needs once: schemas, keys, cells and catalog. Each step leaves a stamp and is skipped next time."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from layout import INSIDE
from progress import Failed, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layout import Cloud

AT_ONCE = 2  # migrations that run side by side


def schemas(cloud: Cloud) -> None:
    """Create or complete every schema. Chains run side by side; a chain's commands one after another."""
    stamp = cloud.state / "schemas.done"
    if stamp.exists():
        return
    # The longest first, so that the others fill the gaps.
    chains = (
        [_neutron(cloud, "upgrade", "heads")],
        [
            _nova(cloud, "api_db", "sync"),
            _nova(cloud, "cell_v2", "map_cell0", "--database_connection", cloud.database("nova_cell0")),
            _nova(cloud, "db", "sync"),
        ],
        [_glance(cloud, "db_sync")],
        [
            _keystone(cloud, "db_sync"),
            _keystone(cloud, "fernet_setup", *_key_owner()),
            _keystone(cloud, "credential_setup", *_key_owner()),
        ],
        [_placement(cloud, "db", "sync")],
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(_chain, cloud, chain) for chain in chains]:
            future.result()
    stamp.touch()


def addresses(cloud: Cloud) -> None:
    """What depends on the ports, before the services start: keystone's own endpoint and nova's cells."""
    if _current(cloud, "addresses"):
        return
    base = cloud.url("keystone", "/v3")
    _chain(cloud, [
        _keystone(cloud, "bootstrap", "--bootstrap-password", cloud.password, "--bootstrap-region-id", "RegionOne",
                  "--bootstrap-admin-url", base, "--bootstrap-internal-url", base, "--bootstrap-public-url", base),
        _inside(cloud, "cells.py", "--config-file", f"{cloud.etc}/nova.conf"),
    ])  # fmt: skip
    _stamp(cloud, "addresses")


def catalog(cloud: Cloud) -> None:
    """Service users and endpoints; needs keystone to answer."""
    if _current(cloud, "catalog"):
        return
    endpoints = {
        "nova": ("compute", cloud.url("nova", "/v2.1")),
        "placement": ("placement", cloud.url("placement")),
        "glance": ("image", cloud.url("glance")),
        "neutron": ("network", cloud.url("neutron")),
    }
    _chain(cloud, [_inside(cloud, "catalog.py", json.dumps(endpoints))])
    _stamp(cloud, "catalog")


def discover(cloud: Cloud) -> None:
    """Map the compute host to its cell: the first create needs it, and nova's own periodic comes much later."""
    stamp = cloud.state / "discovered.done"
    if not stamp.exists():
        _chain(cloud, [_nova(cloud, "cell_v2", "discover_hosts")])
        stamp.touch()


def inside(cloud: Cloud, script: str, *arguments: str) -> None:
    """Run one of our scripts with the cloud's Python as the administrator."""
    _chain(cloud, [_inside(cloud, script, *arguments)])


def _chain(cloud: Cloud, commands: Sequence[list[str]]) -> None:
    environment = cloud.environment() | cloud.credentials()
    for command in commands:
        name = _title(command)
        log = cloud.log / f"{name.replace(' ', '-')}.log"
        with step(name), log.open("wb") as output:
            run = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if run.returncode:
            raise Failed(f"`{name}` failed with status {run.returncode}", log)


def _title(command: Sequence[str]) -> str:
    """`nova-manage db sync` of the whole command line, which also holds paths and the password."""
    shown = itertools.takewhile(lambda word: not word.startswith("--bootstrap-"), command)  # the password is next
    words = [Path(word).name for word in shown if not word.startswith(("--", "{")) and not word.endswith("conf")]
    program, *rest = words
    subcommand = [word for word in rest if word.removesuffix(".py").isidentifier()]
    return " ".join(subcommand[:1] if program == "python" else [program, *subcommand[:2]])


def _current(cloud: Cloud, what: str) -> bool:
    stamp = cloud.state / f"{what}.done"
    return stamp.exists() and json.loads(stamp.read_text()) == cloud.ports


def _stamp(cloud: Cloud, what: str) -> None:
    (cloud.state / f"{what}.done").write_text(json.dumps(cloud.ports))


def _key_owner() -> list[str]:
    return ["--keystone-user", "root", "--keystone-group", "root"] if os.geteuid() == 0 else []


def _keystone(cloud: Cloud, *words: str) -> list[str]:
    return [cloud.bin("keystone-manage"), "--config-file", f"{cloud.etc}/keystone.conf", *words]


def _placement(cloud: Cloud, *words: str) -> list[str]:
    return [cloud.bin("placement-manage"), "--config-file", f"{cloud.etc}/placement.conf", *words]


def _glance(cloud: Cloud, *words: str) -> list[str]:
    return [cloud.bin("glance-manage"), "--config-file", f"{cloud.etc}/glance-api.conf", *words]


def _nova(cloud: Cloud, *words: str) -> list[str]:
    return [cloud.bin("nova-manage"), "--config-file", f"{cloud.etc}/nova.conf", *words]


def _neutron(cloud: Cloud, *words: str) -> list[str]:
    return [cloud.bin("neutron-db-manage"), "--config-file", f"{cloud.etc}/neutron.conf",
            "--config-file", f"{cloud.etc}/plugins/ml2/ml2_conf.ini", *words]  # fmt: skip


def _inside(cloud: Cloud, script: str, *arguments: str) -> list[str]:
    return [cloud.bin("python"), str(INSIDE / script), *arguments]
