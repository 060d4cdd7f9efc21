# SPDX-License-Identifier: Apache-2.0
"""Who is measuring: the resource of this process, by the conventions, with what OpenStack can add.

What the operator states (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, the declarative file) always wins. What a
service knows of itself only after its configuration was parsed (region, zone) or its application was loaded (which API
a uWSGI worker serves) is learned later; export reads `current()` at every batch, so it still arrives.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk import version as sdk_version
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from otel_openstack import __version__, scrub
from otel_openstack.runtime import inheritance, installed, notices, process, slots
from otel_openstack.semconv import attributes as attr

NAMESPACE = "openstack"

# WSGI modules whose service is not called "{package}-api".
WSGI_SERVICES = {
    "keystone.wsgi.api": "keystone",
    "nova.wsgi.metadata": "nova-metadata-api",
    "neutron.wsgi.api": "neutron-api",
    "swift.proxy.server": "swift-proxy-server",
}

INTERPRETERS = ("python", "python3", "uwsgi", "pyuwsgi", "gunicorn", "mod_wsgi-express", "apache2", "httpd")
TAKING_A_WORD = ("-W", "-X", "--check-hash-based-pycs")  # options of Python whose value is a word of its own

_stated: Resource = Resource({})
_learned: dict[str, str] = {}
_built: tuple[tuple[int, list[str]], Resource] | None = None


def state(resource: Resource | None = None) -> None:
    """Set what the operator stated; None reads the standard environment variables."""
    global _stated
    _stated = _detected().merge(OTELResourceDetector().detect()) if resource is None else resource
    _changed()


def learn(attributes: Mapping[str, str]) -> None:
    """Add what the service said of itself; what the operator stated keeps its value."""
    news = {key: value for key, value in attributes.items() if value and _learned.get(key) != value}
    if news:
        _learned.update(news)
        _changed()


def learn_wsgi(module: str) -> None:
    """Learn the service from the WSGI module that a server of this process loads, such as `nova.wsgi.osapi_compute`.

    Only a server's process is called after the module; a daemon that imports one is called after its command.
    """
    if not command_name():
        learn(_of_wsgi(module))


def current() -> Resource:
    """Return the resource of this process, at this moment."""
    global _built
    # A worker of multiprocessing learns its command after it has started.
    who = (os.getpid(), list(getattr(sys, "argv", ()))[:1])
    if _built is None or _built[0] != who:
        _built = (who, _build(who[0]))
    return _built[1]


def service_name() -> str:
    """Return the name of this service, such as nova-compute."""
    return str(current().attributes["service.name"])


def _changed() -> None:
    global _built
    _built = None


def _detected() -> Resource:
    """Ask the detectors that OTEL_EXPERIMENTAL_RESOURCE_DETECTORS names; "otel" is the environment itself."""
    found = Resource({})
    for name in os.environ.get("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "").split(","):
        if name.strip() in ("", "otel"):
            continue
        from importlib import metadata

        try:
            point = next(iter(metadata.entry_points(group="opentelemetry_resource_detector", name=name.strip())))
            found = found.merge(point.load()().detect())
        except Exception as error:
            notices.say("warning", f"resource detector {name.strip()} cannot be used: {error!r}")
    return found


def _build(pid: int) -> Resource:
    command = command_name()
    served = {} if command else _of_wsgi(uwsgi_application()[0])
    found: dict[str, str | int] = {
        "service.namespace": NAMESPACE,
        "service.name": command or f"unknown_service:{os.path.basename(sys.executable or 'python')}",
        "service.version": _version(command.partition("-")[0]),
        "service.instance.id": process.instance_id(),
        "host.name": socket.gethostname(),
        "process.pid": pid,
        attr.OPENSTACK_WORKER_ID: slots.number() or 0,  # zero is left out
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": ".".join(str(part) for part in sys.version_info[:3]),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version.__version__,
        "telemetry.distro.name": "otel-openstack",
        "telemetry.distro.version": __version__,
        **served,
        **_learned,
    }
    # Not Resource.create: its thread pool is green under eventlet, so that it switches in the middle of whatever lock
    # the caller holds (the hub then hangs for ever), and it fails when the interpreter is ending.
    base = Resource({key: value for key, value in found.items() if value})
    told = {key: value for key, value in _stated.attributes.items() if not _unnamed(key, value)}
    stated = Resource(scrub.attributes(told))  # a detector tells the command line, which may hold a password
    return base.merge(stated)


def _unnamed(key: str, value: object) -> bool:
    return key == "service.name" and str(value).startswith("unknown_service")


def command_name() -> str:
    """Return what this process was started as: nova-compute for `/usr/bin/python3 /usr/bin/nova-compute ...`.

    Empty where only an interpreter or a WSGI server is to be seen: the application's module tells then.
    """
    words = [os.path.basename(word) for word in _command_line()]
    while words and (words[0].rstrip("0123456789.") in INTERPRETERS or words[0].startswith("-")):
        if words[0] == "-c" or words[0] in ("uwsgi", "pyuwsgi", "gunicorn"):
            return ""
        if words[0] == "-m" and len(words) > 1:
            return words[1].rpartition(".")[2]
        del words[: 2 if words[0] in TAKING_A_WORD else 1]
    return words[0].removesuffix(".py") if words else ""


def _command_line() -> list[str]:
    if inheritance.is_worker(sys.orig_argv):
        return list(getattr(sys, "argv", ()))  # those of its parent, which multiprocessing hands over
    return list(sys.orig_argv) or list(getattr(sys, "argv", ()))


def _of_wsgi(module: str) -> dict[str, str]:
    """Return name and version of the service that a WSGI module serves."""
    package = module.partition(".")[0]
    if not package:
        return {}
    return {"service.name": WSGI_SERVICES.get(module, f"{package}-api"), "service.version": _version(package)}


def uwsgi_application() -> tuple[str, str]:
    """Return the module that uWSGI was told to load and the name of the application in it; empty where it was not.

    It is known before the module is imported, which may take seconds.
    """
    options: Mapping[str, Any] = getattr(sys.modules.get("uwsgi"), "opt", {})
    module, _, name = _option(options, "module", "wsgi").partition(":")
    return module, name or _option(options, "callable") or "application"


def uwsgi_modules() -> dict[str, str]:
    """Return the modules that uWSGI was told to load or to mount, and what the application of each is called."""
    module, name = uwsgi_application()
    found = {module: name} if module else {}
    mounts = getattr(sys.modules.get("uwsgi"), "opt", {}).get("mount", ())
    for mount in mounts if isinstance(mounts, list | tuple) else (mounts,):
        what = _option({"mount": mount}, "mount").partition("=")[2]
        mounted, _, called = what.partition(":")
        if mounted:
            found.setdefault(mounted, called or _option(getattr(sys.modules.get("uwsgi"), "opt", {}), "callable"))
    return {module: name or "application" for module, name in found.items()}


def _option(options: Mapping[str, Any], *names: str) -> str:
    value = next((options[name] for name in names if options.get(name)), b"")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _version(package: str) -> str:
    return installed.version(package, f"openstack-{package}") if package else ""
