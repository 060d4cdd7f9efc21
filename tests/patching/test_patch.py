# SPDX-License-Identifier: Apache-2.0
"""Patches: applied when the module is imported, undone to the very object, harmless when they fail."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import textwrap

import pytest

from otel_openstack import settings
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, guard, inventory, when_imported
from otel_openstack.patching import guard as guard_function
from otel_openstack.patching.guard import LIMIT, failures, reset, resume, suspend
from otel_openstack.patching.inventory import State

SOURCE = """
class Base:
    def inherited(self):
        return "inherited"

class Library(Base):
    def add(self, a, b=2):
        "Adds."
        if b == 0:
            raise ZeroDivisionError("b")
        return a + b

    @staticmethod
    def static(a):
        return a

    @classmethod
    def made(cls, a):
        return cls.__name__, a

def function(a, *, key=None):
    return a, key
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    name = f"lib_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


class Recorder:
    def __init__(self, broken=""):
        self.seen = []
        self.broken = broken

    def before(self, *args, **kwargs):
        if self.broken == "before":
            raise ValueError("before")
        self.seen.append(("before", args[-1]))
        return "state"

    def finish(self, state, result, error):
        if self.broken == "finish":
            raise ValueError("finish")
        self.seen.append((state, result, type(error)))


@pytest.fixture
def lenient():
    settings.use(settings.Settings(strict=False))
    yield
    settings.use(None)


def state_of(name):
    return next((entry.state for entry in inventory.entries() if entry.name == name), None)


def test_applied_when_the_module_is_imported_and_undone_to_the_same_object(library):
    recorder = Recorder()
    patch = Patch("test.add", library, "Library.add", hook=recorder)
    patch.install()
    assert state_of("test.add") is State.WAITING
    module = importlib.import_module(library)
    assert state_of("test.add") is State.ACTIVE
    assert module.Library().add(1) == 3
    assert recorder.seen[1:] == [("state", 3, type(None))]
    assert str(inspect.signature(module.Library.add)) == "(self, a, b=2)"
    original = module.Library.add.__wrapped__
    patch.undo()
    assert module.Library.__dict__["add"] is original
    assert state_of("test.add") is None


def test_an_imported_module_is_patched_at_once_and_its_loader_stays_its_own(library):
    Patch("test.waits", library, "function", hook=Recorder()).install()
    module = importlib.import_module(library)
    assert type(module.__spec__.loader).__module__.startswith("_frozen_importlib")
    assert module.__loader__ is module.__spec__.loader
    recorder = Recorder()
    patch = Patch("test.now", library, "Library.static", hook=recorder)
    patch.install()
    assert module.Library.static(5) == 5 == module.Library().static(5)
    assert len(recorder.seen) == 4
    patch.undo()
    assert isinstance(module.Library.__dict__["static"], staticmethod)


def test_class_methods_and_inherited_attributes(library):
    module = importlib.import_module(library)
    recorder = Recorder()
    patches = [
        Patch("test.made", library, "Library.made", hook=recorder),
        Patch("test.inherited", library, "Library.inherited", hook=recorder),
    ]
    for patch in patches:
        patch.install()
    assert module.Library.made(1) == ("Library", 1)
    assert module.Library().inherited() == "inherited"
    assert module.Base().inherited() == "inherited"
    assert len(recorder.seen) == 4
    for patch in patches:
        patch.undo()
    assert "inherited" not in vars(module.Library)


def test_the_error_of_the_service_passes_unchanged_and_is_seen(library):
    module = importlib.import_module(library)
    recorder = Recorder()
    patch = Patch("test.error", library, "Library.add", hook=recorder)
    patch.install()
    with pytest.raises(ZeroDivisionError, match=r"^b$"):
        module.Library().add(1, b=0)
    assert recorder.seen[-1] == ("state", None, ZeroDivisionError)
    patch.undo()


@pytest.mark.parametrize("step", ["before", "finish"])
def test_a_failing_hook_leaves_the_call_alone_and_is_switched_off(library, lenient, caplog, step):
    module = importlib.import_module(library)
    name = f"test.broken.{step}"
    patch = Patch(name, library, "Library.add", hook=Recorder(broken=step))
    patch.install()
    for _ in range(LIMIT + 3):
        assert module.Library().add(1, 1) == 2
        with pytest.raises(ZeroDivisionError):
            module.Library().add(1, 0)
    assert failures()[name] == LIMIT if step == "before" else failures()[name] >= LIMIT
    assert state_of(name) is State.OFF
    lines = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert len(lines) == 2
    assert "not affected" in lines[0]
    assert "switched off" in lines[1]
    patch.undo()


