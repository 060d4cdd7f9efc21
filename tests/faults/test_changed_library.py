# SPDX-License-Identifier: Apache-2.0
"""A release in which the place of a patch is another thing: the library works, the inventory says why not.

Every patch of every module, each against every change. The module of the library is a stand-in here, since a release
that has changed is not to be had; the patches and their wrappers are the real ones.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from otel_openstack import instrumentation, settings
from otel_openstack.instrumentation import privsep
from otel_openstack.levels import Level
from otel_openstack.patching import Patch, inventory
from otel_openstack.patching import guard as guard_of
from otel_openstack.patching.guard import failures, reset
from otel_openstack.patching.inventory import State
from otel_openstack.runtime import inheritance, process

PATCHES = [
    patch
    for name in instrumentation.MODULES
    for patch in getattr(importlib.import_module(f"otel_openstack.instrumentation.{name}"), "PATCHES", ())
]
# The process would end; the original is deliberately not called.
NOT_CALLED = frozenset({"process.exit", "oslo_messaging.tracing.send", "oslo_messaging.tracing.receive"})


class Boom(Exception):  # noqa: N818
    pass


class AClass:
    pass


class ACallable:
    def __call__(self, *args: Any, **kwargs: Any) -> str:
        return "called"


async def asynchronous(*args: Any, **kwargs: Any) -> None: ...


@functools.lru_cache
def cached(*args: Any) -> None: ...


# What stands there now -> what the reason says.
KINDS: dict[str, tuple[Any, str]] = {
    "class": (AClass, "is a class"),
    "property": (property(lambda _: 1), "is a property"),
    "callable": (ACallable(), "is a ACallable"),
    "partial": (functools.partial(len), "is a partial"),
    "number": (5, "is a int"),
    "cached": (cached, "is a _lru_cache_wrapper"),
    "asynchronous": (asynchronous, "is asynchronous"),
    "static asynchronous": (staticmethod(asynchronous), "is asynchronous"),
}


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The hook of privsep's daemon would take everything of ours out of the process of these tests, for good.
    for module, name in (
        (process, "withdraw"), (privsep, "suspend"), (instrumentation, "uninstall"), (inheritance, "apply"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, lambda *_: None)
    settings.use(settings.Settings(strict=False))
    reset()
    yield
    settings.use(None)
    reset()


def library(patch: Patch, thing: Any) -> tuple[ModuleType, Any, str]:
    """The module of a patch with `thing` in its place; nothing there if it is Ellipsis."""
    module = ModuleType(patch.module)
    owner, _, last = patch.attribute.rpartition(".")
    target: Any = module
    for part in owner.split(".") if owner else ():
        made = type(part, (), {"__module__": patch.module})
        setattr(target, part, made)
        target = made
    if thing is not ...:
        setattr(target, last, thing)
    return module, target, last


def entry(patch: Patch) -> inventory.Entry:
    return next(found for found in inventory.entries() if found.name == patch.name)


@pytest.fixture(params=PATCHES, ids=lambda patch: patch.name)
def patch(request: pytest.FixtureRequest) -> Iterator[Patch]:
    found: Patch = request.param
    yield found
    found.undo()


def test_a_place_that_is_gone_or_of_another_kind(patch: Patch) -> None:
    if not patch.attribute.endswith("__"):  # those every class inherits
        module, *_ = library(patch, ...)
        patch._apply(module)
        assert (entry(patch).state, patch.attribute in entry(patch).reason) == (State.SKIPPED, True)
    patch._apply(ModuleType(patch.module))
    assert "in this release" in entry(patch).reason
    for kind, (thing, reason) in KINDS.items():
        module, target, last = library(patch, thing)
        patch._apply(module)
        assert entry(patch).state is State.SKIPPED, kind
        assert reason in entry(patch).reason
        assert inspect.getattr_static(target, last) is thing
    assert failures() == {}


# How the library calls it now: what no hook expects.
CALLS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}),
    ((1,), {}),
    ((1, 2, 3, 4, 5, 6, 7, 8), {}),
    ((), {"unexpected": 1}),
    ((object(), "text"), {"another": None}),
)


@pytest.mark.parametrize("level", ["basic", "deep"])
def test_another_signature(patch: Patch, level: str) -> None:
    if patch.name in NOT_CALLED:
        return
    settings.use(settings.Settings(strict=False, level=level))
    made: list[tuple[Any, ...]] = []

    def place(*args: Any, **kwargs: Any) -> Any:
        made.append((args, kwargs))
        if "fails" in kwargs or "fails" in args:
            raise Boom("service")
        return "the library's own"

    module, target, last = library(patch, place)
    patch._apply(module)
    if entry(patch).state is State.FAILED:  # a replacement that reads the signature itself
        assert inspect.getattr_static(target, last) is place
        assert "cannot be patched" in entry(patch).reason
        assert failures() == {patch.name: 1}
        return
    assert entry(patch).state is State.ACTIVE
    call: Callable[..., Any] = vars(target)[last]
    for _ in range(2):
        for args, kwargs in CALLS:
            made.clear()
            assert call(*args, **kwargs) == "the library's own"
            assert len(made) == 1
            made.clear()
            with pytest.raises(Boom, match="service"):
                call(*args, fails=1, **kwargs)
            assert len(made) == 1
    assert entry(patch).state in (State.ACTIVE, State.OFF)
    guard_of(patch.name).on = True


def test_a_function_of_c_is_wrapped_in_a_module_only() -> None:
    seen: list[Any] = []

    class Hook:
        def before(self, *args: Any) -> Any:
            seen.append(args)

        def finish(self, state: Any, result: Any, error: BaseException | None) -> None: ...

    for place, state in (("function", State.ACTIVE), ("Class.method", State.SKIPPED)):
        found = Patch("test.builtin", "test_builtin", place, level=Level.BASIC, hook=Hook())
        module, target, last = library(found, len)
        found._apply(module)
        assert entry(found).state is state
        assert getattr(target, last)("abc") == 3
        found.undo()
    assert seen == [("abc",)]
