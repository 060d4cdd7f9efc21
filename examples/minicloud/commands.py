# SPDX-License-Identifier: Apache-2.0
"""One function a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import driver
import lifecycle

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from layout import Cloud


def up(cloud: Cloud, _arguments: Namespace) -> None:
    """start the cloud and leave it running"""
    lifecycle.up(cloud)


def drive(cloud: Cloud, arguments: Namespace) -> None:
    """use a running cloud: create servers, look at them, delete them"""
    cloud.prepare()
    cloud.known_ports()
    driver.drive(cloud, arguments.servers)


def down(cloud: Cloud, _arguments: Namespace) -> None:
    """stop every process of the cloud"""
    cloud.prepare()
    lifecycle.stop_all(cloud)


COMMANDS: dict[str, Callable[[Cloud, Namespace], None]] = {"up": up, "drive": drive, "down": down}
