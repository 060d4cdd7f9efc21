# SPDX-License-Identifier: Apache-2.0
"""What a patch file names is measured once it is imported, as our own patches are, and is undone without a trace."""

from __future__ import annotations

import asyncio
import inspect
import logging

import pytest

from otel_openstack import levels, patch_files, settings
from otel_openstack.patching import guard, inventory
from otel_openstack.patching.guard import LIMIT, resume, suspend
from otel_openstack.patching.inventory import State
from otel_openstack.testing import recording
from tests.launched import run

INSTRUMENTS = """
instruments:
  shop.build.duration: {instrument: histogram, unit: s, attributes: [shop.flavor, shop.host]}
  shop.builds: {instrument: counter, unit: "{build}", attributes: [shop.flavor]}
  shop.images: {instrument: counter, unit: "{image}", level: detailed}
patches:
"""
EVERYTHING = (
    INSTRUMENTS
    + """
  - target: shop.manager.Manager.build
    time: shop.build.duration
    count: shop.builds
    event: shop.build
    span: shop.build
    kind: client
    attributes:
      shop.flavor: instance.flavor
      shop.host: self.host
    values: {shop.zone: a}
"""
)


def timed(target, **more):
    """An entry that times `target`."""
    lines = [f"  - target: {target}", "    time: shop.build.duration", *(f"    {k}: {v}" for k, v in more.items())]
    return INSTRUMENTS + "\n".join(lines) + "\n"


class Instance:
    flavor = "m1.tiny"


def entries(prefix="patch file "):
    return {e.name.removeprefix(prefix): e for e in inventory.entries() if e.name.startswith(prefix)}


def points(telemetry, name="shop.build.duration"):
    return [(dict(point.attributes), point.count or point.value) for point in telemetry.points(name)]


def test_everything_of_a_method_in_one_wrapper(telemetry, shop, file):
    assert patch_files.install([file(EVERYTHING)]) == []
    assert entries()["shop.manager.Manager.build"].state is State.WAITING
    manager = shop()
    assert entries()["shop.manager.Manager.build"].state is State.ACTIVE
    assert manager.Manager().build(None, Instance(), images=[1]) == {"host": "compute-1"}
    with pytest.raises(LookupError, match=r"^no instance$"):
        manager.Manager().build(None, None)
    flavor, host, failed = {"shop.flavor": "m1.tiny"}, {"shop.host": "compute-1"}, {"error.type": "LookupError"}
    assert points(telemetry) == [(flavor | host, 1), (host | failed, 1)]
    assert points(telemetry, "shop.builds") == [(flavor, 1), (failed, 1)]
    good, bad = telemetry.spans("shop.build")
    assert (good.kind, good.attributes) == ("CLIENT", flavor | host | {"shop.zone": "a"})
    assert (bad.status, bad.attributes["error.type"]) == ("ERROR", "LookupError")
    names = [event.name for event in telemetry.events()]
    assert names == ["shop.build.start", "shop.build.end", "shop.build.start", "shop.build.error"]
    assert telemetry.events()[1].attributes["shop.zone"] == "a"
    assert str(inspect.signature(manager.Manager.build)) == "(self, context, instance, *, images=())"
    assert manager.Manager.build.__doc__ == "Build."


def test_only_exceptions(telemetry, shop, file):
    text = EVERYTHING.replace("    kind: client\n", "    kind: client\n    on: exception\n")
    assert patch_files.install([file(text)]) == []
    manager = shop().Manager()
    manager.build(None, Instance())
    assert (points(telemetry), telemetry.spans(), telemetry.events()) == ([], [], [])
    with pytest.raises(LookupError):
        manager.build(None, None)
    assert [count for _, count in points(telemetry) + points(telemetry, "shop.builds")] == [1, 1]
    span = telemetry.span("shop.build")
    assert (span.status, span.kind, span.attributes["shop.host"]) == ("ERROR", "CLIENT", "compute-1")
    assert 0 <= span.end - span.start < 10**10
    assert [event.name for event in telemetry.events()] == ["shop.build.error"]


