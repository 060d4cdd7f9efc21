# SPDX-License-Identifier: Apache-2.0
"""The start of a process under the launcher: what its own sitecustomize does, at a quarter of the price.

The launcher's own imports packaging, wrapt, asyncio and ssl in every process, and reads the metadata of every package
several times, before it comes to the distribution. Here that happens only where other packages have something to load,
or where an operator wants another distribution. `environment_variables.py` puts the directory of our file where the
launcher would put its own; where that did not work, its own file starts us all the same, through `launcher.py`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, MutableMapping

from otel_openstack import settings
from otel_openstack.runtime import inheritance

NAME = "otel_openstack"
CHOICES = ("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR")
GEVENT = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"  # which the launcher does before all else
KINDS = {
    "opentelemetry_pre_instrument": "hook",
    "opentelemetry_instrumentor": "instrumentor",
    "opentelemetry_post_instrument": "hook after it",
}


def start() -> None:
    """Set the distribution up and load what other packages have. Never raises: the service starts whatever is wrong."""
    try:
        with _out_of_the_path(os.environ):
            others = [f"{choice}={os.environ.get(choice)}" for choice in CHOICES if os.environ.get(choice) != NAME]
            if others:  # by an option of the launcher, which comes after we were chosen
                sys.stderr.write(f"otel-openstack is installed but not active: {', '.join(others)}\n")
            if others or GEVENT in os.environ:
                _as_the_launcher_does()
            elif not settings.disabled(os.environ):
                _start()
    except Exception as error:
        sys.stderr.write(f"otel-openstack: error: could not start, this process is not measured: {error!r}\n")


def _start() -> None:
    from otel_openstack.patching.refusal import refused

    if refused(os.environ):
        return
    from otel_openstack import distro

    if distro.start() and _others():
        from otel_openstack import launcher

        launcher.load_others()


def _others() -> bool:
    """Return whether there is something of other packages to load; what is withheld is noted with its reason."""
    from otel_openstack import withheld
    from otel_openstack.runtime import installed

    found = installed.entry_points(KINDS)
    if found is None:
        return True
    # All are looked at, for each that is withheld has to be noted.
    left = [name for group, name in found if name != NAME and not withheld.noted(KINDS[group], name)]
    return bool(left)


def _as_the_launcher_does() -> None:
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    initialize()


@contextlib.contextmanager
def _out_of_the_path(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Take our entry out of PYTHONPATH for as long as this lasts, as the launcher does with its own.

    A program that is started meanwhile, by a resource detector of others for instance, would start the next one.
    """
    place = os.path.join(os.path.dirname(os.path.abspath(__file__)), inheritance.OWN_DIRECTORY)
    entries = environ.get(inheritance.PATH, "").split(os.pathsep)
    if place not in entries:
        yield
        return
    environ[inheritance.PATH] = os.pathsep.join(entry for entry in entries if entry != place)
    try:
        yield
    finally:
        current = environ.get(inheritance.PATH, "")
        if place not in current.split(os.pathsep):
            environ[inheritance.PATH] = place + os.pathsep + current if current else place
