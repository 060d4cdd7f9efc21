# SPDX-License-Identifier: Apache-2.0
"""The secrets of a cloud: what must never be found in what its processes export."""

from __future__ import annotations

import configparser
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from layout import Cloud

SECRET = re.compile(r"password|secret|_key$")
ADDRESS = re.compile(r"connection$|_url$")
KEYS = ("fernet-keys", "credential-keys")


def configuration(cloud: Cloud) -> dict[str, str]:
    """Passwords and keys of every configuration file, those within URLs too, and keystone's own keys, by place."""
    found: dict[str, str] = {}
    for path in (*cloud.etc.rglob("*.conf"), *cloud.etc.rglob("*.ini")):
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        parser.read(path)
        for section in ("DEFAULT", *parser.sections()):
            for option, value in parser.items(section):
                password = value if SECRET.search(option) else _password(value) if ADDRESS.search(option) else None
                if password:
                    found[f"{path.name} [{section}] {option}"] = password
    for name in KEYS:
        found |= {f"{name}/{path.name}": path.read_text().strip() for path in (cloud.state / name).glob("*")}
    return found


def _password(value: str | None) -> str | None:
    return urlsplit(value).password if value else None
