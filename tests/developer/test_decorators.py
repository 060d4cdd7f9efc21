# SPDX-License-Identifier: Apache-2.0
"""Decorated functions of every kind: what is recorded, what they return and raise, what they look like from outside."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import types
import typing
import weakref

import greenlet
import pytest
from opentelemetry import trace
from oslo_context import context as oslo_context

from otel_openstack import counted, counter, event, gauge, histogram, timed, traced
from otel_openstack.developer import wrapping
from otel_openstack.developer.parts import Part
from otel_openstack.developer.problems import TelemetryError
from otel_openstack.patching import guard

DURATION, BUILDS = "demo.build.duration", "demo.builds"
FLAVOR = {"demo.flavor": "flavor"}


class Broken(Exception):  # noqa: N818 (a name that says what it is)
    pass


def points(telemetry, name=DURATION):
    """Each series: its attributes, and how often or how much."""
    return {tuple(sorted(p.attributes.items())): p.count or p.value for p in telemetry.points(name)}


def current():
    span = trace.get_current_span()
    return getattr(span, "name", None)


@timed(DURATION)
def module_level(a, b=2):
    """Adds."""
    return a + b


def all_four(function):
    for measure in (traced("demo.build", FLAVOR), event("demo.build", FLAVOR), counted(BUILDS, FLAVOR)):
        function = measure(function)
    return timed(DURATION, FLAVOR)(function)


# What is recorded


def test_a_function_is_timed_counted_told_and_traced_in_one_wrapper(telemetry):
    depth = []

    @all_four
    def build(flavor):
        depth.append(len(inspect.stack()))
        assert current() == "demo.build"
        return flavor.upper()

    before = len(inspect.stack())
    assert build("tiny") == "TINY"
    assert build(flavor="tiny") == "TINY"
    assert depth == [before + 2] * 2  # build itself, and one wrapper, at the first call too
    assert current() is None
    flavor = (("demo.flavor", "tiny"),)
    assert points(telemetry) == points(telemetry, BUILDS) == {flavor: 2}
    spans = telemetry.spans("demo.build")
    assert [(s.kind, dict(s.attributes), s.status) for s in spans] == [
        ("INTERNAL", {"demo.flavor": "tiny"}, "UNSET")
    ] * 2
    told = telemetry.events()
    assert [e.name for e in told] == ["demo.build.start", "demo.build.end"] * 2
    assert {e.span_id for e in told} == {s.span_id for s in spans}
    assert told[0].attributes == {"demo.flavor": "tiny"}
    assert 0 < told[1].attributes["openstack.event.duration"] < 10


def test_an_exception_is_recorded_and_raised_as_it_was(telemetry):
    @all_four
    def build(flavor):
        raise error

    error = Broken("password=hunter2 is wrong")
    with pytest.raises(Broken) as raised:
        build("tiny")
    assert raised.value is error
    assert error.__context__ is error.__cause__ is None
    kind = f"{__name__}.Broken" if __name__ != "builtins" else "Broken"
    labels = (("demo.flavor", "tiny"), ("error.type", kind))
    assert points(telemetry) == points(telemetry, BUILDS) == {labels: 1}
    span = telemetry.span("demo.build")
    assert (span.status, span.attributes["error.type"]) == ("ERROR", kind)
    told = telemetry.events()[-1]
    assert (told.name, told.attributes["error.type"], told.attributes["exception.type"]) == (
        "demo.build.error",
        kind,
        kind,
    )
    assert "hunter2" not in str(told.attributes)
    assert current() is None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, greenlet.GreenletExit, asyncio.CancelledError])
def test_base_exceptions_are_recorded_and_raised(telemetry, kind):
    @timed(DURATION)
    @traced("demo.build")
    def build():
        raise kind

    with pytest.raises(kind):
        build()
    ((labels, count),) = points(telemetry).items()
    assert (dict(labels)["error.type"].rpartition(".")[2], count) == (kind.__name__, 1)
    assert telemetry.span("demo.build").status == "ERROR"
    assert current() is None


def test_a_green_thread_that_is_killed(telemetry):
    @timed(DURATION)
    @traced("demo.build")
    def build():
        greenlet.getcurrent().parent.switch()

    thread = greenlet.greenlet(build)
    thread.switch()
    thread.throw()  # as eventlet's `kill` does
    assert thread.dead
    assert list(points(telemetry)) == [(("error.type", "greenlet.GreenletExit"),)]
    assert telemetry.span("demo.build").attributes["error.type"] == "greenlet.GreenletExit"


def test_numbers_from_arguments_and_results(telemetry):
    @counted(BUILDS, number="len(servers)")
    @counted("demo.builds", number="result", values={"demo.flavor": "made"})
    def build(servers):
        return None if len(servers) > 5 else 10 * len(servers)

    assert build([1, 2, 3]) == 30
    assert build("123456") is None  # six asked for, and no number in the result
    assert points(telemetry, BUILDS) == {(): 9, (("demo.flavor", "made"),): 30}


def test_attributes_of_the_result_and_of_the_request(telemetry):
    @timed(DURATION, {"demo.flavor": "result['flavor']", "demo.project": "context.project_id"})
    @traced("demo.build", {"demo.size": "len(result)"})
    @event("demo.build", {"demo.size": "len(result)"})
    def build():
        return {"flavor": "tiny"}

    context = oslo_context.RequestContext(project_id="p1", request_id="req-1", global_request_id="req-2")
    build()
    assert context is oslo_context.get_current()
    assert points(telemetry) == {(("demo.flavor", "tiny"), ("demo.project", "p1")): 1}
    assert telemetry.span("demo.build").attributes == {"demo.size": 1}
    end = telemetry.events()[-1].attributes
    assert (end["openstack.request_id"], end["openstack.global_request_id"], end["demo.size"]) == ("req-1", "req-2", 1)


def test_a_parameter_called_context_is_meant_before_the_current_one(telemetry):
    @timed(DURATION, {"demo.project": "context.project_id"})
    def build(context):
        pass

    oslo_context.RequestContext(project_id="current")
    build(oslo_context.RequestContext(project_id="argument", overwrite=False))
    assert points(telemetry) == {(("demo.project", "argument"),): 1}


def test_arguments_wherever_they_are(telemetry):
    @timed(DURATION, {"demo.flavor": "a", "demo.project": "kw"})
    def positional(a, /, b, *rest, kw="default", **more):
        return a, b, rest, kw, more

    assert positional("x", 2, 3, 4, more=5) == ("x", 2, (3, 4), "default", {"more": 5})

    @timed(DURATION, {"demo.flavor": "rest[0]", "demo.project": "more['k']"})
    def packed(*rest, **more):
        return rest, more

    assert packed("y", k="z") == (("y",), {"k": "z"})
    assert points(telemetry) == {
        (("demo.flavor", "x"), ("demo.project", "default")): 1,
        (("demo.flavor", "y"), ("demo.project", "z")): 1,
    }


def test_arguments_behind_another_decorator(telemetry):
    def others(function):
        @functools.wraps(function)
        def wrapper(self, *args, **kwargs):
            return function(self, *args, **kwargs)

        return wrapper

    class Manager:
        @timed(DURATION, {"demo.flavor": "flavor", "demo.project": "project"})
        @others
        def build(self, context, flavor, *, project=None):
            return flavor

    for arguments, named in ((("c", "one"), {}), (("c",), {"flavor": "two", "project": "p"}), ((), {})):
        with contextlib.suppress(TypeError):
            Manager().build(*arguments, **named)
    assert set(points(telemetry)) == {
        (("demo.flavor", "one"),),
        (("demo.flavor", "two"), ("demo.project", "p")),
        (("error.type", "TypeError"),),
    }


# Kinds of callables


class Kinds:
    """Methods and properties of every kind."""

    name = "tiny"

    @timed(DURATION, {"demo.flavor": "self.name"})
    def method(self, x):
        return self, x

    @timed(DURATION, {"demo.flavor": "cls.name"})
    @classmethod
    def above_class(cls, x):
        return cls, x

    @classmethod
    @timed(DURATION, {"demo.flavor": "cls.name"})
    def below_class(cls, x):
        return cls, x

    @timed(DURATION)
    @staticmethod
    def above_static(x):
        return x

    @staticmethod
    @timed(DURATION)
    def below_static(x):
        return x

    @timed(DURATION)
    @property
    def above_property(self):
        """A property."""
        return self.name

    @above_property.setter
    def above_property(self, value):
        self.name = value

    @property
    @timed(DURATION)
    def below_property(self):
        return self.name

    @timed(DURATION)
    @functools.cached_property
    def cached(self):
        return object()


def test_methods_and_properties(telemetry):
    kinds = Kinds()
    assert kinds.method(1) == (kinds, 1)
    assert Kinds.above_class(2) == kinds.below_class(2) == (Kinds, 2)
    assert Kinds.above_static(3) == kinds.below_static(3) == 3
    assert points(telemetry) == {(("demo.flavor", "tiny"),): 3, (): 2}
    assert kinds.above_property == kinds.below_property == "tiny"
    kinds.above_property = "big"
    assert kinds.above_property == "big"
    assert Kinds.above_property.__doc__ == "A property."
    assert kinds.cached is kinds.cached
    assert points(telemetry)[()] == 6  # the cached one was made once
    assert isinstance(vars(Kinds)["above_class"], classmethod)
    assert isinstance(vars(Kinds)["above_static"], staticmethod)


def test_a_subclass_that_calls_super(telemetry):
    class Child(Kinds):
        @timed(DURATION, values={"demo.flavor": "child"})
        def method(self, x):
            return super().method(x)

    child = Child()
    assert child.method(1) == (child, 1)
    assert points(telemetry) == {(("demo.flavor", "tiny"),): 1, (("demo.flavor", "child"),): 1}


def test_abstract_methods_stay_abstract():
    class Base(abc.ABC):
        @timed(DURATION)
        @abc.abstractmethod
        def build(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_generators(telemetry):
    seen = []

    @timed(DURATION)
    @traced("demo.build")
    def produce(n):
        seen.append(current())
        got = []
        for number in range(n):
            try:
                got.append((yield number))
            except KeyError as error:
                got.append(error)
            seen.append(current())
        return got

    assert inspect.isgeneratorfunction(produce)
    running = produce(3)
    assert seen == []  # nothing runs before the first step
    assert next(running) == 0
    assert current() is None  # its consumer is not part of it
    assert running.send("sent") == 1
    error = KeyError("thrown")
    assert running.throw(error) == 2
    with pytest.raises(StopIteration) as stopped:
        next(running)
    assert stopped.value.value == ["sent", error, None]
    assert seen == ["demo.build"] * 4
    assert points(telemetry) == {(): 1}
    assert telemetry.span("demo.build").status == "UNSET"


@pytest.mark.parametrize("spans", [False, True])
def test_generators_that_are_closed_or_fail(telemetry, spans):
    closed = []

    def produce(fail):
        try:
            yield 1
            if fail:
                raise Broken
            yield 2
        finally:
            closed.append(1)

    produce = timed(DURATION)(traced("demo.build")(produce) if spans else produce)
    running = produce(False)
    next(running)
    running.close()
    assert closed == [1]
    assert points(telemetry) == {(): 1}  # its consumer had enough: no error
    with pytest.raises(Broken):
        list(produce(True))
    assert sum(points(telemetry).values()) == 2
    assert [s.status for s in telemetry.spans("demo.build")] == (["UNSET", "ERROR"] if spans else [])
    dropped = produce(False)
    next(dropped)
    del dropped
    gc.collect()
    assert points(telemetry)[()] == 2
    assert current() is None


def test_coroutines(telemetry):
    @timed(DURATION)
    @traced("demo.build")
    async def build(fail):
        await asyncio.sleep(0)
        assert current() == "demo.build"
        if fail:
            raise Broken
        return "built"

    async def run():
        assert current() is None
        assert await asyncio.gather(build(False), build(False)) == ["built"] * 2
        with pytest.raises(Broken):
            await build(True)
        task = asyncio.create_task(build(False))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert current() is None

    assert inspect.iscoroutinefunction(build)
    asyncio.run(run())
    errors = {dict(labels).get("error.type", "").rpartition(".")[2]: n for labels, n in points(telemetry).items()}
    assert errors == {"": 2, "Broken": 1, "CancelledError": 1}
    assert sorted(s.status for s in telemetry.spans("demo.build")) == ["ERROR", "ERROR", "UNSET", "UNSET"]


def test_a_coroutine_that_is_thrown_away_did_not_finish(telemetry):
    @timed(DURATION)
    async def build():
        await asyncio.sleep(60)

    abandoned = build()
    with contextlib.suppress(StopIteration, RuntimeError):
        abandoned.send(None)
    abandoned.close()
    assert [dict(labels)["error.type"] for labels in points(telemetry)] in (["GeneratorExit"], ["RuntimeError"])


@pytest.mark.parametrize("spans", [False, True])
def test_asynchronous_generators(telemetry, spans):
    seen = []

    async def produce(n):
        for number in range(n):
            seen.append(current())
            try:
                seen.append((yield number))
            except KeyError:
                yield "caught"
        if n == 3:
            raise Broken

    produce = timed(DURATION)(traced("demo.build")(produce) if spans else produce)
    assert inspect.isasyncgenfunction(produce)

    async def run():
        assert [number async for number in produce(2)] == [0, 1]
        assert current() is None
        running = produce(2)
        assert await running.__anext__() == 0
        assert await running.asend("sent") == 1
        assert await running.athrow(KeyError()) == "caught"
        await running.aclose()
        with pytest.raises(Broken):  # noqa: PT012
            async for _ in produce(3):
                assert current() is None

    asyncio.run(run())
    assert "sent" in seen
    assert {name for name in seen if name and name != "sent"} == ({"demo.build"} if spans else set())
    assert sorted(points(telemetry).values()) == [1, 2]
    assert len(telemetry.spans("demo.build")) == (3 if spans else 0)


def test_the_old_kind_of_coroutine_can_be_awaited(telemetry):
    @timed(DURATION)
    @types.coroutine
    def old():
        yield from asyncio.sleep(0).__await__()
        return 1

    async def run():
        return await old()

    assert asyncio.run(run()) == 1
    assert points(telemetry) == {(): 1}


def test_next_says_that_there_is_no_more_and_that_is_no_error(telemetry):
    class Numbers:
        def __init__(self):
            self.left = 2

        def __iter__(self):
            return self

        @timed(DURATION)
        @traced("demo.build")
        def __next__(self):
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    assert list(Numbers()) == [1, 0]
    assert points(telemetry) == {(): 3}
    assert [s.status for s in telemetry.spans("demo.build")] == ["UNSET"] * 3


def test_callables_that_are_no_functions(telemetry):
    class Callable:
        def __call__(self, flavor):
            return flavor

    for target in (functools.partial(module_level.__wrapped__, 1), len, Callable(), "x".join):
        wrapped = timed(DURATION, values={"demo.flavor": "any"})(target)
        argument = 2 if isinstance(target, functools.partial) else ["a"]
        assert wrapped(argument) == target(argument)
    assert points(telemetry) == {(("demo.flavor", "any"),): 4}


def test_what_cannot_be_measured_is_a_mistake(telemetry):
    with pytest.raises(TelemetryError, match="no function, method or property"):
        timed(DURATION)(Kinds)
    with pytest.raises(TelemetryError, match="no function"):
        timed(DURATION)(5)
    with pytest.raises(TypeError, match="needs a name"):
        timed(module_level)
    with pytest.raises(TelemetryError, match="build has no parameter flavour"):

        @timed(DURATION, {"demo.flavor": "flavour.name"})
        def build(flavor): ...


# What they look like from outside


def test_everything_that_is_known_of_a_function_stays(telemetry):
    def build(self, a: int, /, b: str = "x", *args: float, key: bytes, other: int = 3, **kw: object) -> list[int]:
        """Build it."""
        return [a]

    build.action = "os-start"
    wrapped = timed(DURATION)(traced("demo.build")(build))
    assert wrapped is not build
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__", "action"):
        assert getattr(wrapped, name) == getattr(build, name), name
    assert inspect.signature(wrapped) == inspect.signature(build)
    assert (
        inspect.signature(wrapped, follow_wrapped=False)
        .replace(return_annotation=inspect.Signature.empty)
        .parameters.keys()
        == inspect.signature(build).parameters.keys()
    )
    assert inspect.getfullargspec(wrapped)[:6] == inspect.getfullargspec(build)[:6]
    assert typing.get_type_hints(wrapped) == typing.get_type_hints(build)
    assert wrapped.__code__.co_varnames[:4] == build.__code__.co_varnames[:4]
    assert wrapped.__code__.co_argcount == build.__code__.co_argcount
    assert inspect.unwrap(wrapped) is wrapped.__wrapped__ is build
    assert inspect.getsource(wrapped) == inspect.getsource(build)
    # nova finds the function under its decorators by their closures
    assert [cell.cell_contents for cell in wrapped.__closure__] == [build]
    with pytest.raises(TypeError, match=r"build\(\) missing 1 required positional argument: 'a'"):
        wrapped(1, key=b"")


def test_functions_are_pickled_and_copied_by_name():
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    assert copy.deepcopy(module_level) is module_level
    assert pickle.loads(pickle.dumps(Kinds.below_static)) is Kinds.below_static


def test_decorators_merge_and_keep_what_stands_between_them(telemetry):
    def action(function):
        function.wsgi_action = "start"
        return function

    @timed(DURATION)
    @action
    @counted(BUILDS)
    def build():
        return len(inspect.stack())

    assert build() == len(inspect.stack()) + 2
    assert build.wsgi_action == "start"
    assert points(telemetry) == points(telemetry, BUILDS) == {(): 1}


def test_what_was_wrapped_before_stays_what_it_was(telemetry):
    @counted(BUILDS)
    def build(): ...

    both = timed(DURATION)(build)
    build()
    assert (points(telemetry), points(telemetry, BUILDS)) == ({}, {(): 1})
    both()
    assert (points(telemetry), points(telemetry, BUILDS)) == ({(): 1}, {(): 2})


def test_another_decorators_wrapper_that_copies_our_mark_is_not_taken_for_ours(telemetry):
    calls = []

    def others(function):
        @functools.wraps(function)
        def wrapper(*args):
            calls.append(args)
            return function(*args)

        return wrapper

    both = timed(DURATION)(others(counted(BUILDS)(lambda x: x)))
    assert both(5) == 5
    assert calls == [(5,)]
    assert points(telemetry) == points(telemetry, BUILDS) == {(): 1}


def test_wrappers_are_let_go_of(telemetry):
    def make():
        return timed(DURATION, values={"demo.flavor": "x"})(lambda: 1)

    function = make()
    function()
    gone = weakref.ref(function)
    before = len(wrapping._sites)
    del function
    gc.collect()
    assert gone() is None
    assert len(wrapping._sites) < before


# Their failure is not the service's


@pytest.mark.parametrize("kind", ["function", "generator"])
def test_a_failure_of_ours_does_not_reach_the_service(telemetry, monkeypatch, kind):
    from otel_openstack import settings
    from otel_openstack.developer import binding

    def fail(*_, **__):
        raise RuntimeError("ours")

    monkeypatch.setattr(settings, "_current", settings.Settings())
    monkeypatch.setattr(binding.Traced, "begin_with", fail)
    monkeypatch.setattr(binding.Measured, "record_with", fail)
    monkeypatch.setattr(binding.Told, "_emit", fail)

    def function(x, fail=False):
        if fail:
            raise Broken
        return x

    def generator(x, fail=False):
        yield function(x, fail)

    wrapped = counted(BUILDS, number="x")(all_four_of({"function": function, "generator": generator}[kind]))
    for _ in range(7):
        assert (wrapped(1) if kind == "function" else list(wrapped(1))) == (1 if kind == "function" else [1])
        with pytest.raises(Broken):
            list([wrapped(1, True)] if kind == "function" else wrapped(1, True))
        assert current() is None
    watch = guard(f"{__name__}.{wrapped.__qualname__}")
    assert not watch.on
    assert watch.failures >= 5
    watch.failures = 0
    watch.renew()


def all_four_of(function):
    for measure in (traced("demo.build"), event("demo.build"), counted(BUILDS), timed(DURATION)):
        function = measure(function)
    return function


def test_a_span_whose_end_fails_is_let_go_of(telemetry, monkeypatch):
    from otel_openstack import settings
    from otel_openstack.developer import binding

    monkeypatch.setattr(settings, "_current", settings.Settings())

    @traced("demo.build")
    @event("demo.build")
    def build():
        return 1

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(binding.Told, "finish_with", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build()
    assert current() is None
    guard(f"{__name__}.{build.__qualname__}").renew()


# By name, as patch files do


def test_parts_that_are_told_of_errors_only(telemetry):
    def build(fail):
        if fail:
            raise Broken

    parts = [
        Part("timed", DURATION, only_errors=True),
        Part("counted", BUILDS, only_errors=True),
        Part("event", "demo.build", only_errors=True),
    ]
    wrapped = wrapping.measured(build, parts, "patch demo.build")
    wrapped(False)
    with pytest.raises(Broken):
        wrapped(True)
    assert list(points(telemetry).values()) == list(points(telemetry, BUILDS).values()) == [1]
    assert [e.name for e in telemetry.events()] == ["demo.build.error"]
    assert wrapping.original(wrapped) is build


# Blocks


def test_blocks(telemetry):
    with timed(DURATION, values={"demo.flavor": "tiny"}) as block:
        block.set("demo.project", "p")
    with counted(BUILDS) as block:
        block.add(2)
        block.add(3)
    with traced("demo.build", values={"demo.flavor": "tiny"}) as block, event("demo.build"):
        assert current() == "demo.build"
        block.set("demo.size", 7)
    with pytest.raises(Broken), timed(DURATION), traced("demo.build"), event("demo.build"):
        raise Broken
    assert points(telemetry)[("demo.flavor", "tiny"), ("demo.project", "p")] == 1
    assert points(telemetry, BUILDS) == {(): 5}
    first, second = telemetry.spans("demo.build")
    assert (first.attributes, second.status) == ({"demo.flavor": "tiny", "demo.size": 7}, "ERROR")
    assert [e.name for e in telemetry.events()] == [f"demo.build.{x}" for x in ("start", "end", "start", "error")]
    assert current() is None


def test_one_block_in_many_places_at_a_time(telemetry):
    measure, together = traced("demo.build"), threading.Barrier(4, timeout=20)

    def work():
        with measure:
            together.wait()
            with measure:
                together.wait()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def wait():
        async with measure:
            await asyncio.sleep(0)
            assert current() == "demo.build"

    async def run():
        await asyncio.gather(wait(), wait(), wait())

    asyncio.run(run())
    assert len(telemetry.spans("demo.build")) == 11
    assert current() is None


def test_blocks_of_generators_that_end_out_of_order(telemetry):
    def produce(flavor):
        with timed(DURATION) as block:
            block.set("demo.flavor", flavor)
            yield

    first, second = produce("first"), produce("second")
    next(first)
    next(second)
    first.close()
    assert points(telemetry) == {(("demo.flavor", "first"),): 1}
    second.close()
    assert sum(points(telemetry).values()) == 2


def test_a_block_has_no_arguments(telemetry):
    with pytest.raises(TelemetryError, match="a block has no flavor"):
        with timed(DURATION, FLAVOR):
            pass
    oslo_context.RequestContext(project_id="p1")
    with timed(DURATION, {"demo.project": "context.project_id"}):
        pass
    assert points(telemetry) == {(("demo.project", "p1"),): 1}


# By hand


def test_instruments_by_hand(telemetry):
    counter(BUILDS).add(2, "tiny")
    counter(BUILDS).bind("tiny")(1)
    histogram(DURATION).record(0.5)
    gauge("demo.size").set(7)
    assert points(telemetry, BUILDS) == {(("demo.flavor", "tiny"),): 3}
    assert telemetry.points(DURATION)[0].sum == 0.5
    assert points(telemetry, "demo.size") == {(): 7}
    with pytest.raises(TelemetryError, match="a counter in the registry, not a gauge"):
        gauge(BUILDS)


def test_the_recursion_limit_is_reached_with_one_frame_a_call(telemetry):
    @timed(DURATION)
    @counted(BUILDS)
    def down(n):
        return n if n == 0 else down(n - 1)

    assert down(sys.getrecursionlimit() // 2 - 100) == 0
