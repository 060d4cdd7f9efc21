# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: what was recorded is text, nothing else runs or loads, it folds, finds, is quick."""

from __future__ import annotations

import html.parser
import json

import pytest

from otel_openstack.cli.main import main
from tests.analysis import recorded
from tests.analysis.browser import EXECUTABLE, Browser

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "\x1b[31mred\x1b]0;title\x07",
    "two\nlines\r\x9b2J",
    "\u202egnp.exe\u2066",
    "'\"><svg onload=alert(1)>",
    "\ud800 alone",
    "javascript:alert(1)",
    "@@data@@ <!-- data -->",
)
VISIBLE = "document.body.innerText"

needs_browser = pytest.mark.skipif(EXECUTABLE is None, reason="chromium is not installed (apt install chromium)")


def hostile_recording(directory):
    """Write the hostile texts into every place that a page or a terminal shows."""
    cloud = recorded.Cloud()
    trace_id = cloud.new_trace()
    requests = []
    for text in HOSTILE:
        root = cloud.span(text, text, 2, attributes={text: text, "openstack.request_id": text}, error=text)
        root["status"]["message"] = text
        root["events"] = [{"name": text, "timeUnixNano": "1", "attributes": recorded.pairs({text: text})}]
        requests.append(recorded.trace_request(text, [root]))
        metrics = [
            recorded.histogram(text, [(recorded.START, recorded.START, [0.1], {text: text})], unit=text),
            recorded.sums(text, [(recorded.START, recorded.START, 1, {"a.state": text})], unit=text, monotonic=False),
        ]
        requests.append(recorded.metric_request(text, metrics))
    recorded.write(directory / "hostile.jsonl", requests)
    return trace_id


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


@pytest.fixture
def clean(browser):
    """The browser, whose page must have logged nothing and loaded nothing in the end."""
    browser.complaints.clear()
    browser.requests.clear()
    yield browser
    assert browser.complaints == []
    assert {url.partition(":")[0] for url in browser.requests} == {"file"}
    assert len(set(browser.requests)) == 1


def write(directory, output):
    assert main(["page", str(directory), "-o", str(output)]) == 0
    return output


