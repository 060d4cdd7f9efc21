# SPDX-License-Identifier: Apache-2.0
"""Reads a patch file in the format that its name says, and finds the presets."""

from __future__ import annotations

import os

from otel_openstack.patch_files import tach_files, trust, yaml_files
from otel_openstack.patch_files.model import Contents
from otel_openstack.patch_files.trust import UntrustedError

YAML = (".yaml", ".yml")
DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "presets")
PRESETS = ("cinder", "glance", "keystone", "neutron", "nova", "placement")


def read(path: str, user: int | None = None) -> Contents:
    """Read a patch file: YAML if it is called `.yaml` or `.yml`, else Tach's format.

    Args:
        path: of the file.
        user: who runs the service, as a number; by default the user of this process.
    """
    try:
        data = trust.read(path, user)
    except UntrustedError as error:
        return Contents(path, problems=(f"{path}: not used: {error}",))
    return _parsed(path, data)


def preset(name: str) -> Contents:
    """Read what is shipped for a service. It is as trustworthy as the code beside it, wherever that is installed."""
    if name not in PRESETS:
        return Contents(name, problems=(f"preset {name}: there is none; there are {', '.join(PRESETS)}",))
    path = os.path.join(DIRECTORY, f"{name}.yaml")
    with open(path, "rb") as stream:
        return _parsed(path, stream.read())


def _parsed(path: str, data: bytes) -> Contents:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Contents(path, problems=(f"{path}:{line}: not UTF-8",))
    read_text = yaml_files.read if path.endswith(YAML) else tach_files.read
    return read_text(path, text)
