# SPDX-License-Identifier: Apache-2.0
"""Hosts on a network of their own: namespaces of the kernel, joined by a bridge. Nothing of this machine's changes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
SWITCH = "switch"


def missing():
    """Why there can be no network here; nothing if there can."""
    if os.geteuid():
        return "only root makes network namespaces"
    if not shutil.which("ip"):
        return "there is no `ip` here (iproute2)"
    probe = name("probe")
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "network namespaces are not permitted here"
    ip("netns", "del", probe)
    return ""


def name(host):
    return f"otel-{os.getpid()}-{host}"


def ip(*command):
    subprocess.run(["ip", *command], check=True, capture_output=True)


@contextlib.contextmanager
def network(*hosts):
    """Make a namespace for each host; yields its address by host."""
    addresses = {host: f"10.77.0.{number}" for number, host in enumerate(hosts, 1)}
    try:
        for host in (SWITCH, *hosts):
            ip("netns", "add", name(host))
        ip("-n", name(SWITCH), "link", "add", "bridge", "type", "bridge")
        ip("-n", name(SWITCH), "link", "set", "bridge", "up")
        for host, address in addresses.items():
            join(host, address)
        yield addresses
    finally:
        for host in (SWITCH, *hosts):
            subprocess.run(["ip", "netns", "del", name(host)], capture_output=True, check=False)


def join(host, address):
    ip("-n", name(host), "link", "add", "eth", "type", "veth", "peer", "name", host, "netns", name(SWITCH))
    ip("-n", name(SWITCH), "link", "set", host, "master", "bridge", "up")
    ip("-n", name(host), "addr", "add", f"{address}/24", "dev", "eth")
    for link in ("lo", "eth"):
        ip("-n", name(host), "link", "set", link, "up")


@contextlib.contextmanager
def on(host):
    """What this thread opens and starts inside is on that host."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name(host)}", os.O_RDONLY)
    try:
        enter(there)
        yield
    finally:
        enter(here)
        os.close(here)
        os.close(there)


def enter(namespace):
    if LIBC.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
