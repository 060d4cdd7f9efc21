# SPDX-License-Identifier: Apache-2.0
"""Changing libraries from outside: post-import hooks, patches with undo, the guard round every hook, the inventory."""

from otel_openstack.patching.guard import Guard, guard, guarded, keep
from otel_openstack.patching.imports import when_imported
from otel_openstack.patching.patch import Hook, Patch, finished, hooked, rewritten

__all__ = ["Guard", "Hook", "Patch", "finished", "guard", "guarded", "hooked", "keep", "rewritten", "when_imported"]
