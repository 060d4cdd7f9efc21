# SPDX-License-Identifier: Apache-2.0
"""One function a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bad_days as bad
import compare as comparison
import demo as whole
import driver
import install as installation
import lifecycle
import record as recording
import soak as long_run
from progress import Failed

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from layout import Cloud


def demo(cloud: Cloud, arguments: Namespace) -> None:
    """start the cloud, use it, stop it, show what was recorded"""
    whole.run(cloud, arguments.servers, observed=arguments.observe)


def compare(cloud: Cloud, arguments: Namespace) -> None:
    """run the cloud with and without the distribution; table of what it costs"""
    if not comparison.run(cloud, arguments.rounds):
        print("! is more than is allowed; where the machine was busy meanwhile, more rounds tell more (ROUNDS=5)")


def record(cloud: Cloud, _arguments: Namespace) -> None:
    """run the cloud with witnesses beside it, for the tests"""
    installation.everything(cloud)
    recording.run(cloud)


def bad_days(cloud: Cloud, _arguments: Namespace) -> None:
    """run the cloud while its servers, its collector and its disk fail"""
    installation.everything(cloud)
    bad.run(cloud)


def soak(cloud: Cloud, arguments: Namespace) -> None:
    """create and delete servers for long; table of what grows in which process"""
    variants = arguments.variants.split(",")
    if not set(variants) <= set(long_run.VARIANTS):
        raise Failed(f"--variants must be some of {','.join(long_run.VARIANTS)}")
    if not long_run.run(cloud, arguments.servers, arguments.minutes, variants):
        raise Failed("something grows more than without the distribution")


def soak_report(cloud: Cloud, _arguments: Namespace) -> None:
    """the table of soaks that were run, of this concurrency mode"""
    long_run.report(cloud)


def install(cloud: Cloud, _arguments: Namespace) -> None:
    """install what the cloud needs and do no more"""
    installation.everything(cloud)


def up(cloud: Cloud, _arguments: Namespace) -> None:
    """start the cloud and leave it running"""
    installation.everything(cloud)
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


COMMANDS: dict[str, Callable[[Cloud, Namespace], None]] = {
    "demo": demo,
    "compare": compare,
    "record": record,
    "bad-days": bad_days,
    "soak": soak,
    "soak-report": soak_report,
    "install": install,
    "up": up,
    "drive": drive,
    "down": down,
}
