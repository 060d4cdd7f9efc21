# SPDX-License-Identifier: Apache-2.0
"""No secret is in anything that leaves: the exported files, the page, the lines that we write into services' logs.

The client plants recognisable secrets wherever a service takes one in (examples/minicloud/inside/canaries.py), most of
them in requests that fail. What a request's path holds is no secret, so none is planted there.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from otel_openstack.cli import main
from tests.cloud.recorded import Run
from tests.cloud.search import Haystack

pytestmark = pytest.mark.cloud

# otlp/ and log/ are of the run at level basic, with the suffix of the one at level deep.
LEVELS = ("", "-deep")
PLANTED = {
    "token", "image bytes", "image metadata", "comment of a key", "user data 0", "server metadata 0",
    "admin password 0", "wrong password", "wrong token", "image in a body", "address in a body",
    "visibility in a body", "body that is no JSON", "new admin password", "marker in a query", "name in a query",
    "cookie", "bearer", "password in a URL", "password of a user", "password of a duplicate", "name of a provider",
    "name of a flavor", "secret of an application", "blob of a credential",
}  # fmt: skip
CONFIGURED = {
    "nova.conf [DEFAULT] transport_url", "nova.conf [database] connection", "nova.conf [api_database] connection",
    "nova.conf [service_user] password", "nova.conf [keystone_authtoken] password",
    "nova.conf [keystone_authtoken] memcache_secret_key", "keystone.conf [database] connection",
    "glance-api.conf [DEFAULT] transport_url", "neutron.conf [database] connection", "fernet-keys/0",
}  # fmt: skip


@pytest.fixture(scope="module")
def secrets(run: Run) -> dict[str, str]:
    """Everything that must not be found, by what it is."""
    record = json.loads((run.directory / "state" / "record.json").read_text())
    found: dict[str, str] = dict(record["secrets"])
    for number, drive in enumerate([*record["ours"], record["deep"]]):
        planted = drive["steps"][-1]["planted"]
        assert planted.keys() >= PLANTED
        found |= {f"{name} of drive {number}": value for name, value in planted.items()}
    assert found.keys() >= CONFIGURED
    assert min(map(len, found.values())) > 20
    return found


def exported(run: Run, level: str) -> list[Path]:
    return sorted((run.directory / f"otlp{level}").iterdir())


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_exported_holds_a_secret(run: Run, secrets: dict[str, str], level: str) -> None:
    """Traces, metrics and, at level deep, log records."""
    haystack = Haystack()
    haystack.add_exported(exported(run, level))
    assert haystack.size > 1_000_000
    assert haystack.leaked(secrets) == {}
    assert haystack.tokens() == []


def test_every_signal_and_every_service_was_searched(run: Run) -> None:
    names = {path.name.rpartition("-")[0].rpartition("-")[0] for path in exported(run, "-deep")}
    assert names >= {span.service for span in run.spans}
    text = b"".join(path.read_bytes() for path in exported(run, "-deep"))
    for key in (b"resourceSpans", b"resourceMetrics", b"resourceLogs"):
        assert key in text
    assert b'"db.query' in text  # what only level deep shows


def test_the_page_holds_no_secret(run: Run, secrets: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main.main(["page", str(run.directory / "otlp-deep"), "-o", str(page)]) == 0
    haystack = Haystack()
    haystack.add(page.read_bytes())
    assert haystack.size > 100_000
    assert haystack.leaked(secrets) == {}
    assert haystack.tokens() == []


@pytest.mark.parametrize("level", LEVELS)
def test_our_lines_in_the_logs_hold_no_secret(run: Run, secrets: dict[str, str], level: str) -> None:
    """The services' own lines may: nova logs bodies that it refuses, uWSGI whole request lines."""
    haystack = Haystack()
    for path in (run.directory / f"log{level}").iterdir():
        for line in path.read_bytes().splitlines():
            if b"otel-openstack" in line or b"otel_openstack" in line:
                haystack.add(line)
    assert haystack.size > 1_000
    assert haystack.leaked(secrets) == {}


def test_the_services_did_take_the_secrets_in(run: Run, secrets: dict[str, str]) -> None:
    """Where a service itself shows a canary it came as far as that: uWSGI's log has the query, nova's the database."""
    log = run.log("nova-api")
    assert any(value in log for name, value in secrets.items() if name.startswith("marker in a query"))


FORMS: dict[str, Any] = {
    "plain": lambda secret: secret,
    "cut short": lambda secret: secret[:13],
    "escaped": lambda secret: "".join(f"\\u{ord(letter):04x}" for letter in secret),
    "hexadecimal": lambda secret: secret.encode().hex(),
    **{
        f"base64 after {count}": lambda secret, count=count: base64.b64encode(b"x" * count + secret.encode()).decode()
        for count in range(3)
    },
    "urlsafe": lambda secret: base64.urlsafe_b64encode(b"?>" + secret.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_a_secret_in_every_form(tmp_path: Path, form: str) -> None:
    secret = "0a6f2c4b9d8e71354f60b1c2d3e4f596"
    path = tmp_path / "leak.jsonl"
    path.write_text('{"resourceSpans": [{"note": "before ' + FORMS[form](secret) + ' after"}]}\n')
    haystack = Haystack()
    haystack.add_exported([path])
    assert list(haystack.leaked({"canary": secret, "other": "f" * 32})) == ["canary"]


def test_the_search_finds_a_token() -> None:
    haystack = Haystack()
    haystack.add(b'{"stringValue": "X-Auth-Token: gAAAAABrBr6U5eF-qyb0JxBvZgLpAb3ij6leaaOeRaXRV2Hb4Vdvp"}')
    assert len(haystack.tokens()) == 1
