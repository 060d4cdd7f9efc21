# SPDX-License-Identifier: Apache-2.0
"""Tach's own files mean what they meant to Tach."""

from __future__ import annotations

import configparser
import shutil
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from otel_openstack import conventions, patch_files, settings
from otel_openstack.patch_files import tach_files
from otel_openstack.patch_files.tach_labels import LABEL
from otel_openstack.testing import recording

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples" / "tach"
EXEC = "metric = tach.metrics.ExecTime"
HELPER = """
def by_flavor(*args, **kwargs):
    return ("others", {}, "shop.flavor.%s" % args[-1])
def made(*args, **kwargs):
    return args, kwargs, "shop.made.%d.%s" % (len(args), args[0])
def broken(*args, **kwargs):
    raise KeyError("gone")
def transaction(*args, **kwargs):
    return args, kwargs, "nova.{%TX_ID%}.x"
"""


def section(label, method, *lines, module="shop.manager.Manager", metric=EXEC):
    return "\n".join([f"[{label}]", f"module = {module}", f"method = {method}", metric, *lines, ""])


def points(telemetry, name):
    return [(dict(point.attributes), point.count or point.value) for point in telemetry.points(name)]


@pytest.fixture
def helper(tmp_path):
    path = tmp_path / "shop_helper.py"
    path.write_text(HELPER)
    path.chmod(0o600)
    return path


@pytest.fixture
def tach(file):
    """Write a Tach file, install it, and expect no complaint."""

    def install(*sections):
        assert patch_files.install([file("\n".join(sections), "tach.conf")]) == []

    return install


def test_execution_time_of_failed_calls_too(telemetry, shop, tach):
    tach("[notifier]", section("shop.build", "build"), section("shop.helps", "helps", module="shop.manager"))
    manager = shop()
    manager.Manager().build(None, 1)
    with pytest.raises(LookupError):
        manager.Manager().build(None, None)
    manager.helps("x")
    assert points(telemetry, "shop.build") == [({}, 1), ({"error.type": "LookupError"}, 1)]
    assert points(telemetry, "shop.helps") == [({}, 1)]
    assert telemetry.events() == []


def test_increments(telemetry, shop, tach):
    increment = "metric = tach.metrics.Increment"
    tach(
        section("shop.one", "build", metric=increment),
        section("shop.five", "size", "increment = 5", metric=increment),
        section("shop.down", "static", "increment=-2 ; down", metric=increment),
        section(
            "shop.debug", "state", "real_metric = tach.metrics.Increment", metric="metric = tach.metrics.DebugMetric"
        ),
    )
    manager = shop().Manager
    for _ in range(2):
        manager().build(None, 1), manager.size("x"), manager.static("x"), manager().state
    found = {name: telemetry.points(f"shop.{name}")[0].value for name in ("one", "five", "down", "debug")}
    assert found == {"one": 2, "five": 10, "down": -4, "debug": 2}
    from otel_openstack.metrics import catalog

    assert catalog.known("shop.down").kind == "updowncounter"
    # What Tach's DebugMetric wrote into the log:
    assert [event.name for event in telemetry.events()] == ["shop.debug.start", "shop.debug.end"] * 2


def test_labels_of_helpers(telemetry, shop, tach, helper):
    tach(
        "[global]\napp_helper = shop_helper",
        section("shop.build", "decorated", "app = by_flavor"),
        section("shop.make", "make", "app = made"),  # Tach gives a class method's helper no class
        section("shop.helps", "helps", "app = by_flavor", f"app_helper = {helper}", module="shop.manager"),
    )
    manager = shop()
    assert manager.Manager().decorated("small") == "small"  # the helper's other arguments are not called with
    assert manager.Manager.make("big") == ("Manager", "big")
    manager.helps("x")
    assert points(telemetry, "shop.build") == [({LABEL: "shop.flavor.small"}, 1)]
    assert points(telemetry, "shop.make") == [({LABEL: "shop.made.1.big"}, 1)]
    assert points(telemetry, "shop.helps") == [({LABEL: "shop.flavor.x"}, 1)]


def test_a_helper_that_fails_costs_the_label_only(shop, file, helper, caplog):
    with recording(settings.Settings()) as telemetry:
        path = file("\n".join([
            "[global]\napp_helper = shop_helper",
            section("shop.build", "build", "app = broken"),
            section("shop.helps", "helps", "app = none", module="shop.manager"),
        ]), "tach.conf")  # fmt: skip
        assert patch_files.install([path]) == []
        manager = shop()
        for _ in range(8):
            assert manager.Manager().build(None, 1) == {"host": "compute-1"}
        manager.helps("x")
        assert points(telemetry, "shop.build") == [({LABEL: "shop.build"}, 8)]
        assert points(telemetry, "shop.helps") == [({LABEL: "shop.helps"}, 1)]
        missing = """"module 'shop_helper' has no attribute 'none'\""""
        said = [record.getMessage().removeprefix("otel-openstack: ") for record in caplog.records]
        assert said == [
            f"""app helper broken, {path}:7, failed; such a call is counted as shop.build: "'gone'" (KeyError)""",
            f"""app helper none, {path}:13, failed; such a call is counted as shop.helps: {missing} (AttributeError)""",
        ]


