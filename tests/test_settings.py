# SPDX-License-Identifier: Apache-2.0
"""The table of options: every way in, every mistake answered."""

from __future__ import annotations

from dataclasses import fields

import pytest

from otel_openstack import levels, settings
from otel_openstack.levels import Level
from otel_openstack.settings import Settings, load


@pytest.fixture(autouse=True)
def fresh():
    yield
    settings.use(None)


def test_defaults_hold_without_anything():
    found, problems = load({})
    assert found == Settings()
    assert problems == []
    assert (found.level, found.slow_call_threshold, found.file_max_bytes) == ("basic", 0.1, 64 * 2**20)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OTEL_OPENSTACK_LEVEL", "Detailed", "level", "detailed"),
        ("OTEL_OPENSTACK_LEVELS", "rpc=deep, db=off", "levels", {"rpc": "deep", "db": "off"}),
        ("OTEL_OPENSTACK_FILE_MAX_BYTES", "8M", "file_max_bytes", 8 * 2**20),
        ("OTEL_OPENSTACK_REQUEST_EVENTS", "yes", "request_events", True),
        ("OTEL_OPENSTACK_SLOW_CALL_THRESHOLD", "0.5", "slow_call_threshold", 0.5),
        ("OTEL_OPENSTACK_DISABLED_PATCHES", "a.b, c*", "disabled_patches", ("a.b", "c*")),
        (
            "OTEL_OPENSTACK_TRUSTED_CALLERS",
            "Loopback, service,10.20.0.5/24,FD00::1",
            "trusted_callers",
            ("loopback", "service", "10.20.0.5/24", "fd00::1"),
        ),
        ("OTEL_OPENSTACK_TRUSTED_CALLERS", "", "trusted_callers", ()),
        (
            "OTEL_OPENSTACK_TRUSTED_ENDPOINTS",
            "catalog,nova.Cloud.example,*.internal,nova-api,::1,10.20.0.0/24",
            "trusted_endpoints",
            ("catalog", "nova.cloud.example", "*.internal", "nova-api", "::1", "10.20.0.0/24"),
        ),
    ],
)
def test_an_option_from_the_environment(variable, text, name, value):
    found, problems = load({variable: text, "OTHER": "x"})
    assert getattr(found, name) == value
    assert problems == []


def test_the_file_says_the_same_and_the_environment_wins():
    section = {"level": "deep", "levels": {"db": "off"}, "disabled_patches": ["x"], "request_events": True}
    found, problems = load({"OTEL_OPENSTACK_LEVEL": "detailed"}, section)
    assert problems == []
    assert (found.level, found.levels, found.disabled_patches) == ("detailed", {"db": "off"}, ("x",))
    assert found.request_events is True


def test_a_misspelt_option_is_an_error_with_a_suggestion():
    _, problems = load({"OTEL_OPENSTACK_LEVLE": "basic"}, {"levle": "basic"})
    assert problems == [
        "unknown option levle: did you mean level?",
        "unknown option OTEL_OPENSTACK_LEVLE: did you mean OTEL_OPENSTACK_LEVEL?",
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_OPENSTACK_LEVEL", "extreme"),
        ("OTEL_OPENSTACK_LEVELS", "rpc"),
        ("OTEL_OPENSTACK_FILE_MAX_BYTES", "-1"),
        ("OTEL_OPENSTACK_FILE_MAX_BYTES", "many"),
        ("OTEL_OPENSTACK_EXIT_TIMEOUT", "nan"),
        ("OTEL_OPENSTACK_EXIT_TIMEOUT", "-1"),
        ("OTEL_OPENSTACK_STRICT", "perhaps"),
        ("OTEL_OPENSTACK_TRUSTED_CALLERS", "loopback,nova.cloud.example"),  # names are not resolved
        ("OTEL_OPENSTACK_TRUSTED_CALLERS", "services"),
        ("OTEL_OPENSTACK_TRUSTED_CALLERS", "10.20.0.0/33"),
        ("OTEL_OPENSTACK_TRUSTED_ENDPOINTS", "http://nova.cloud.example:8774"),
        ("OTEL_OPENSTACK_TRUSTED_ENDPOINTS", "10.20.0.300"),
        ("OTEL_OPENSTACK_TRUSTED_ENDPOINTS", "*"),
    ],
)
def test_a_bad_value_names_the_option_and_falls_back(variable, text):
    found, problems = load({variable: text})
    assert found == Settings()
    assert len(problems) == 1
    assert problems[0].startswith(f"{variable}={text!r}: ")
    assert "using" in problems[0]


def test_every_option_has_help_and_takes_its_own_default_back():
    for option in fields(Settings):
        assert option.metadata["help"].endswith(".")
        default = getattr(Settings(), option.name)
        found, problems = load({settings.PREFIX + option.name.upper(): settings._text(default)})
        assert (getattr(found, option.name), problems) == (default, [])


def test_levels_of_groups():
    settings.use(Settings(level="basic", levels={"rpc": "deep", "db": "off"}))
    assert levels.current() is Level.BASIC
    assert levels.active("deep", "rpc")
    assert not levels.active(Level.BASIC, "db")
    assert levels.active(Level.BASIC, "http")
    assert not levels.active(Level.DETAILED, "http")
