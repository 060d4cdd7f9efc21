# SPDX-License-Identifier: Apache-2.0
"""A process in which nothing but decorated functions records: once itself, once in a child that it forks."""

import os

import otel_openstack.auto  # first, as the launcher would

assert otel_openstack.auto.active

from otel_openstack import counted, event, timed, traced, use_registry

use_registry("../telemetry.yaml")


@timed("demo.build.duration", {"demo.flavor": "flavor"})
@counted("demo.builds")
@event("demo.build", {"demo.flavor": "flavor"})
def build(flavor):
    return flavor


@traced("demo.build", {"demo.flavor": "flavor"})
def outer(flavor):
    return build(flavor)


@timed("demo.build.duration", {"demo.flavor": "flavor"})
def alone(flavor):
    return flavor


outer("parent")
alone("parent")
child = os.fork()
if not child:
    alone("child")
    os._exit(0)
os.waitpid(child, 0)