class Scripts(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_markup_holds_nothing_recorded(tmp_path):
    hostile_recording(tmp_path)
    page = write(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    parser = Scripts()
    parser.feed(page)
    assert [held for tag, held in parser.tags if tag == "script"] == [{"type": "application/json", "id": "data"}, {}]
    assert not {tag for tag, _ in parser.tags} & {"img", "svg", "iframe", "link", "object", "form"}
    assert not [name for _, held in parser.tags for name in held if name.startswith("on") or name in {"style", "src"}]
    policy = next(held["content"] for _, held in parser.tags if held.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    block = page.partition('id="data">')[2].partition("</script>")[0]
    assert "<" not in block
    assert HOSTILE[0] in json.loads(block)["texts"]


@needs_browser
def test_hostile_text_is_shown_as_text(tmp_path, clean):
    trace_id = hostile_recording(tmp_path)
    page = write(tmp_path, tmp_path / "page.html")
    clean.open(page)
    assert "<script>alert(1)</script>" in clean.eval(VISIBLE)
    clean.eval(f"location.hash = 'trace/{trace_id}'")
    clean.until("document.querySelectorAll('.waterfall .row').length >= 10")
    shown = clean.eval(VISIBLE)
    for text in (HOSTILE[0], HOSTILE[1], "\\u{1b}[31mred", "two\\u{a}lines\\u{d}\\u{9b}2J", "\\u{202e}gnp.exe"):
        assert text in shown
    for _ in HOSTILE:
        clean.key("ArrowDown")
        clean.key("Enter")
        assert "Attributes".upper() in clean.eval("document.querySelector('.details').innerText").upper()
    for service in range(len(HOSTILE)):
        clean.eval(f"location.hash = 'metrics/{service}'")
        clean.until("document.querySelectorAll('tr.metric').length === 2")
        clean.eval("document.querySelectorAll('tr.metric').forEach(row => row.click())")
        assert clean.eval("document.querySelectorAll('tr.more svg').length") > 0
    unseen = r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/"
    assert clean.eval(f"{unseen}.test({VISIBLE})") is False
    assert clean.eval("document.querySelectorAll('script, img, iframe').length") == 2


@needs_browser
def test_the_policy_stops_what_is_not_ours(tmp_path, browser):
    """The other tests would find no violation either if the policy were not in force."""
    recorded.record_cloud(tmp_path)
    browser.open(write(tmp_path, tmp_path / "page.html"))
    browser.complaints.clear()
    browser.eval(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    browser.eval("document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/'}))")
    browser.until("true")
    browser.settle()
    assert browser.eval("window.ran === undefined")
    assert sum("Content Security Policy" in each for each in browser.complaints) == 2


@needs_browser
def test_a_server_create_folds_and_is_found(tmp_path, clean):
    (trace_id,) = recorded.record_cloud(tmp_path)
    clean.open(write(tmp_path, tmp_path / "page.html"))
    tiles = clean.eval("[...document.querySelectorAll('.tile')].map(tile => tile.innerText.replace(/\\s+/g, ' '))")
    assert tiles[:4] == ["2 traces", "231 spans", "11 services", "2 errors"]
    assert clean.eval("document.querySelectorAll('.traces .row').length") == 1  # background work is behind its button
    clean.eval("document.querySelector('.bar button').click()")
    assert clean.eval("document.querySelectorAll('.traces .row').length") == 2
    clean.eval("[...document.querySelectorAll('.traces .row')].find(row => row.innerText.includes('create')).click()")
    clean.until(f"location.hash === '#trace/{trace_id}' && document.querySelectorAll('.waterfall .row').length > 5")
    rows = "Number(document.querySelector('.spacer').style.height.replace('px', '')) / 26"
    unfolded = clean.eval(rows)
    assert 40 < unfolded < 90
    clean.key("ArrowDown")  # the first row
    clean.key("ArrowLeft")
    assert clean.eval(rows) == 1
    clean.key("ArrowRight")
    assert clean.eval(rows) == unfolded
    clean.eval("document.getElementById('unfold-all').click()")
    assert clean.eval(rows) > 100
    clean.eval("document.getElementById('fold-all').click()")
    assert clean.eval(rows) == 4  # the root, and what it did
    clean.key("/")
    clean.type("neutron 404")
    clean.until("document.getElementById('matches').textContent === '1 of 228 spans'")
    assert "GET /v2.0/extensions/{id}" in clean.eval("document.querySelector('.row.selected').innerText")
    clean.eval("document.getElementById('search').value = ''")
    clean.type("poll that is not there")
    clean.until("document.getElementById('matches').textContent === '0 of 228 spans'")


@needs_browser
def test_the_metrics_of_every_service_are_shown(tmp_path, clean):
    recorded.record_cloud(tmp_path)
    clean.open(write(tmp_path, tmp_path / "page.html"), "#metrics")
    assert clean.eval("document.querySelectorAll('.services a').length") == len(recorded.SERVICES)
    assert "http.server.request.duration" in clean.eval(VISIBLE)
    clean.eval("document.querySelectorAll('tr.metric').forEach(row => row.click())")
    shown = clean.eval(VISIBLE)
    assert "http.route=/v2.1/servers/{id}" in shown
    assert "Distribution" in shown


@needs_browser
def test_a_trace_of_20000_spans_opens_and_is_searched(tmp_path, clean):
    requests = recorded.large_trace(20_000)
    recorded.write(tmp_path / "large.jsonl", requests)
    trace_id = requests[0]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
    clean.open(write(tmp_path, tmp_path / "page.html"), f"#trace/{trace_id}")
    clean.eval("document.getElementById('unfold-all').click()")
    assert clean.eval("Number(document.querySelector('.spacer').style.height.replace('px', '')) / 26") >= 20_000
    assert clean.eval("document.querySelectorAll('.row').length") < 100  # only those in sight exist
    clean.eval("document.querySelector('.scroll').scrollTop = 300000")
    clean.until("Math.abs(parseInt(document.querySelector('.spacer .row').style.top) - 300000) < 1000")
    clean.key("/")
    clean.type("items/96")
    clean.until("document.getElementById('matches').textContent.startsWith('206 of 20,000')")