def test_a_helper_that_others_can_write_is_not_run(shop, file, helper, caplog):
    helper.chmod(0o666)
    with recording(settings.Settings()) as telemetry:
        text = "[global]\napp_helper = shop_helper\n" + section("shop.build", "decorated", "app = by_flavor")
        patch_files.install([file(text, "tach.conf")])
        assert shop().Manager().decorated("small") == "small"
        assert points(telemetry, "shop.build") == [({LABEL: "shop.build"}, 1)]
        assert "can be written by everybody" in caplog.text


def test_transactions(telemetry, shop, tach, helper):
    tach(
        "[global]\napp_helper = shop_helper",
        "[notifier:stacktach]\ndriver = tach.notifiers.StackTachNotifier\nurl = http://127.0.0.1/data",
        "[notifier]\ndriver = tach.notifiers.PrintNotifier",
        section("shop.{%TX_ID%}.build", "build", "notifier = stacktach", "bump_transaction_id = 1"),
        section("shop.{%TX_ID%}.size", "size", "notifier = stacktach"),
        section("shop.app", "decorated", "notifier = stacktach", "app = transaction"),
        section("shop.{%TX_ID%}.printed", "static"),
    )
    manager = shop().Manager
    manager.size("x")
    for _ in range(2):
        manager().build(None, 1)
        manager.size("x"), manager().decorated("x"), manager.static("x")
    told = [event.attributes[LABEL] for event in telemetry.events()]
    assert told == [
        "shop.1.size",
        "shop.2.build", "shop.2.size", "nova.2.x",
        "shop.3.build", "shop.3.size", "nova.3.x",
    ]  # fmt: skip
    assert {event.name for event in telemetry.events()} == {"shop.build.end", "shop.size.end", "shop.app.end"}
    assert all(event.attributes["openstack.event.duration"] >= 0 for event in telemetry.events())
    # A number that never ends is no label of a metric.
    assert points(telemetry, "shop.build") == [({LABEL: "shop.{%TX_ID%}.build"}, 2)]
    assert points(telemetry, "shop.app") == [({LABEL: "nova.{%TX_ID%}.x"}, 2)]
    assert points(telemetry, "shop.printed") == [({LABEL: "shop.{%TX_ID%}.printed"}, 2)]


def test_labels_that_are_no_names(telemetry, shop, tach):
    tach(
        section("Shop Build-Time", "build"),
        section("shop build time", "size"),
        section("1.2", "static"),
        section("%", "state"),
    )
    manager = shop().Manager
    manager().build(None, 1), manager.size("x"), manager.static("x"), manager().state
    assert points(telemetry, "shop_build_time") == [({LABEL: "Shop Build-Time"}, 1), ({LABEL: "shop build time"}, 1)]
    assert points(telemetry, "n1.n2") == [({LABEL: "1.2"}, 1)]
    assert points(telemetry, "tach.call") == [({LABEL: "%"}, 1)]