def test_rewrite_changes_arguments_and_a_failing_one_does_not(library, lenient):
    module = importlib.import_module(library)
    patch = Patch("test.rewrite", library, "function", rewrite=lambda a, k: ((a[0] * 2, *a[1:]), {**k, "key": "ours"}))
    patch.install()
    assert module.function(4) == (8, "ours")
    patch.undo()
    broken = Patch("test.rewrite.broken", library, "function", rewrite=lambda a, k: 1 / 0)
    broken.install()
    assert module.function(4, key=1) == (4, 1)
    broken.undo()


def test_what_is_not_there_or_not_wanted_is_skipped_with_a_reason(library):
    importlib.import_module(library)
    settings.use(settings.Settings(level="basic", levels={"rpc": "off"}, disabled_patches=("test.no*",)))
    try:
        Patch("test.missing", library, "Library.gone", hook=Recorder()).install()
        Patch("test.deep", library, "function", level=Level.DEEP, hook=Recorder()).install()
        Patch("test.group", library, "function", group="rpc", hook=Recorder()).install()
        Patch("test.not_wanted", library, "function", hook=Recorder()).install()
    finally:
        settings.use(None)
    reasons = {entry.name: entry.reason for entry in inventory.entries() if entry.state is State.SKIPPED}
    assert reasons["test.missing"] == f"{library} has no Library.gone in this release"
    assert "level deep" in reasons["test.deep"]
    assert "level basic" in reasons["test.group"]
    assert "DISABLED_PATCHES" in reasons["test.not_wanted"]
    assert not hasattr(sys.modules[library].function, "__wrapped__")


def test_a_wrapper_put_over_ours_survives_the_undo(library, lenient):
    module = importlib.import_module(library)
    recorder = Recorder()
    patch = Patch("test.over", library, "function", hook=recorder)
    patch.install()
    ours = module.function
    module.function = functools.partial(ours)
    theirs = module.function
    patch.undo()
    assert module.function is theirs
    assert module.function(1) == (1, None)
    assert recorder.seen == []


def test_guard_keeps_errors_and_lets_base_exceptions_pass(lenient):
    with guard("test.guard"):
        raise ValueError
    with pytest.raises(KeyboardInterrupt), guard("test.guard"):
        raise KeyboardInterrupt
    assert failures()["test.guard"] == 1
    assert guard_function("test.guard") is guard("test.guard")


def test_strict_raises(library):
    settings.use(settings.Settings(strict=True))
    try:
        with pytest.raises(ValueError, match="inner"), guard("test.strict"):
            raise ValueError("inner")
    finally:
        settings.use(None)


def test_a_warning_at_import_is_shown_for_the_line_that_imports(tmp_path, monkeypatch):
    (tmp_path / "lib_warns.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n")
    (tmp_path / "lib_importer.py").write_text("import lib_warns\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    cancel = when_imported("lib_warns", seen.append)
    try:
        with pytest.warns(DeprecationWarning, match="old") as record:
            importlib.import_module("lib_importer")
    finally:
        cancel()
        for name in ("lib_warns", "lib_importer"):
            sys.modules.pop(name, None)
    assert len(seen) == 1
    assert record[0].filename.endswith("lib_importer.py")


def test_suspended_everything_passes_through_also_what_is_applied_meanwhile_and_a_call_under_way_finishes(library):
    early, late, undone = Recorder(), Recorder(), Recorder()
    watch = guard_function("test.failed")
    Patch("test.early", library, "Library.add", hook=early).install()
    module = importlib.import_module(library)
    suspend_inside = Recorder()
    suspend_inside.before = lambda *_, **__: suspend() or "state"
    Patch("test.inside", library, "function", hook=suspend_inside).install()
    gone = Patch("test.undone", library, "Base.inherited", hook=undone)
    gone.install()
    ours = module.Base.inherited
    module.Base.inherited = functools.partialmethod(ours)  # somebody wraps ours, so that undo leaves it there
    gone.undo()
    watch.failures, watch.on = LIMIT, False
    try:
        assert module.function(1) == (1, None)
        assert suspend_inside.seen == [("state", (1, None), type(None))]
        Patch("test.late", library, "Library.static", hook=late).install()
        assert module.Library().add(1) == 3
        assert module.Library.static(1) == 1
        assert early.seen == late.seen == []
        resume()
        assert module.Library().add(1) == 3
        assert module.Library.static(1) == 1
        assert module.Library().inherited() == "inherited"
        assert len(early.seen) == len(late.seen) == 2
        assert undone.seen == []
        assert not watch.on
    finally:
        resume()
        reset()
