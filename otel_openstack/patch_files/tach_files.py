# SPDX-License-Identifier: Apache-2.0
"""Tach's own configuration files, read as they are.

    [global]                       app_helper: a module, or the path of one
    [notifier:statsd]              driver, and options of it
    [nova.compute.build]           the label
    module = nova.compute.manager.ComputeManager
    method = _do_build_and_run_instance
    metric = tach.metrics.ExecTime
    notifier = statsd
    app = a function of the helper that returns (args, kwargs, label)

A label becomes the name of an instrument; what a name cannot say stands in its attribute `tach.label`. Values leave as
all others do, so where a notifier sent is not used; what StackTach got becomes an event, since it is one. Tach's parser
was Python 2's: sections and keys may be there twice, the last counts, and a comment may follow a value after ` ;`.
"""

from __future__ import annotations

import configparser
import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple

from otel_openstack import conventions
from otel_openstack.conventions import Group, RegistryError, Table
from otel_openstack.developer import names, parts
from otel_openstack.developer.parts import Part
from otel_openstack.patch_files.model import Contents, PatchFileError, Place, Wanted, refusal
from otel_openstack.patch_files.tach_labels import LABEL, TRANSACTION, Helper, Transactions, labelled

GLOBAL, NOTIFIER = "global", "notifier"
METHOD_KEYS = {"module", "method", "metric", "notifier", "app", "app_helper", "app_path", "bump_transaction_id",
               "increment", "real_metric"}  # fmt: skip
REQUIRED = ("module", "method", "metric")
EXEC_TIME, INCREMENT, DEBUG = "ExecTime", "Increment", "DebugMetric"
METRICS = {f"{module}.{name}": name for module in ("tach.metrics", "tach.statistics")
           for name in (EXEC_TIME, INCREMENT, DEBUG)}  # fmt: skip
PRINT, DEBUG_NOTIFIER = "tach.notifiers.PrintNotifier", "tach.notifiers.DebugNotifier"
STACKTACH = ("tach.notifiers.StackTachNotifier", "tach.notifiers.WebServiceNotifier")
LARGEST = 2**53
GONE = {
    "nova.rpc.amqp.ProxyCallback._process_data": "nova's own RPC became oslo.messaging, which is measured without a "
    "patch (rpc.server.call.duration); oslo_messaging.rpc.dispatcher.RPCDispatcher._do_dispatch has the same arguments",
}
"""What Tach's own examples name and no service has any more."""

_SECTION = re.compile(r"\[(?P<name>.+)\]")
_KEY = re.compile(r"(?P<key>[^:=\s#;\[][^:=]*?)\s*[:=]")
_NO_NAME = re.compile(r"[^a-z0-9_.]+")


class Section(NamedTuple):
    """One section: its keys, and where it and they stand."""

    name: str
    keys: Mapping[str, str]
    file: str
    lines: Mapping[str, int]

    def place(self, key: str = "") -> Place:
        """Return where a key stands; the section itself for a key that is not there."""
        return Place(self.file, self.lines.get(key, self.lines.get("", 0)))

    def fail(self, key: str, message: str) -> PatchFileError:
        """Return the error to raise."""
        return self.place(key).fail(f"[{self.name}] {key}" if key else f"[{self.name}]", message)


class Notifier(NamedTuple):
    """Where values went.

    events: whether each one went on its own, as an event does.
    debug: whether that was also noted in the log.
    """

    events: bool
    debug: bool
    transactions: Transactions


NOBODY = Notifier(False, False, Transactions())