KINDS = {
    "shop.manager.Manager.make": lambda m: m.Manager.make("x") == ("Manager", "x"),
    "shop.manager.Manager.size": lambda m: m.Manager.size("xy") == m.Manager().size("xy") == 2,
    "shop.manager.Manager.state": lambda m: m.Manager().state == "up",
    "shop.manager.Manager.cached": lambda m: m.Manager().cached == "once",
    "shop.manager.Manager.steps": lambda m: list(m.Manager().steps(2)) == [0, 1],
    "shop.manager.Manager.waits": lambda m: asyncio.run(m.Manager().waits("x")) == "x",
    "shop.manager.Manager.streams": lambda m: asyncio.run(_all(m.Manager().streams(2))) == [0, 1],
    "shop.manager.Manager.decorated": lambda m: m.Manager().decorated("x") == "x",
    "shop.manager.Manager.inherited": lambda m: m.Manager().inherited("x") == "x",
    "shop.manager.Manager.made": lambda m: m.Manager.made("x") == ("Manager", "x"),
    "shop.manager.Manager.static": lambda m: m.Manager.static("x") == "x",
    "shop.manager.Manager.Inner.deep": lambda m: m.Manager.Inner().deep() == "deep",
    "shop.manager.helps": lambda m: m.helps("x") == "x",
    "shop.manager:helps": lambda m: m.helps("x") == "x",
}


async def _all(stream):
    return [item async for item in stream]


@pytest.mark.parametrize("target", KINDS)
def test_every_kind_of_callable_and_the_very_object_is_back(telemetry, shop, file, target):
    path = target.replace(":", ".").removeprefix("shop.manager.").split(".")
    assert patch_files.install([file(timed(target))]) == []
    manager = shop()
    owner = manager
    for name in path[:-1]:
        owner = getattr(owner, name)
    assert KINDS[target](manager)
    count = sum(count for _, count in points(telemetry))
    assert count >= 1
    kept = getattr(owner, path[-1])
    patch_files.uninstall()
    assert KINDS[target](manager)
    assert sum(count for _, count in points(telemetry)) == count
    inherited = path[-1] in ("inherited", "made", "static")
    assert (path[-1] in vars(owner)) is not inherited
    if not inherited:  # what stands there is the object that the module made
        fresh = dict(vars(owner))
        assert patch_files.install([file(timed(target))]) == []
        assert vars(owner)[path[-1]] is not fresh[path[-1]]
        patch_files.uninstall()
        assert vars(owner)[path[-1]] is fresh[path[-1]]
    assert entries() == {}
    if callable(kept) and path[-1] == "helps":  # a copy that somebody kept passes through
        kept("x")
        assert sum(count for _, count in points(telemetry)) == count


def test_the_object_that_comes_back_is_the_one_that_was_there(telemetry, shop, file):
    manager = shop()
    names = ("build", "make", "size", "state", "cached", "steps", "waits", "streams", "decorated")
    before = {name: vars(manager.Manager)[name] for name in names}
    paths = [file(timed(f"shop.manager.Manager.{name}"), f"{name}.yaml") for name in names]
    assert patch_files.install([*paths, paths[0]]) == []  # one of them twice
    assert [name for name in names if vars(manager.Manager)[name] is before[name]] == []
    assert [e.state for e in entries().values()] == [State.ACTIVE] * (len(names) + 1)
    patch_files.uninstall()
    assert [name for name in names if vars(manager.Manager)[name] is not before[name]] == []


def test_what_somebody_wrapped_is_left_and_passes_through(telemetry, shop, file):
    patch_files.install([file(timed("shop.manager.helps"))])
    manager = shop()
    ours = manager.helps
    manager.helps = lambda flavor: ours(flavor=flavor)
    theirs = manager.helps
    patch_files.uninstall()
    assert manager.helps is theirs
    assert manager.helps("x") == "x"
    assert points(telemetry) == []


def test_names_that_modules_copy_are_reached_when_they_are_copied_afterwards(telemetry, shop, file):
    patch_files.install([file(timed("shop.tools.helper"))])
    assert shop().helps("x") == "x"  # `from shop.tools import helper`
    assert points(telemetry) == [({}, 1)]


def test_all_that_wait_for_one_module_are_applied(telemetry, shop, file):
    names = ("build", "make", "size", "steps")
    targets = [f"shop.manager.Manager.{name}" for name in names]
    entries_of_file = "".join(f"  - {{target: {target}, time: shop.build.duration}}\n" for target in targets)
    patch_files.install([file(INSTRUMENTS + entries_of_file)])
    manager = shop().Manager
    assert [entries()[target].state for target in targets] == [State.ACTIVE] * len(targets)
    manager().build(None, 1), manager.make("x"), manager.size("x"), list(manager().steps(1))
    assert points(telemetry) == [({}, len(names))]


