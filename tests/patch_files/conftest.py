# SPDX-License-Identifier: Apache-2.0
"""A service's package on disk, and a way to give this process a patch file for it."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from otel_openstack import patch_files
from otel_openstack.developer import names, problems
from otel_openstack.patching.guard import reset

MANAGER = '''
import abc
import functools

from shop.tools import helper, wrapped

class Base:
    def inherited(self, flavor):
        return flavor

    @classmethod
    def made(cls, flavor):
        return cls.__name__, flavor

    @staticmethod
    def static(flavor):
        return flavor

class Manager(Base):
    """Builds."""

    host = "compute-1"

    def build(self, context, instance, *, images=()):
        """Build."""
        if instance is None:
            raise LookupError("no instance")
        return {"host": self.host}

    @classmethod
    def make(cls, flavor):
        return cls.__name__, flavor

    @staticmethod
    def size(flavor):
        return len(flavor)

    @property
    def state(self):
        return "up"

    @functools.cached_property
    def cached(self):
        return "once"

    def steps(self, count):
        yield from range(count)

    async def waits(self, flavor):
        return flavor

    async def streams(self, count):
        for number in range(count):
            yield number

    @wrapped
    def decorated(self, flavor):
        return flavor

    class Inner:
        def deep(self):
            return "deep"

    partial = functools.partialmethod(build, None)

class Special(Manager):
    def build(self, context, instance, *, images=()):
        return "special"

def helps(flavor):
    return helper(flavor)

cached = functools.lru_cache(maxsize=None)(helps)
MANAGER = Manager()
'''
TOOLS = """
import functools

def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

def helper(flavor):
    return flavor
"""
FILES = {"__init__": "", "manager": MANAGER, "tools": TOOLS, "broken": "raise RuntimeError('not here')"}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Make the package `shop`, of which nothing is imported; return what imports a module of it."""
    (tmp_path / "site" / "shop").mkdir(parents=True)
    for name, text in FILES.items():
        (tmp_path / "site" / "shop" / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield lambda name="manager": importlib.import_module(f"shop.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    """Return what writes a patch file, and returns its path."""

    def write(text, name="patches.yaml", mode=0o600):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        path.chmod(mode)
        return str(path)

    return write


@pytest.fixture(autouse=True)
def fresh():
    """Begin and end without a patch file."""
    names.forget()
    problems.found.clear()
    yield
    patch_files.uninstall()
    names.forget()
    problems.found.clear()
    reset()
