# SPDX-License-Identifier: Apache-2.0
"""Off is free, and what is on moves between off and the ceiling."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.trace import SpanKind

from otel_openstack import counted, dimensions, levels, settings, tracing
from otel_openstack.levels import Level
from otel_openstack.settings import Settings
from otel_openstack.testing import recording

HERE = Path(__file__).parent
DURATION, STEPS, INNER = "demo.build.duration", "demo.steps.duration", "demo.inner.duration"


def run(code, *options, **environment):
    """What a fresh interpreter prints."""
    names = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    names |= {f"OTEL_OPENSTACK_{key.upper()}": value for key, value in environment.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code], env=names, cwd=HERE, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


BEGIN = f"""
import sys
import otel_openstack
from otel_openstack import counted, counter, deep, event, timed, traced
otel_openstack.use_registry({str(HERE / "telemetry.yaml")!r})
def function(): pass
"""


# Off is free


def test_at_off_everything_is_as_if_it_were_not_there_and_nothing_is_imported():
    code = (
        BEGIN
        + """
for measure in (timed("demo.build.duration"), counted("demo.builds"), event("demo.build"), traced("demo.build")):
    assert measure(function) is function
    with measure as block:
        block.set("demo.flavor", "x")
made = [classmethod(function), staticmethod(function), property(function)]
assert all(timed("demo.build.duration")(one) is one for one in made)
assert counter("demo.builds").add is counter("demo.turns").add is counter("demo.turns").bind()
assert deep is False
print(*[name for name in sys.modules if name in ("yaml", "opentelemetry.sdk.metrics")])
"""
    )
    assert [name for name in run(code, level="off") if name == "yaml"] == []
    code = BEGIN + "assert timed('demo.build.duration')(function) is function; print(*sys.modules)"
    assert [name for name in run(code, level="off") if name.startswith(("opentelemetry", "yaml"))] == []


def test_importing_the_package_imports_nothing_of_it():
    (added,) = run("import sys; a = set(sys.modules); import otel_openstack; b = set(sys.modules); print(len(b - a))")
    assert int(added) <= 2  # __future__ is one
    assert run("import otel_openstack; print('timed' in dir(otel_openstack), hasattr(otel_openstack, 'nothing'))") == [
        "True",
        "False",
    ]


@pytest.mark.parametrize(
    ("environment", "plain"),
    [
        ({"level": "basic"}, "steps inner"),
        ({"level": "detailed"}, "inner"),
        ({"level": "deep"}, ""),
        ({"level": "basic", "level_ceiling": "deep"}, ""),
        ({"level": "basic", "levels": "demo=deep"}, ""),
        ({"level": "deep", "levels": "demo.steps.duration=off"}, "steps"),
        ({"level": "deep", "levels": "demo=off,demo.inner.duration=deep"}, "build steps"),
        ({"level": "off", "level_ceiling": "detailed"}, "inner"),
    ],
)  # fmt: skip
def test_below_its_level_a_decorator_returns_the_very_function(environment, plain):
    code = (
        BEGIN
        + """
for name in ("build", "steps", "inner"):
    if timed(f"demo.{name}.duration")(function) is function:
        print(name)
"""
    )
    assert run(code, **environment) == plain.split()


def test_levels_of_a_service():
    settings.use(Settings(level="basic", levels={"nova-compute": "deep", "rpc": "off"}))
    try:
        assert levels.ceiling() is Level.BASIC
        levels.serve("nova-compute")
        assert levels.ceiling() is Level.DEEP
        assert levels.ceiling("rpc") is Level.OFF
    finally:
        levels.serve("")
        settings.use(None)


DEEP_BLOCK = (
    BEGIN
    + """
import dis
def loop():
    if __debug__ and deep:
        counter("demo.turns").add(1)
    return 1
print(*sorted({str(i.argval) for i in dis.get_instructions(loop)} & {"deep", "counter", "add"}), bool(deep),
      len(list(dis.get_instructions(loop))),
      timed("demo.inner.duration")(function) is function, timed("demo.build.duration")(function) is function)