def read(file: str, text: str) -> Contents:
    """Read a file; it raises nothing that is wrong with the text."""
    try:
        sections = parse(file, text)
    except PatchFileError as error:
        return Contents(file, problems=(str(error),))
    problems: list[str] = []
    notes: list[str] = []
    notifiers: dict[str, Notifier] = {}
    helper = ""
    for section in sections:
        if section.name == GLOBAL:
            helper = section.keys.get("app_helper", "")
            if section.keys.get("setup_module"):
                place = section.place("setup_module")
                notes.append(f"{place}: [global] setup_module: not imported: services set themselves up")
        elif section.name == NOTIFIER or section.name.startswith(f"{NOTIFIER}:"):
            label = section.name.partition(":")[2]
            notifiers.setdefault(label, _notifier(section))
            notes.append(
                f"{section.place()}: [{section.name}]: not connected: values leave with all others, over OTLP, "
                "which the collector gives to statsd, Graphite and others"
            )
    wanted = []
    for section in sections:
        if section.name == GLOBAL or section.name.partition(":")[0] == NOTIFIER:
            continue
        try:
            wanted.append(_entry(section, helper, notifiers))
            notes += _unused(section)
        except (PatchFileError, RegistryError) as error:
            problems.append(str(error))
    return Contents(file, tuple(wanted), tuple(problems), tuple(notes))


def parse(file: str, text: str) -> list[Section]:
    """Return the sections of a file in their order.

    Raises:
        PatchFileError: it is no INI file.
    """
    parser = configparser.ConfigParser(strict=False, inline_comment_prefixes=(";",), comment_prefixes=("#", ";"))
    try:
        parser.read_string(text.removeprefix("\ufeff"), file)
        lines = _lines(text)
        common = lines.get(parser.default_section, {})
        return [
            Section(name, _items(parser, file, name, lines), file, {**common, **lines.get(name, {})})
            for name in parser.sections()
        ]
    except (configparser.Error, AttributeError) as error:  # Python 3.10 to 3.12: a line that goes on from nothing
        number = getattr(error, "lineno", None) or next((line for line, _ in getattr(error, "errors", ())), 0)
        hint = "; a file in YAML is called .yaml" if isinstance(error, configparser.MissingSectionHeaderError) else ""
        first = " ".join(str(error).split("\n")[0].split())
        raise Place(file, number).fail("", f"{first}{hint}") from error


def _items(
    parser: configparser.ConfigParser, file: str, name: str, lines: Mapping[str, Mapping[str, int]]
) -> dict[str, str]:
    try:
        return dict(parser.items(name))
    except configparser.InterpolationError as error:
        key = getattr(error, "option", "")
        known = lines.get(name, {})
        text = f"{' '.join(str(error).split())}; a percent sign is written %%"
        raise Place(file, known.get(key, known.get("", 0))).fail(f"[{name}] {key}", text) from error


def _lines(text: str) -> dict[str, dict[str, int]]:
    """Return where sections ("") and their keys stand, the last ones where there are several."""
    found: dict[str, dict[str, int]] = {}
    current: dict[str, int] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        section, key = _SECTION.match(line.lstrip()), _KEY.match(line.lstrip())
        indented = line[:1].isspace()  # it may be the rest of a value
        if section is not None:
            current = found.setdefault(section["name"], {})
            name = ""
        elif key is not None:
            name = key["key"].strip().lower()
        else:
            continue
        current[name] = current.get(name, number) if indented else number
    return found


def _notifier(section: Section) -> Notifier:
    driver = section.keys.get("driver", PRINT)
    debug = driver == DEBUG_NOTIFIER
    real = section.keys.get("real_driver", "") if debug else driver
    return Notifier(real in STACKTACH, debug, Transactions())


def _entry(section: Section, helper: str, notifiers: Mapping[str, Notifier]) -> Wanted:
    missing = [key for key in REQUIRED if not section.keys.get(key)]
    if missing:
        raise section.fail(missing[0], "missing")
    target = f"{section.keys['module']}.{section.keys['method']}"
    refused = refusal(target)
    if refused:
        raise section.fail("module", refused)
    metric, debug = _metric(section)
    step = _integer(section, "increment", 1) if metric == INCREMENT else 1
    name = _describe(section, metric, step)
    notifier = notifiers.get(section.keys.get("notifier", ""), notifiers.get("", NOBODY))
    app = _helper(section, helper)
    bump = _integer(section, "bump_transaction_id", 0) > 0
    label, told = labelled(section.name, app, notifier.transactions, bump=bump)
    found = Part(parts.TIMED if metric == EXEC_TIME else parts.COUNTED, name, step=step)
    if app is not None:
        found = found._replace(computed={LABEL: label})
    elif name != section.name:
        found = found._replace(values={LABEL: section.name})
    load = None if app is None else app.load
    phases = _phases(notifier, debug=debug)
    if not phases and not bump:
        return Wanted(section.place(), target, (found,), load)
    names.declare("event", name)  # without phases it only begins a transaction
    event = Part(parts.EVENT, name, phases=phases, computed={LABEL: told})
    return Wanted(section.place(), target, (found, event), load)


