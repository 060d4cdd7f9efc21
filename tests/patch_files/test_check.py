# SPDX-License-Identifier: Apache-2.0
"""`otel-openstack patch check`: what becomes of each entry, without starting anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_openstack import patch_files
from otel_openstack.patch_files import check as checking

HEAD = """\
instruments:
  shop.build.duration: {instrument: histogram, unit: s, attributes: [shop.flavor]}
patches:
"""
COMMAND = Path(sys.executable).parent / "otel-openstack"


@pytest.fixture
def check(tmp_path, shop, file):
    """Check entries; return the exit status and the lines, without those of what leads up to them."""
    site = tmp_path / "site"
    (tmp_path / "stray.py").write_text("def f(): pass\n")  # in the working directory
    (site / "shop" / "ends.py").write_text("import os\nos._exit(0)\n")
    (site / "shop" / "leaves.py").write_text(
        "import sys, threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\nsys.exit(3)\n"
    )
    (site / "shop" / "early.py").write_text("from shop.late import late\n")
    (site / "shop" / "late.py").write_text("def late(): pass\nimport shop.early\nearly = late\n")

    def run(*targets, text=None, options=(), environment=None):
        entries = "".join(f"  - {{target: {target}, time: shop.build.duration}}\n" for target in targets)
        path = file(HEAD + entries if text is None else text)
        done = subprocess.run(
            [COMMAND, "patch", "check", path, *options], capture_output=True, text=True, timeout=100, check=False,
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)} | (environment or {}),
        )  # fmt: skip
        lines = done.stdout.replace(str(tmp_path), "").splitlines()
        return done.returncode, lines[1:-1], done.stderr, lines[-1:] or [""]

    return run


def test_what_is_right_in_whatever_environment(check):
    environment = {"OTEL_OPENSTACK_LEVEL": "off", "OTEL_SDK_DISABLED": "true", "OTEL_OPENSTACK_PATCH_FILES": "/nowhere"}
    text = (
        f"{HEAD}  - {{target: shop.manager.Manager.state, time: shop.build.duration}}\n"
        "  - {target: 'shop.manager:helps', time: shop.build.duration, level: detailed}\n"
    )
    status, lines, errors, (last,) = check(text=text, environment=environment)
    assert (status, errors) == (0, "")
    assert lines == [
        "  ok                  4: shop.manager.Manager.state  timed shop.build.duration",
        "  ok                  5: shop.manager:helps  timed shop.build.duration at level detailed",
    ]
    assert last == "  2 of 2 can be measured"


BROKEN = "cannot be imported"
NOT = (
    ("shop.manager.Manager.biuld", "missing", "shop.manager.Manager has no biuld in this release; near: build"),
    ("shop.manger.Manager.build", "missing", "shop has no manger in this release; near: manager"),
    ("shop.manager.Manager", "not patchable", "Manager is a class: name one of its methods, such as Manager.__init__"),
    ("nowhere.at.f", "missing", "there is no module nowhere here: run this with the Python that the service runs with"),
    ("stray.f", "missing", "there is no module stray here: run this with the Python that the service runs with"),
    ("shop.broken.f", BROKEN, "shop.broken: RuntimeError: not here"),
    ("shop.ends.f", BROKEN, "its import ends the interpreter, or does not end"),
    ("shop.leaves.f", BROKEN, "shop.leaves: SystemExit: 3"),
    ("builtins.dict.get", "not patchable", "dict is a class in C, whose methods cannot be exchanged"),
)


def test_what_is_missing_or_cannot_be_patched(check):
    status, lines, _, (last,) = check(*(target for target, _, _ in NOT))
    assert status == 1
    for number, (line, (target, state, reason)) in enumerate(zip(lines, NOT, strict=True), 4):
        assert line == f"  {state:18}  {number}: {target}: {reason}"
    assert last == "  0 of 9 can be measured, 9 to look at"


def test_what_is_not_reached_is_said(check):
    status, lines, _, _ = check("shop.manager.Manager.build", "shop.manager.helper", "shop.late.late")
    assert status == 0
    assert [line.strip() for line in lines if not line.startswith("  ok")] == [
        "not reached: shop.manager.Special.build, a method of its own",
        "reached only as shop.manager.helper: it is defined in shop.tools",
        "not reached: shop.early.late, imported before it was patched",
    ]


def test_an_attribute_that_nothing_gives(check):
    text = HEAD + (
        "  - target: shop.manager.Manager.build\n    time: shop.build.duration\n"
        "    attributes: {shop.flavor: instanc.flavor}\n"
        "  - target: shop.manager.Manager.build\n    time: shop.build.duration\n"
        "    attributes: {shop.flavor: context.flavor}\n"
    )
    status, lines, _, (last,) = check(text=text)
    assert status == 1
    assert lines[0].startswith("  wrong               4: shop.manager.Manager.build")
    assert "Manager.build has no parameter instanc" in lines[1]
    assert lines[2].strip().startswith("not reached")
    assert lines[3].startswith("  ok                  7: ")
    assert last == "  1 of 2 can be measured, 1 to look at"


def test_mistakes_in_the_file_and_files_that_cannot_be_used(check, file, tmp_path):
    status, lines, _, _ = check(
        text=HEAD + "  - {target: shop.manager.helps, tme: x}\n  - {target: shop.manager.helps, span: a}\n"
    )
    assert status == 1
    assert lines[0] == "  wrong               4: shop.manager.helps: tme: unknown key; did you mean time?"
    assert lines[1].startswith("  ok                  5: shop.manager.helps  traced a")
    status, lines, _, _ = check(text="- x")
    assert (status, lines) == (2, ["  wrong               not a mapping"])
    os.chmod(file(HEAD), 0o666)
    done = subprocess.run(
        [COMMAND, "patch", "check", tmp_path / "patches.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "can be written by everybody" in done.stdout


def test_services(check, tmp_path):
    info = tmp_path / "site" / "shop-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: shop\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nshop-api = shop.manager:main\n")
    status, lines, _, _ = check("shop.manager.helps", "shop.late.late", options=("--service", "shop-api"))
    assert status == 0
    assert [line.strip() for line in lines if not line.startswith("  ok")][:1] == [
        "not reached: shop.early.late, imported before it was patched"
    ]
    assert lines[-1].strip() == "shop-api does not import it when it starts: nothing is measured before something does"
    assert not any("shop-api" in line for line in lines[:-1])
    status, _, errors, _ = check("shop.manager.helps", options=("--service", "shop-apy"))
    assert (status, errors) == (2, "otel-openstack: no service shop-apy here; did you mean shop-api?\n")


def test_an_import_that_does_not_end_is_given_up(tmp_path, shop, file, monkeypatch):
    (tmp_path / "site" / "shop" / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setattr(checking, "WITHIN", 3.0)
    entries = "".join(
        f"  - {{target: shop.{name}, time: shop.build.duration}}\n" for name in ("hangs.f", "tools.helper")
    )
    results = list(checking.results(patch_files.read(file(HEAD + entries))))
    assert [result.state for result in results] == [checking.BROKEN, checking.OK]


def test_presets_by_name(check, tmp_path):
    done = subprocess.run(
        [COMMAND, "patch", "check", "cinder"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "there is no module cinder here" in done.stdout