"""
)


def test_python_o_takes_deep_blocks_and_decorators_out():
    here = run(DEEP_BLOCK, level="deep")
    assert here[:4] == ["add", "counter", "deep", "True"]
    assert here[-2:] == ["False", "False"]
    optimised = run(DEEP_BLOCK, "-O", level="deep")
    assert optimised[0] == "False"  # neither the flag nor the counter is in the code
    assert int(optimised[1]) <= 4  # resume, nothing, load, return
    assert optimised[-2:] == ["True", "False"]


# At run time


@pytest.fixture
def moving():
    with recording(Settings(strict=True, unregistered="error", level="basic", level_ceiling="detailed")) as telemetry:
        yield telemetry


def counts(telemetry, name):
    return [point.count or point.value for point in telemetry.points(name)]


def test_the_level_moves_between_off_and_the_ceiling(moving):
    from otel_openstack import counter, timed, traced

    def function():
        return 1

    both = timed(DURATION)(timed(STEPS)(traced("demo.step")(function)))
    assert timed(INNER)(function) is function
    builds = counter("demo.builds")

    def called():
        both()
        builds.add(1)
        return (
            counts(moving, DURATION),
            counts(moving, STEPS),
            counts(moving, "demo.builds"),
            len(moving.spans("demo.step")),
        )

    assert called() == ([1], [], [1], 0)
    assert levels.move("detailed")
    assert called() == ([2], [1], [2], 1)
    assert levels.move("off")
    assert called() == ([], [], [], 1)  # nothing is taken, and nothing shown
    assert builds.add is counter("demo.turns").add or builds.add.__name__ == "_ignore"
    assert set(both.__code__.co_names) & {"_otel_clock", "_otel_watch"} == set()  # the wrapper passes on, no more
    assert levels.move("basic")
    assert not levels.move("basic")
    assert called() == ([3], [], [3], 1)
    with pytest.raises(
        levels.RefusedError, match=r"deep is refused: .* ceiling detailed; OTEL_OPENSTACK_LEVEL_CEILING=deep"
    ):
        levels.move("deep")
    with pytest.raises(levels.RefusedError, match="none of off"):
        levels.move("deeper")
    assert levels.current() is Level.BASIC


def test_a_call_that_is_under_way_ends_as_it_began(moving):
    from otel_openstack import timed, traced

    levels.move("detailed")

    @timed(STEPS, {"demo.flavor": "result"})
    @timed(DURATION, {"demo.flavor": "flavor"})
    def build(flavor, level):
        return inner(flavor, level)

    @traced("demo.step")
    def inner(flavor, level):
        levels.move(level)
        levels.move("detailed")
        levels.move(level)
        return flavor

    def generate():
        yield 1
        yield 2

    build("first", "detailed")
    build("second", "basic")
    build("third", "off")
    levels.move("detailed")
    shown = {name: {p.attributes["demo.flavor"]: p.count for p in moving.points(name)} for name in (DURATION, STEPS)}
    assert shown[DURATION] == {"first": 1, "second": 1, "third": 1}
    assert shown[STEPS] == {"first": 1, "second": 1}  # the third was called at basic
    assert len(moving.spans("demo.step")) == 2
    running = traced("demo.step")(generate)()
    next(running)
    levels.move("off")
    assert list(running) == [2]
    assert len(moving.spans("demo.step")) == 3


def test_what_has_a_level_of_its_own_is_bounded_by_a_move_down_only():
    with recording(Settings(level="detailed", level_ceiling="deep", levels={"db": "off", "rpc": "deep"})):
        assert [levels.current(group) for group in ("db", "rpc", "http")] == [Level.OFF, Level.DEEP, Level.DETAILED]
        levels.move("deep")
        assert [levels.current(group) for group in ("db", "rpc", "http")] == [Level.OFF, Level.DEEP, Level.DEEP]
        levels.move("basic")
        assert [levels.current(group) for group in ("db", "rpc", "http")] == [Level.OFF, Level.BASIC, Level.BASIC]
    assert levels.current() is Level.BASIC  # a move holds for the settings it was made under


def test_hooks_of_libraries_move_too(moving):
    import json

    from otel_openstack.patching import Patch, guard

    class Hook:
        def before(self, *args, **kwargs):
            seen.append(args)

        def finish(self, state, result, error): ...

    beside = guard("test.beside")  # as a hook that is no patch has
    seen: list = []
    found = {
        level: Patch(f"test.{level}", "json", "dumps", Level[level.upper()], hook=Hook) for level in ("basic", "deep")
    }
    original = json.dumps
    for patch in found.values():
        patch.install()
    try:
        json.dumps(1)
        assert beside.on
        levels.move("off")
        json.dumps(2)
        assert not beside.on
        assert not guard("test.meanwhile").on
        levels.move("basic")
        assert beside.on
        assert guard("test.meanwhile").on
        json.dumps(3)
    finally:
        for patch in found.values():
            patch.undo()
    assert seen == [(1,), (3,)]
    assert json.dumps is original


def test_the_kill_switch_stops_and_starts_decorated_functions(moving, tmp_path, monkeypatch):
    from otel_openstack import timed
    from otel_openstack.patching.guard import resume, suspend
    from otel_openstack.runtime import switch

    @timed(DURATION)
    def build():
        return 1

    build()
    suspend()
    looked = []
    monkeypatch.setattr(switch, "off", True)
    monkeypatch.setattr(switch, "look", lambda: looked.append(1))
    assert build() == 1
    assert (counts(moving, DURATION), looked) == ([1], [1])
    monkeypatch.undo()
    resume()
    build()
    assert counts(moving, DURATION) == [2]


def test_a_forked_child_begins_at_zero_and_says_what_it_records(moving):
    from otel_openstack import timed

    @timed(DURATION)
    def build():
        return 1

    build()
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            before = counts(moving, DURATION)
            build()
            os.write(into, repr((before, counts(moving, DURATION))).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(into)
    assert ast.literal_eval(os.read(out, 1000).decode()) == ([], [1])
    os.close(out)
    assert counts(moving, DURATION) == [1]


# With a service


@pytest.mark.servers
def test_sighup_moves_the_level_of_a_service(tmp_path):
    configuration, log = tmp_path / "demo.conf", tmp_path / "log"

    def configure(level):
        configuration.write_text("[DEFAULT]\n" + (f"[otel_openstack]\nlevel = {level}\n" if level else ""))

    def state():
        try:
            return ast.literal_eval((tmp_path / "state").read_text())
        except FileNotFoundError:
            return {}

    def wait(**expected):
        end = time.monotonic() + 40
        while {key: state().get(key) for key in expected} != expected:
            assert time.monotonic() < end, (state(), log.read_text())
            time.sleep(0.05)
        return state()

    def moved(to, **expected):
        configure(to)
        os.kill(process.pid, signal.SIGHUP)
        return wait(**expected)

    configure("")
    environment = os.environ | {
        "OTEL_OPENSTACK_LEVEL_CEILING": "detailed",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", HERE / "programs" / "service.py", configuration, tmp_path],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        assert wait(level="BASIC") == {
            "level": "BASIC",
            "basic": True,
            "detailed": False,
            "deep is plain": True,
            "flag": False,
        }
        moved("detailed", level="DETAILED", basic=True, detailed=True)
        moved("off", level="OFF", basic=False, detailed=False)
        moved("basic", level="BASIC", basic=True, detailed=False)
        configure("deep")
        os.kill(process.pid, signal.SIGHUP)
        end = time.monotonic() + 40
        while log.read_text().count("level deep is refused") < 1:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        assert state()["level"] == "BASIC"
        moved("detailed", level="DETAILED")
        moved("", level="BASIC")  # the section is gone: the level at start
        said = log.read_text()
    finally:
        process.terminate()
        process.wait(30)
    assert said.count("level deep is refused: this process was started with the ceiling detailed") in (
        1,
        2,
    )  # the worker and its parent
    assert "level moved from basic to detailed" in said


def test_a_wrapper_follows_the_choice_of_dimensions():
    """Of a part without attributes the series is known and bound; it is asked for whom as soon as that was chosen."""

    @counted("demo.asked")
    def ask():
        pass

    def asked(**chosen):
        with recording(Settings(strict=True, **chosen)) as telemetry:
            request = tracing.root("tests", "GET /", SpanKind.SERVER)
            dimensions.add(project="p1")
            ask()
            request.finish()
            return [(point.attributes, point.value) for point in telemetry.points("demo.asked")]

    projects = {"metric_dimensions": {"project": "all"}}
    assert [asked(), asked(**projects), asked(), asked(**projects)] == [
        [({}, 1)],
        [({"openstack.project_id": "p1"}, 1)],
        [({}, 1)],
        [({"openstack.project_id": "p1"}, 1)],
    ]
    assert [asked(metric_dimensions={"project": choice})[0][0] for choice in ("other", "p1|p2", "top:1")] == [
        {"openstack.project_id": "_other"},
        {"openstack.project_id": "p1"},
        {"openstack.project_id": "p1"},
    ]
