# SPDX-License-Identifier: Apache-2.0
"""The scrubber by itself: what it leaves of a text, of one that was cut, of one that was made to hurt it."""

from __future__ import annotations

import itertools
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_openstack import scrub
from otel_openstack.runtime import foreign_log, notices
from otel_openstack.tracing import exceptions
from tests.secrets.texts import ALTERED, KEPT, SECRET

SLOW = 10.0  # seconds for a text of a megabyte; a quadratic pattern takes hours


@pytest.mark.parametrize(("text", "left"), ALTERED.items())
def test_what_is_left_of_a_text(text, left):
    assert scrub.text(text) == left
    assert scrub.text(left) == left
    assert SECRET not in scrub.text(f"{'word ' * 100}{text}")


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text):
    assert scrub.text(text) is text


@pytest.mark.parametrize("text", ALTERED)
def test_a_text_that_is_cut_anywhere_shows_no_more_than_the_first_letters(text):
    """Attributes are cut to their beginning before they are scrubbed."""
    start = "word " * 60
    for end in range(len(text)):
        left = scrub.text(start + text[:end])
        assert "eheim" not in left, text[:end]


def test_a_stack_trace_is_cut_to_its_end_after_it_was_scrubbed():
    def fail(depth):
        if depth:
            fail(depth - 1)
        raise ValueError(f"password={SECRET * 50} [SQL: {SECRET * 3000}")

    for depth in (0, 40, 90):
        for size in range(0, 1000, 97):
            try:
                try:
                    fail(depth)
                except ValueError as error:
                    raise RuntimeError("x" * size) from error
            except RuntimeError as error:
                text = exceptions.stacktrace(error)
            assert len(text) <= exceptions.STACKTRACE_LIMIT
            assert SECRET[2:] not in text
            assert text.endswith("x\n") == (size > 0)


class UnprintableError(Exception):
    def __str__(self):
        raise KeyError("on purpose")


class OddError(Exception):
    def __str__(self):
        return None  # noqa: PLE0307


def test_exceptions_of_all_kinds():
    import pymysql

    told = "(1366, \"Incorrect integer value: '?' for column 'age' at row 1\")"  # nothing but its class says what it is
    assert exceptions.message(pymysql.err.DataError(*eval(told.replace("?", SECRET)))) == told
    loop = ValueError("first")
    loop.__context__ = second = KeyError("second")
    second.__context__ = loop
    assert exceptions.stacktrace(loop).count("ValueError: first") == 1
    for broken in (UnprintableError(), OddError()):
        assert exceptions.message(broken) == exceptions.UNPRINTABLE
        assert exceptions.UNPRINTABLE in exceptions.stacktrace(broken)
    assert len(exceptions.message(ValueError("x" * 10**6))) == exceptions.MESSAGE_LIMIT
    surrogate = ValueError("\ud800\x00 password=geheim")
    assert exceptions.message(surrogate) == "\ud800\x00 password=***"
    noted = ValueError("x")
    noted.__notes__ = [f"password={SECRET}", 5]
    assert "password=***" in exceptions.stacktrace(noted)
    if sys.version_info >= (3, 11):
        group = ExceptionGroup("both", [ValueError(f"password={SECRET}"), KeyError("x")])  # noqa: F821
        assert "| ValueError: password=***" in exceptions.stacktrace(group)
    chain = ValueError("0")
    for number in range(1, 2000):
        chain, before = ValueError(str(number)), chain
        chain.__cause__ = before
    assert len(exceptions.stacktrace(chain)) < 2000


def test_attributes_by_their_keys():
    given = {
        "url.full": f"https://u:{SECRET}@h/p?a={SECRET}&{SECRET}#{SECRET}",
        "http.target": f"/p?{SECRET}",
        "url.query": f"a={SECRET}&b",
        "db.statement": f"SELECT '{SECRET}', 5 FROM t1 WHERE x = \"{SECRET}\" -- {SECRET}",
        "db.query.text": f"SELECT '\\'{SECRET}', 'x\\\\', '{SECRET}'",
        "db.query.parameter.name": SECRET,
        "http.request.header.x-auth-token": [SECRET],
        "http.request.header.authorization": SECRET.encode(),
        "request.body": SECRET,
        "adminPass": {"x": SECRET},
        "gen_ai.usage.input_tokens": 5,
        "process.command_args": ("nova", "--os-password", SECRET, "--db", f"mysql://u:{SECRET}@h"),
        "any": (f"password={SECRET}", {"token": SECRET, "n": 1.5}, None, True),
        "bytes": f"password={SECRET}".encode(),
    }
    left = scrub.attributes(given)
    assert SECRET not in repr(left)
    assert left["url.full"] == "https://***@h/p?a=***&***"
    assert left["db.statement"] == "SELECT ?, ? FROM t1 WHERE x = ? ?"
    assert left["gen_ai.usage.input_tokens"] == 5
    assert left["process.command_args"] == ("nova", "--os-password", "***", "--db", "mysql://***@h")
    assert left["any"] == ("password=***", {"token": "***", "n": 1.5}, None, True)
    assert left["bytes"] == b"password=***"


PIECES = (
    "password", "token ", "cookie", "secret_key", "--", "'", "\\", '"', "://", "@", ":", "=", "?a=", "&", ",", "<",
    "</", "[SQL: ", "[parameters: ", "Duplicate entry ", " for key", " value: ", "Remote error: ", "gAAAA", "eyJ",
    "bearer ", "BEGIN PRIVATE KEY", "(", "[", "{", "-", "a", " ", "\n", "$$", "/*", "`", "0123456789abcdef",
    "\ud800", "ß",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=30))
def test_whatever_the_text_nothing_is_raised_and_the_secret_is_gone(pieces):
    text = "".join(pieces)
    for function in (scrub.text, scrub.url, scrub.statement, scrub.database_text):
        assert isinstance(function(text), str)
    for before, after in (("", ""), ("x' ", " y"), ("{'a': 1, ", "}")):
        # Nothing that stands before it makes a pair with a plain value show.
        assert SECRET not in scrub.text(f"{text}{before}\npassword={SECRET}{after}")
        assert SECRET not in scrub.text(f"{text}{before}\nmysql://u:{SECRET}@host/{after}")


def test_a_megabyte_of_anything_takes_no_time():
    for first, second in itertools.product(PIECES[::5], PIECES):
        piece = first + second
        text = piece * (1024 * 1024 // len(piece))
        for function in (scrub.text, scrub.statement, scrub.database_text):
            start = time.monotonic()
            function(text[: scrub.LONGEST // 8] if piece != "password--" else text)
            assert time.monotonic() - start < SLOW, piece


def test_lines_for_the_log(caplog):
    notices.say("warning", f"fails: mysql://u:{SECRET}@h/ {'x' * 100_000}")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("otel-openstack: fails: mysql://***@h/ x")
    assert len(line) < 5000


def test_a_stranger_cannot_fill_the_log_through_opentelemetry(caplog):
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    foreign_log.install()
    try:
        for number in range(50):
            W3CBaggagePropagator().extract({"baggage": f"{number}é{SECRET * 300}"})
            W3CBaggagePropagator().extract({"baggage": f"password:{SECRET}"})
    finally:
        foreign_log.uninstall()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert max(map(len, lines)) < 400