def _phases(notifier: Notifier, *, debug: bool) -> tuple[str, ...]:
    if debug:
        return parts.PHASES  # Tach noted begin and end
    return ("end", "error") if notifier.events or notifier.debug else ()


def _metric(section: Section) -> tuple[str, bool]:
    """Return the kind of metric, and whether Tach would write each into the log."""
    given, debug, key = section.keys["metric"], False, "metric"
    if METRICS.get(given) == DEBUG:
        given, debug, key = section.keys.get("real_metric", ""), True, "real_metric"
    found = METRICS.get(given)
    if found is None or found == DEBUG:
        near = difflib.get_close_matches(given, METRICS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; metrics of one's own cannot be used"
        raise section.fail(key, f"{given or 'nothing'} is none of {', '.join(METRICS)}{hint}")
    return found, debug


def _integer(section: Section, key: str, default: int) -> int:
    text = section.keys.get(key)
    try:
        number = default if text is None else int(text)
    except ValueError:
        raise section.fail(key, f"{text!r} is no whole number") from None
    if abs(number) > LARGEST:
        raise section.fail(key, f"{text} is too large")
    return number


def _helper(section: Section, common: str) -> Helper | None:
    """Return the function that makes labels. Tach wants the helper in the section only where there is no common one."""
    function = section.keys.get("app")
    if not function:
        return None
    module = section.keys.get("app_helper") or section.keys.get("app_path") or common
    if not module:
        raise section.fail("app_helper", "missing: app is a function of it")
    return Helper(module, function, section.file, str(section.place("app")))


def _describe(section: Section, metric: str, step: int) -> str:
    """Take the instrument of a label; returns its name."""
    instrument = "histogram" if metric == EXEC_TIME else "counter" if step >= 0 else "updowncounter"
    name = metric_name(section.name)
    data = {
        "id": f"metric.{name}", "type": "metric", "metric_name": name, "instrument": instrument,
        "unit": "s" if metric == EXEC_TIME else "1", "brief": "Of a Tach file.", "stability": "development",
        "attributes": [
            {"id": key, "type": "string", "brief": key, "stability": "development"} for key in (LABEL, "error.type")
        ],
        "annotations": {"level": "basic", **({"boundaries": list(names.SECONDS)} if metric == EXEC_TIME else {})},
    }  # fmt: skip
    table = Table(data)
    table.line, table.lines = section.place().line, {}
    try:
        names.describe(Group(section.file, table))
    except RegistryError:
        raise section.fail("", f"there is another instrument {name}, or it is of another kind") from None
    return name


def metric_name(label: str) -> str:
    """Return the name of an instrument that says most of a label."""
    plain = _NO_NAME.sub("_", label.replace(TRANSACTION, "").lower())
    words = [word.strip("_") for word in plain.split(".")]
    name = ".".join(word if word[0].isalpha() else f"n{word}" for word in words if word)
    return name if name and conventions.NAME.fullmatch(name) else "tach.call"


def _unused(section: Section) -> list[str]:
    gone = GONE.get(f"{section.keys['module']}.{section.keys['method']}")
    said = [f"{section.place('module')}: [{section.name}]: {gone}"] if gone else []
    return said + [
        f"{section.place(key)}: [{section.name}] {key}: not used" for key in section.keys if key not in METHOD_KEYS
    ]