def test_nothing_is_imported_and_a_module_that_never_comes_is_waited_for(telemetry, shop, file):
    import sys

    patch_files.install([file(timed("shop.manager.Manager.build"))])
    assert [name for name in sys.modules if name.startswith("shop")] == []
    shop("tools")
    entry = entries()["shop.manager.Manager.build"]
    assert (entry.state, entry.reason) == (
        State.WAITING, "shop has no manager in this release, which may be a module that is not imported",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("shop.manager.Manager.biuld", "shop.manager.Manager has no biuld in this release; near: build"),
        ("shop.manager.Manger.build", "shop.manager has no Manger in this release; near: Manager"),
        ("shop.manager.Manager", "Manager is a class: name one of its methods"),
        ("shop.manager.MANAGER.build", "MANAGER is a Manager; functions of modules and methods of classes"),
        ("shop.manager.cached", "cached is a _lru_cache_wrapper in this release, not a function"),
        ("shop.manager.Manager.partial", "partial is a partialmethod in this release"),
        ("shop.manager.Manager.host", "host is a str in this release"),
        ("shop.manager.functools", "functools is a module"),
    ],
)
def test_what_cannot_be_patched_is_said_in_one_line_and_the_service_goes_on(shop, file, caplog, target, reason):
    with recording(settings.Settings()):
        assert patch_files.install([file(timed(target))]) == []
        assert shop().Manager().build(None, 1) == {"host": "compute-1"}
        (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert f"patches.yaml:7: {target}: left out: {reason}" in line
        assert entries()[target].state is State.SKIPPED
        assert reason in entries()[target].reason


def test_a_class_that_refuses_to_be_changed_is_failed(shop, file, caplog):
    with recording(settings.Settings()):
        shop()
        import shop.manager

        class Closed(type):
            def __setattr__(cls, name, value):
                raise TypeError("closed")

        shop.manager.Closed = Closed("Closed", (), {"work": lambda self: 1})
        patch_files.install([file(timed("shop.manager.Closed.work"))])
        assert entries()["shop.manager.Closed.work"].state is State.FAILED
        assert "left out" not in caplog.text
        assert caplog.text.count("shop.manager.Closed.work: failed: cannot be patched: TypeError('closed')") == 1
        assert shop.manager.Closed().work() == 1


def test_an_attribute_that_no_parameter_gives_is_said_and_the_rest_is_measured(shop, file, caplog):
    with recording(settings.Settings()) as telemetry:
        text = timed("shop.manager.Manager.build", attributes="{shop.flavor: instanc.flavor, shop.host: self.host}")
        patch_files.install([file(text)])
        shop().Manager().build(None, Instance())
        assert "instanc.flavor: Manager.build has no parameter instanc" in caplog.text
        assert points(telemetry) == [({"shop.host": "compute-1"}, 1)]


# As our own patches: levels, the switch, the guard, disabling


def test_levels(shop, file):
    text = INSTRUMENTS + "  - {target: shop.manager.Manager.build, count: shop.images, number: len(images)}\n"
    with recording(settings.Settings(strict=True, unregistered="error")):
        patch_files.install([file(text)])
        build = vars(shop().Manager)["build"]
        assert not hasattr(build, "__wrapped__")
        assert entries()["shop.manager.Manager.build"].reason == "level detailed is not in force"
        patch_files.uninstall()
    with recording(settings.Settings(strict=True, unregistered="error", level_ceiling="detailed")) as telemetry:
        patch_files.install([file(text)])
        manager = shop().Manager()
        manager.build(None, 1, images=[1, 2])
        assert points(telemetry, "shop.images") == []
        levels.move("detailed")
        manager.build(None, 1, images=[1, 2])
        manager.build(None, 1)
        assert points(telemetry, "shop.images") == [({}, 2)]
        levels.move("off")
        manager.build(None, 1, images=[1, 2])
        levels.move("detailed")
        assert points(telemetry, "shop.images") == [({}, 2)]


def test_the_kill_switch(telemetry, shop, file):
    patch_files.install([file(timed("shop.manager.helps"))])
    suspend()
    try:
        helps = shop().helps  # applied while everything is off
        assert helps("x") == "x"
        assert points(telemetry) == []
    finally:
        resume()
    helps("x")
    assert points(telemetry) == [({}, 1)]


def test_what_fails_repeatedly_is_switched_off_and_never_reaches_the_service(shop, file, monkeypatch, caplog):
    from otel_openstack.developer import reading

    with recording(settings.Settings()) as telemetry:
        monkeypatch.setattr(reading, "attribute", lambda *_: 1 / 0)
        patch_files.install([file(timed("shop.manager.Manager.build", attributes="{shop.host: self.host}"))])
        manager = shop().Manager()
        for _ in range(LIMIT + 2):
            assert manager.build(None, 1) == {"host": "compute-1"}
        assert not guard("patch file shop.manager.Manager.build").on
        assert entries()["shop.manager.Manager.build"].state is State.OFF
        assert caplog.text.count("failed in before") == 1
        assert len(points(telemetry)) == 1


def test_a_patch_can_be_disabled_by_its_name(shop, file):
    for pattern in ("patch file shop.manager.helps", "patch file *"):
        with recording(settings.Settings(disabled_patches=(pattern,))):
            patch_files.install([file(timed("shop.manager.helps"))])
            assert not hasattr(shop().helps, "__wrapped__")
            assert entries()["shop.manager.helps"].reason.startswith("disabled")
            patch_files.uninstall()


def test_a_function_that_its_developer_measures_stays_one_frame_and_gets_that_back(telemetry, shop, file):
    from otel_openstack import timed as decorator

    patch_files.install([file(timed("shop.manager.helps"))])  # describes what the developer uses, too
    tools, module = shop("tools"), shop()
    own = module.own = decorator("shop.build.duration")(tools.helper)
    patch_files.install([file(timed("shop.manager.own"), "own.yaml")])
    module.own("x")
    assert points(telemetry) == [({}, 2)]
    assert module.own.__wrapped__ is tools.helper
    patch_files.uninstall()
    assert module.own is own


# A process that starts with patch files

SERVICE = """
import json, sys
sys.path.insert(0, {site!r})
import shop.manager
assert shop.manager.Manager().build(None, 1) == {{"host": "compute-1"}}
from otel_openstack.patching import inventory
states = [e.state.name for e in inventory.entries() if e.name == "patch file shop.manager.Manager.build"]
print("started", *states, flush=True)
"""


def test_a_service_starts_without_the_one_patch_that_is_wrong(tmp_path, shop, file):
    good, broken = file(EVERYTHING), file(EVERYTHING.replace("unit: s,", "unit: x,"), "broken.yaml")
    code = SERVICE.format(site=str(tmp_path / "site"))
    options = {
        "OTEL_OPENSTACK_PATCH_FILES": f"{good},{broken},{tmp_path}/none.yaml",
        "OTEL_OPENSTACK_PATCH_PRESETS": "nva",
    }
    done = run(tmp_path, code, **options).done
    assert done.stdout.split() == ["started", "ACTIVE"], done.stderr
    lines = [line.partition("error: ")[2] for line in done.stderr.splitlines() if "patch file" in line]
    kind = "unit: 'x' is neither s, By, 1 nor an annotation such as {error}"
    wrong = "time: the description of shop.build.duration is wrong, see above"
    assert [line.replace(str(tmp_path), "") for line in lines] == [
        f"patch file /broken.yaml:3: metric.shop.build.duration: {kind}",
        f"patch file /broken.yaml:9: shop.manager.Manager.build: {wrong}",
        "patch file /none.yaml: not used: /none.yaml cannot be read: No such file or directory",
        "patch file preset nva: there is none; there are cinder, glance, keystone, neutron, nova, placement",
    ]


def test_a_forked_helper_with_privileges_gets_the_originals(tmp_path, shop, file):
    code = SERVICE.format(site=str(tmp_path / "site")) + (
        "from otel_openstack.instrumentation.privsep import LeaveAlone\n"
        "import os\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    LeaveAlone().before(None)\n"
        "    print(hasattr(shop.manager.Manager.build, '__wrapped__'), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print(hasattr(shop.manager.Manager.build, '__wrapped__'))\n"
    )
    done = run(tmp_path, code, OTEL_OPENSTACK_PATCH_FILES=file(EVERYTHING)).done
    assert done.stdout.split() == ["started", "ACTIVE", "False", "True"], done.stderr


def test_in_a_green_service(tmp_path, shop, file):
    code = (
        "import eventlet\neventlet.monkey_patch()\n"
        + SERVICE.format(site=str(tmp_path / "site"))
        + (
            "from otel_openstack import metrics\n"
            "pool = eventlet.GreenPool()\n"
            "for _ in range(50):\n"
            "    pool.spawn(shop.manager.Manager().build, None, 1)\n"
            "pool.waitall()\n"
            "print(*[point.count for point in metrics.testing_points('shop.build.duration')])\n"
        )
    )
    done = run(tmp_path, code, OTEL_OPENSTACK_PATCH_FILES=file(EVERYTHING)).done
    assert done.stdout.split() == ["started", "ACTIVE", "51"], done.stderr
