# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a patch file is told with file, line and key; nothing that others can write is read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_openstack import patch_files
from otel_openstack.developer import names
from otel_openstack.patch_files import tach_files, trust, yaml_files
from otel_openstack.semconv.instruments import INSTRUMENTS

GOOD = """\
instruments:
  shop.build.duration:
    instrument: histogram
    unit: s
    brief: Time.
    attributes: [shop.flavor]
    boundaries: [1, 2]
    level: detailed
    series_limit: 10
  shop.builds: {instrument: counter, unit: "{build}"}
patches:
  - target: shop.manager.Manager.build
    time: shop.build.duration
    attributes:
      shop.flavor: instance.flavor
  - target: shop.manager:helps
    count: shop.builds
    number: len(result)
"""
BUILD = "shop.manager.Manager.build"
FLAVOR = "    attributes:\n      shop.flavor: instance.flavor\n"
HELPS = "  - target: shop.manager:helps\n    count: shop.builds\n    number: len(result)\n"
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)
# What stands there, what instead, what is told of it, and how many entries are left.
WRONG = [
    (BUILD, "build", "12: target: 'build' is no dotted name", 1),
    (BUILD, "a.b.c()", "12: target: 'a.b.c()' is no dotted name", 1),
    (BUILD, "shop.class.x", "12: target: 'shop.class.x' is no dotted name", 1),
    (f"- target: {BUILD}\n    time", "- time", "12: target: missing", 1),
    ("    time:", "    tme:", f"13: {BUILD}: tme: unknown key; did you mean time?", 1),
    ("    time: shop.build.duration\n", "", f"12: {BUILD}: says nothing to measure", 1),
    ("time: shop.build.duration", "time: shop.durations", f"13: {BUILD}: time: no instrument shop.durations: ", 1),
    ("time: shop.build.duration", "time: shop.build.durations", "did you mean shop.build.duration?", 1),
    ("time: shop.build.duration", "time: shop.builds", "of kind counter in {build}; time needs a histogram in s", 1),
    ("time: shop.build.duration", "time: [a]", f"13: {BUILD}: time: ['a'] is no name", 1),
    ("instance.flavor", "instance.flavor()", f"15: {BUILD}: attributes.shop.flavor: 'instance.flavor()' cannot be", 1),
    ("shop.flavor: i", "shop.flavr: i", f"15: {BUILD}: attributes.shop.flavr: is not among the attributes of ", 1),
    ("shop.flavor: i", "Flavor: i", f"15: {BUILD}: attributes.Flavor: no name", 1),
    (FLAVOR, "    attributes: x\n", f"14: {BUILD}: attributes: not a mapping", 1),
    (FLAVOR, "    values: {shop.flavor: [x]}\n", f"14: {BUILD}: values.shop.flavor: no text of up to 256", 1),
    (FLAVOR, f"    values: {{shop.flavor: {'x' * 257}}}\n", f"14: {BUILD}: values.shop.flavor: no text", 1),
    (BUILD, "otel_openstack.metrics.counter", "12: target: otel_openstack.metrics.counter is what measures", 1),
    (FLAVOR, "    on: sunday\n", f"14: {BUILD}: on: 'sunday' is not one of call, exception", 1),
    (FLAVOR, "    level: deeper\n", f"14: {BUILD}: level: 'deeper' is not one of basic, detailed, deep", 1),
    (FLAVOR, "    phases: [end]\n", f"14: {BUILD}: phases: goes with event, which is not there", 1),
    ("number: len(result)", "number: 3", "18: shop.manager:helps: number: an expression is a text", 1),
    ("number: len(result)", "number: len(result)\n    on: exception", "18: shop.manager:helps: number: there is no", 1),
    ("number: len(result)", "event: shop.b\n    phases: [begin]", "19: shop.manager:helps: phases: not a list of", 1),
    ("number: len(result)", "span: shop.b\n    kind: inner", "19: shop.manager:helps: kind: 'inner' is not one of", 1),
    ("    unit: s", "    unit: ms", "4: metric.shop.build.duration: unit: 'ms' is neither", 1),
    ("level: detailed", "level: low", "8: metric.shop.build.duration: level: 'low' is not one of", 1),
    ("boundaries: [1, 2]", "boundaries: [2, 1]", "7: metric.shop.build.duration: boundaries: not a rising list", 1),
    ("series_limit: 10", "series_limit: 0", "9: metric.shop.build.duration: series_limit: not a positive", 1),
    ("[shop.flavor]", "shop.flavor", "6: shop.build.duration: attributes: not a list of names", 1),
    ("[shop.flavor]", "[Flavor]", "6: metric.shop.build.duration: id: bad name: 'Flavor'", 1),
    ("instrument: histogram", "instrument: meter", "3: metric.shop.build.duration: instrument: 'meter' is not", 1),
    ("    brief: Time.", "    brief: !!python/object/apply:os.system [x]", "5: metric.shop.build.duration: brief: ", 1),
    ("  shop.build.duration:\n", "  Shop:\n", "2: metric.Shop: metric_name: bad name: 'Shop'", 1),
    ("shop.builds: {", "http.server.request.duration: {", "10: metric.http.server.request.duration: metric_name: ", 1),
    ("patches:", "patchs:", "11: patchs: unknown key; did you mean patches?", 0),
    ("instruments:\n", "more: 1\ninstruments:\n", "1: more: unknown key", 2),
    (HELPS, "  - x\n", "11: patches 2: not a mapping", 1),
    ("    unit: s", "\tunit: s", "4: found a tab character that violates indentation", 0),
    ("    unit: s", "    unit: s\n    unit: s", "5: key given twice: unit", 0),
    (GOOD, "patches: {a: b}", "1: patches: not a list", 0),
    (GOOD, "instruments: [a]\n", "1: instruments: not a mapping", 0),
    (GOOD, BOMB, ": more than 100000 values", 0),
    (GOOD, "patches: &a [*a]", "nested more than", 0),
    (GOOD, "patches: " + "[" * 5000, "nesting depth", 0),
    (GOOD, "- 5", "not a mapping", 0),
    (GOOD, "a: \x00", "not allowed", 0),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told", "rest"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_mistake_is_told_with_file_line_and_key_and_costs_one_entry(file, old, new, told, rest):
    assert old in GOOD
    path = file(GOOD.replace(old, new, 1))
    contents = patch_files.read(path)
    assert told in contents.problems[0], contents.problems
    assert contents.problems[0].startswith(path)
    assert len(contents.wanted) == rest, contents


def test_a_file_that_is_right(file):
    contents = patch_files.read(file(GOOD))
    assert (contents.problems, [one.target for one in contents.wanted]) == (
        (), ["shop.manager.Manager.build", "shop.manager:helps"],
    )  # fmt: skip
    entry = names.find("metric", "shop.build.duration", "histogram")
    assert (entry.level, entry.attributes, entry.model.boundaries, entry.model.limit) == (
        "detailed", ("shop.flavor", "error.type"), (1, 2), 10,
    )  # fmt: skip
    assert str(contents.wanted[1].place).endswith("patches.yaml:16")


@given(st.text(alphabet="abc:{}[]-&*!%@'\"\n\t #,.", max_size=80) | st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_told(text):
    for read in (yaml_files.read, tach_files.read):
        contents = read("x", text)
        assert all(isinstance(problem, str) and problem.startswith("x") for problem in contents.problems)


def test_other_bytes(file, tmp_path):
    path = file("")
    for data, told in ((b"a\n\xff", ":2: not UTF-8"), (b"#" * (trust.MOST_BYTES + 1), "is larger than")):
        (tmp_path / "patches.yaml").write_bytes(data)
        assert told in patch_files.read(path).problems[0]
    (tmp_path / "patches.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert patch_files.read(path).problems == ()


def test_the_example_of_the_page(file):
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "patch-files.md").read_text()
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    contents = patch_files.read(file(text))
    assert len(contents.wanted) == 2
    assert ["count: no instrument site.servers.listed" in problem for problem in contents.problems] == [True]


# Who may write it


def refused(path, user=None):
    (problem,) = patch_files.read(str(path), user).problems
    return problem


def test_a_file_that_others_can_write_is_refused(file, tmp_path):
    for mode, who in ((0o620, "its group"), (0o602, "everybody"), (0o666, "everybody")):
        path = file(GOOD, mode=mode)
        assert f"{path} can be written by {who}, who could change what is patched: chmod go-w {path}" in refused(path)
    assert patch_files.read(file(GOOD, mode=0o644)).problems == ()
    place = tmp_path / "open"
    place.mkdir()
    (place / "patches.yaml").write_text(GOOD)
    for mode in (0o770, 0o777):
        place.chmod(mode)
        assert f"{place} can be written by" in refused(place / "patches.yaml")
    place.chmod(0o1777)  # as /tmp is
    assert patch_files.read(str(place / "patches.yaml")).problems == ()


def test_a_file_of_another_user_is_refused(file, tmp_path):
    path = file(GOOD)
    mine = os.geteuid()
    if mine == 0:
        os.chown(path, 12345, -1)
        assert f"{path} belongs to user 12345, who could change what is patched: chown it to root" in refused(path)
        assert patch_files.read(path, 12345).problems == ()  # for the service that runs as this user
        assert "belongs to user 12345" in refused(path, 12346)
        os.chown(path, 0, 0)
        os.chown(tmp_path, 12345, -1)
        assert f"{tmp_path} belongs to user 12345" in refused(path)
        os.chown(tmp_path, 0, 0)
    else:
        assert "chown it to root" in refused(path, mine + 1)
    assert patch_files.read(path).problems == ()


def test_links_are_followed_and_what_they_lead_through_is_looked_at(file, tmp_path):
    path = file(GOOD)
    link, place = tmp_path / "link.yaml", tmp_path / "open"
    link.symlink_to("patches.yaml")
    assert patch_files.read(str(link)).problems == ()
    place.mkdir()
    inner = place / "inner.yaml"
    inner.symlink_to("../patches.yaml")
    link.unlink()
    link.symlink_to("open/inner.yaml")
    assert patch_files.read(str(link)).problems == ()
    place.chmod(0o777)  # whoever can write it can exchange the link in the middle
    assert f"{place} can be written by everybody" in refused(link)
    place.chmod(0o700)
    inner.unlink()
    inner.symlink_to("inner.yaml")
    assert "too many symbolic links" in refused(link)
    inner.unlink()
    assert "No such file or directory" in refused(link)
    if os.geteuid() == 0:
        inner.symlink_to(path)
        os.chown(inner, 12345, -1, follow_symlinks=False)
        assert f"{inner} belongs to user 12345" in refused(link)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml", 0o600)
    assert "no regular file" in refused(tmp_path / "fifo.yaml")
    assert "Is a directory" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "none.yaml")


def test_a_relative_path_and_one_with_dots(file, tmp_path, monkeypatch):
    file(GOOD)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert patch_files.read("../patches.yaml").problems == ()
    assert patch_files.read(f"{tmp_path}/below/.././/patches.yaml").problems == ()


# Presets


@pytest.mark.parametrize("name", patch_files.PRESETS)
def test_a_preset_is_right_and_every_instrument_is_used(name):
    contents = patch_files.preset(name)
    assert contents.problems == ()
    used = {part.name for wanted in contents.wanted for part in wanted.parts}
    assert used == set(names.metrics()) - set(INSTRUMENTS)
    assert len(used) >= 8
    assert all(one.startswith(f"{name}.") for one in used)
