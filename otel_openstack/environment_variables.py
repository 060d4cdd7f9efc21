# SPDX-License-Identifier: Apache-2.0
"""Entry point of the launcher's process: `opentelemetry-instrument` loads it before it starts the service.

The launcher takes whichever distribution comes up first among those installed. Naming ours here makes the choice
certain; an operator who named another one keeps it and is told. The launcher makes an argument of every name here that
starts with `OTEL_`, so our options can be given as `--openstack_level detailed`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import fields

from opentelemetry.instrumentation import auto_instrumentation

from otel_openstack import sitecustomize_check
from otel_openstack.runtime import inheritance
from otel_openstack.settings import PREFIX, Settings

NAME = "otel_openstack"
OWN_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), inheritance.OWN_DIRECTORY, "__init__.py")

globals().update({(_name := PREFIX + _field.name.upper()): _name for _field in fields(Settings)})


def _choose() -> list[str]:
    """Name our distribution where none is named; returns what the operator is to know."""
    lines = [
        f"otel-openstack is installed but not active: {variable}={chosen}. "
        f"Unset it, or set {variable}={NAME}, to have OpenStack services measured."
        for variable in ("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR")
        if (chosen := os.environ.setdefault(variable, NAME)) != NAME
    ]
    if not lines:
        # The launcher puts the directory of this file into PYTHONPATH, for the sitecustomize.py in it.
        auto_instrumentation.__file__ = OWN_FILE
        inheritance.launch(os.environ)
        lines = sitecustomize_check.problems(os.environ)
    return lines


for _line in _choose():
    sys.stderr.write(f"{_line}\n")