WRONG = [
    (section("a.b", "build").replace("module", "modul"), "1: [a.b] module: missing"),
    (section("a.b", "build").replace("method", "mthod"), "1: [a.b] method: missing"),
    (section("a.b", "build").replace("metric =", "mtric ="), "1: [a.b] metric: missing"),
    (section("a.b", "build", metric="metric = tach.metrics.ExcTime"), "4: [a.b] metric: tach.metrics.ExcTime is none "),
    (section("a.b", "build", metric="metric = my.own.Metric"), "metrics of one's own cannot be used"),
    (section("a.b", "build", metric="metric = tach.metrics.DebugMetric"), "[a.b] real_metric: nothing is none of"),
    (section("a.b", "build", "increment = x", metric="metric = tach.metrics.Increment"),
     "5: [a.b] increment: 'x' is no whole number"),
    (section("a.b", "build", "bump_transaction_id = yes"), "5: [a.b] bump_transaction_id: 'yes' is no whole number"),
    (section("a.b", "build", "app = x"), "1: [a.b] app_helper: missing: app is a function of it"),
    (section("a.b", "b()"), "2: [a.b] module: 'shop.manager.Manager.b()' is no dotted name"),
    (section("a.b", "build") + section("a.B", "build", metric="metric = tach.metrics.Increment"),
     "5: [a.B]: there is another instrument a.b, or it is of another kind"),
    (section("http.server.request.duration", "build"), "1: [http.server.request.duration]: there is another"),
    ("module = x\n", "1: File contains no section headers.; a file in YAML is called .yaml"),
    ("[a]\nmodule\n", "2: Source contains parsing errors"),
    ("[a]\nmodule = %(x)s\n", "2: [a] module: Bad value substitution"),
    ("[a]\nmodule = 5%\n", "2: [a] module: '%' must be followed by"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_mistake_is_told_with_file_line_and_key(file, text, told):
    good = section("z.good", "size")
    path = file(f"{text}{good}", "tach.conf")
    contents = patch_files.read(path)
    assert contents.problems[0].startswith(path)
    assert told in contents.problems[0], contents.problems
    whole = "no section" in told or "parsing" in told or "[a] " in told
    assert [one.target for one in contents.wanted if "size" in one.target] == (
        [] if whole else ["shop.manager.Manager.size"]
    )


def test_what_is_read_and_not_done_is_said(file):
    text = "[global]\nsetup_module = my.setup\n[notifier:statsd]\nhost = x\n[DEFAULT]\nspare = 1\n" + section(
        "a.b", "build", "notifier = statsd", "other = 2"
    )
    path = file(text, "tach.conf")
    notes = [note.removeprefix(f"{path}:") for note in patch_files.read(path).notes]
    assert sorted(note.split(": ")[:2] for note in notes) == [
        ["12", "[a.b] other"], ["2", "[global] setup_module"], ["3", "[notifier:statsd]"], ["6", "[a.b] spare"],
    ]  # fmt: skip


# The parser


NAMES = st.text(string.ascii_lowercase + string.digits + "._", min_size=1, max_size=12).filter(
    lambda name: name not in ("global", "default") and not name.startswith("notifier")
)
VALUES = st.text(string.ascii_letters + string.digits + "._- =:/{}", max_size=20).map(str.strip)
SECTIONS = st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=4)
LAYOUT = st.sampled_from(["", "\n", "# comment\n", "; comment\n"])


@given(SECTIONS, st.sampled_from([" = ", "=", ": ", ":"]), LAYOUT)
@hypothesis_settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_with_its_lines(sections, between, layout):
    lines, places = [], {}
    for name, keys in sections.items():
        lines += [*layout.splitlines(), f"[{name}]"]
        places[name, ""] = len(lines)
        for key, value in keys.items():
            lines.append(f"{key}{between}{value}")
            places[name, key] = len(lines)
    found = tach_files.parse("f", "\n".join(lines))
    assert {one.name: dict(one.keys) for one in found} == sections
    assert {(one.name, key): one.place(key).line for one in found for key in ("", *one.keys)} == places


@given(st.text(alphabet="[]=:;#%() \n\tab.", max_size=80))
@hypothesis_settings(max_examples=300, deadline=None)
def test_the_same_as_pythons_own_parser_or_told(text):
    own = configparser.ConfigParser(strict=False, inline_comment_prefixes=(";",), comment_prefixes=("#", ";"))
    try:
        own.read_string(text)
        expected = {name: dict(own.items(name)) for name in own.sections()}
    except configparser.Error:
        expected = None
    try:
        found = {one.name: dict(one.keys) for one in tach_files.parse("f", text)}
    except tach_files.PatchFileError as error:
        assert str(error).startswith("f")  # noqa: PT017 (either is right)
        found = None
    assert found == expected


@given(st.text(max_size=40))
@hypothesis_settings(max_examples=300, deadline=None)
def test_every_label_has_a_name(label):
    assert conventions.NAME.fullmatch(tach_files.metric_name(label))
    assert "%" not in tach_files.metric_name(label)


# What is shipped


def test_the_shipped_examples_are_right(tmp_path, telemetry):
    shutil.copytree(EXAMPLES, tmp_path / "tach")
    for path in (tmp_path / "tach").iterdir():
        path.chmod(0o600)
    names = sorted(path.name for path in EXAMPLES.glob("*.conf"))
    assert names == [
        "nova-compute.conf",
        "tach-api.conf",
        "tach-compute.conf",
        "tach-network.conf",
        "tach-scheduler.conf",
    ]
    for name in names:
        contents = patch_files.read(str(tmp_path / "tach" / name))
        assert contents.problems == ()
        for wanted in contents.wanted:
            assert wanted.load is None or callable(wanted.load())


def test_the_shipped_helpers_label_what_nova_calls_them_with():
    from types import SimpleNamespace

    module: dict = {}
    exec((EXAMPLES / "tach_helper.py").read_text(), module)
    for path, project, expected in (
        ("/servers/detail", None, "nova.api.servers.detail.GET"),
        ("/abc/servers/77/action", "abc", "nova.api.servers.detail.GET"),
        ("/", "", "nova.api.detail.GET"),
    ):
        environ: dict = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
        if project != "":
            matched = {"action": "detail", **({"project_id": project} if project else {})}
            environ["wsgiorg.routing_args"] = ((), matched)
        request = SimpleNamespace(environ=environ)
        arguments = (object(), request, "detail", {}, None, b"", "application/json")
        assert module["process_stack"](*arguments)[2] == expected
    assert module["queue_receive"](0, 0, "build", {}, {})[2] == "nova.compute.build"
