# SPDX-License-Identifier: Apache-2.0
"""Notifications through oslo.messaging's own notifier, whatever its drivers: which become events, and of what."""

from __future__ import annotations

import os
import textwrap
import threading
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry import trace

from otel_openstack import metrics, notifications, settings
from otel_openstack.instrumentation import oslo_messaging_notifier
from otel_openstack.notifications import pairs, rules
from otel_openstack.patching import inventory
from otel_openstack.testing import recording

RULES = """
rules:
  - name: create
    event_type: compute.instance.create.*
    publisher: compute.*
    priority: [info, error]
    require: [payload.instance_id]
    event: demo.instance.create
    attributes:
      demo.flavor: payload.flavor.name
      demo.password: payload.admin_password
      demo.first: payload.nics[0].id
      demo.nics: len(payload.nics)
      demo.roles: len(context.roles)
    pair: {key: [payload.instance_id], max_age: 60}
  - name: rest
    event_type: "compute.*"
"""


@pytest.fixture
def seen(tmp_path, request):
    path = tmp_path / "rules.yaml"
    path.write_text(getattr(request, "param", RULES))
    chosen = settings.Settings(strict=True, notification_rules=(str(path),))
    with recording(chosen) as telemetry, telemetry.patched("oslo_messaging_notifier"):
        yield telemetry


@pytest.fixture
def notifier():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oslo_messaging
        from oslo_config import cfg

    conf = cfg.CONF
    conf([])
    transport = oslo_messaging.get_notification_transport(conf, "fake:/")
    made = oslo_messaging.Notifier(transport, driver="noop", publisher_id="compute.host1")
    yield made
    transport.cleanup()


PAYLOAD = {"instance_id": "i-1", "flavor": {"name": "tiny"}, "admin_password": "canary", "nics": [{"id": "n"}, {}]}
CONTEXT = {"request_id": "req-1", "project_id": "p-1", "roles": ["reader"], "auth_token": "canary"}


def results(telemetry=None, name="otel_openstack.notification.rule.results"):
    return {tuple(point.attributes.values()): point.value for point in metrics.testing_points(name)}


def outcomes():
    return {what: n for (_, what), n in results(name="otel_openstack.notification.pairs").items()}


def test_a_pair_has_a_duration_and_belongs_to_its_trace_and_request(seen, notifier):
    with trace.get_tracer("t").start_as_current_span("build") as span:
        notifier.info(CONTEXT, "compute.instance.create.start", PAYLOAD)
        threading.Event().wait(0.2)
        notifier.info(CONTEXT, "compute.instance.create.end", PAYLOAD)
    start, end = seen.events()
    assert start.name == end.name == "demo.instance.create"
    assert start.trace_id == end.trace_id == span.get_span_context().trace_id
    assert start.span_id == span.get_span_context().span_id
    assert start.attributes == {
        "openstack.notification.event_type": "compute.instance.create.start",
        "openstack.notification.publisher": "compute.host1",
        "openstack.notification.priority": "info",
        "openstack.notification.phase": "start",
        "openstack.request_id": "req-1",
        "openstack.project_id": "p-1",
        "demo.flavor": "tiny",
        "demo.password": "canary",  # what leaves is scrubbed where it is encoded
        "demo.first": "n",
        "demo.nics": 2,
        "demo.roles": 1,
    }
    seconds = end.attributes["openstack.notification.duration"]
    assert seconds == pytest.approx((end.time - start.time) / 1e9, abs=0.05)
    assert seconds >= 0.2
    assert outcomes() == {"paired": 1}


def test_what_leaves_holds_no_secret(seen, notifier):
    from otel_openstack import resource
    from otel_openstack.tracing import encoding_json

    notifier.info(CONTEXT, "compute.instance.create.start", PAYLOAD)
    encoded = encoding_json.LogEncoder(resource.current).encode(seen.events(), lambda: None)
    assert b"tiny" in encoded.payload
    assert b"canary" not in encoded.payload


def test_an_error_ends_a_pair_as_well_and_another_publisher_comes_through(seen, notifier):
    other = notifier.prepare(publisher_id="compute.host2")
    other.info(CONTEXT, "compute.instance.create.start", PAYLOAD)
    other.error(CONTEXT, "compute.instance.create.error", PAYLOAD)
    start, end = seen.events()
    assert end.attributes["openstack.notification.phase"] == "error"
    assert end.attributes["openstack.notification.duration"] >= 0
    assert start.attributes["openstack.notification.publisher"] == "compute.host2"


def test_why_a_rule_did_not_fit_is_counted(seen, notifier):
    notifier.info({}, "compute.instance.create.start", PAYLOAD)
    notifier.info({}, "compute.instance.create.start", {})
    notifier.debug({}, "compute.instance.create.start", PAYLOAD)
    notifier.info({}, "compute.instance.delete.start", PAYLOAD)
    notifier.prepare(publisher_id="api.host1").info({}, "compute.instance.create.start", PAYLOAD)
    notifier.info({}, "volume.create.start", PAYLOAD)
    assert results() == {
        ("create", "matched"): 1,
        ("create", "missing attribute"): 1,
        ("create", "priority"): 1,
        ("create", "event type"): 2,
        ("create", "publisher"): 1,
        ("rest", "matched"): 4,
        ("rest", "event type"): 1,
    }
    assert Counter(event.name for event in seen.events())["demo.instance.create"] == 1
    assert len(seen.events()) == 5


def test_ends_without_beginnings_beginnings_without_ends_and_beginnings_twice(seen, notifier, monkeypatch):
    notifier.info({}, "compute.instance.create.end", PAYLOAD)
    notifier.info({}, "compute.instance.create.start", PAYLOAD)
    notifier.info({}, "compute.instance.create.start", PAYLOAD)
    notifier.info({}, "compute.instance.create.failed", PAYLOAD)
    assert outcomes() == {"no start": 1, "begun again": 1}
    assert "openstack.notification.duration" not in seen.events()[0].attributes
    assert "openstack.notification.phase" not in seen.events()[-1].attributes
    monkeypatch.setattr(pairs, "MOST", 10)
    for number in range(30):
        notifier.info({}, "compute.instance.create.start", {"instance_id": number})
    assert outcomes()["too many"] == 21
    observer = oslo_messaging_notifier._hook.observer
    assert len(observer._pairs["create"]) == 10
    observer.in_child()
    assert len(observer._pairs["create"]) == 0


def test_beginnings_are_given_up_for_their_age():
    table = pairs.Pairs(60)
    assert table.begin("a", 0.0) == (False, 0, 0)
    assert table.begin("b", 50.0) == (False, 0, 0)
    assert table.begin("c", 70.0) == (False, 1, 0)
    assert table.end("a", 71.0) is None
    assert table.end("b", 71.0) == 21.0
    assert table.end("c", 131.0) is None


def test_threads_share_pairs_and_lose_none():
    table = pairs.Pairs(3600)
    found = []

    def work(name):
        for number in range(300):
            table.begin((name, number), float(number))
            found.append(table.end((name, number), number + 1.0))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1.0] * 1200
    assert len(table) == 0


def test_reading_runs_no_code_of_the_service(seen, notifier):
    class Payload(dict):
        def __getitem__(self, key):
            raise AssertionError

        get = __getattr__ = __getitem__

    notifier.info({}, "compute.instance.create.start", Payload(instance_id="i-1"))
    assert results()["create", "missing attribute"] == 1
    notifier.info({}, "compute.instance.create.start", None)
    assert results()["create", "missing attribute"] == 2


def test_without_rules_the_method_is_the_notifiers_own_and_undone_it_is_again(tmp_path, notifier):
    from oslo_messaging.notify.notifier import Notifier

    original = vars(Notifier)["_notify"]
    with recording(settings.Settings(strict=True)) as telemetry, telemetry.patched("oslo_messaging_notifier"):
        assert vars(Notifier)["_notify"] is original
        assert "oslo_messaging.notifier.events: skipped (no notification rules are given)" in inventory.text()
    chosen = settings.Settings(strict=True, notification_rules=("nova",))
    with recording(chosen) as telemetry, telemetry.patched("oslo_messaging_notifier"):
        assert vars(Notifier)["_notify"] is not original
        versioned = {"nova_object.data": {"uuid": "u", "flavor": {"nova_object.data": {"name": "tiny"}}}}
        notifier.info({}, "instance.create.start", versioned)
        (event,) = telemetry.events()
        assert (event.attributes["openstack.instance.id"], event.attributes["openstack.instance.type"]) == ("u", "tiny")
    assert vars(Notifier)["_notify"] is original


MISTAKES = [
    (
        "rules: [{name: a, event_type: 'x*', publishr: y}]",
        "file.yaml:1: a: publishr: unknown key; did you mean publisher?",
    ),
    ("rules:\n  - name: a\n", "file.yaml:2: a: event_type: missing"),
    ("rules:\n  - event_type: x\n", "file.yaml:2: ?: name: missing"),
    ("rules:\n  - name: a\n    event_type: x\n    priority: loud\n", "file.yaml:4: a: priority: 'loud' is none of"),
    (
        "rules:\n  - {name: a, event_type: x}\n  - {name: a, event_type: y}\n",
        "file.yaml:3: a: name: another rule has it",
    ),
    (
        "rules:\n  - name: a\n    event_type: x\n    attributes:\n      b.c: payload.__import__('os')\n",
        "file.yaml:5: a: b.c: \"payload.__import__('os')\" cannot be understood from",
    ),
    (
        "rules:\n  - name: a\n    event_type: x\n    require: instance.uuid\n",
        "file.yaml:4: a: require: 'instance.uuid' begins with neither payload nor context",
    ),
    (
        "rules:\n  - name: a\n    event_type: x\n    attributes:\n      Bad Name: payload.a\n",
        "file.yaml:5: a: Bad Name: 'Bad Name' does not look like one",
    ),
    ("rules:\n  - name: a\n    event_type: x\n    pair:\n      key: []\n", "file.yaml:5: a: key: needs expressions"),
    (
        "rules:\n  - name: a\n    event_type: x\n    pair:\n      key: payload.a\n      max_age: soon\n",
        "file.yaml:6: a: max_age: 'soon' is not a number of seconds",
    ),
    (
        "rules:\n  - name: a\n    event_type: x\n    pair: {key: payload.a, start: .end}\n",
        "file.yaml:4: a: pair: start, end and error have to differ",
    ),
    ("rules: 7\n", "file.yaml:1: rules: not a list"),
    ("rules:\n  - 7\n", "file.yaml: rules: '7' is not a mapping"),
    ("rulez: []\n", "file.yaml:1: rulez: unknown key; known: rules"),
    ("rules:\n  - [\n", "file.yaml:3: "),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_a_mistake_names_file_line_and_key_and_the_other_rules_hold(tmp_path, text, expected):
    (tmp_path / "file.yaml").write_text(text)
    (tmp_path / "good.yaml").write_text(textwrap.dedent(RULES))
    found, problems = rules.load([str(tmp_path / "file.yaml"), str(tmp_path / "good.yaml")])
    assert [rule.name for rule in found if rule.name != "a"] == ["create", "rest"]
    (problem,) = problems
    assert problem.startswith(f"notification rules: {expected}"), problem


def test_a_file_that_is_not_there_is_told(tmp_path):
    found, problems = rules.load([str(tmp_path / "none.yaml"), "novva"])
    assert found == []
    assert "none.yaml" in problems[0]
    assert "novva.yaml" in problems[1]


def test_the_rules_of_the_documentation_have_no_mistake(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    (tmp_path / "page.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    found, problems = rules.load([str(tmp_path / "page.yaml")])
    assert ([rule.name for rule in found], problems) == (["volume"], [])


def test_every_shipped_file_has_no_mistake():
    names = [name.removesuffix(".yaml") for name in os.listdir(rules.SHIPPED)]
    found, problems = rules.load(names)
    assert problems == []
    assert len(found) >= 2
    assert notifications.__doc__
